use std::fmt::{self, Write};

use jiff::Timestamp;
use serde_json::Value;
use tracing::{
    Event, Level, Metadata,
    field::{Field, Visit},
};

use crate::Format;

/// Formats one event. Every value is quoted and escaped, so that no name can forge a line.
pub(crate) fn format(event: &Event<'_>, format: Format, now: Timestamp) -> String {
    match format {
        Format::Text => text(event, now),
        Format::Json => json(event, now),
    }
}

/// klog's structured text: `I1125 20:07:57.123456       1 file.rs:12] "Message" key="value"`.
fn text(event: &Event<'_>, now: Timestamp) -> String {
    let metadata = event.metadata();
    let severity = match *metadata.level() {
        Level::ERROR => 'E',
        Level::WARN => 'W',
        _ => 'I',
    };
    let (mut message, mut rest) = (String::new(), String::new());
    for (name, value) in Fields::of(event) {
        match value {
            Value::String(text) if name == "message" => message = text,
            // Writing into a String does not fail.
            Value::String(text) => drop(write!(rest, " {name}={text:?}")),
            number => drop(write!(rest, " {name}={number}")),
        }
    }
    let (file, line) = caller(metadata);
    let now = now.strftime("%m%d %H:%M:%S.%6f");
    format!("{severity}{now} {:>7} {file}:{line}] {message:?}{rest}\n", std::process::id())
}

fn json(event: &Event<'_>, now: Timestamp) -> String {
    let metadata = event.metadata();
    let (file, line) = caller(metadata);
    let about = [
        ("ts", now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()),
        ("level", metadata.level().as_str().to_ascii_lowercase()),
        ("caller", format!("{file}:{line}")),
    ];
    let fields = Fields::of(event).map(|(name, value)| (if name == "message" { "msg" } else { name }, value));
    let all = about.map(|(name, text)| (name, Value::from(text))).into_iter().chain(fields);
    json_line(&Value::Object(all.map(|(name, value)| (name.to_owned(), value)).collect()))
}

pub(crate) fn json_line(value: &Value) -> String {
    let text = value.to_string();
    let mut line = String::with_capacity(text.len() + 1);
    for character in text.chars() {
        match character {
            // JSON lets these stand, which end a line or command a terminal all the same.
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => drop(write!(line, "\\u{:04x}", u32::from(character))),
            character => line.push(character),
        }
    }
    line.push('\n');
    line
}

fn caller(metadata: &Metadata<'static>) -> (&'static str, u32) {
    let file = metadata.file().unwrap_or("unknown");
    (file.rsplit('/').next().unwrap_or(file), metadata.line().unwrap_or(0))
}

/// What an event says, in its order.
#[derive(Default)]
struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    fn of(event: &Event<'_>) -> impl Iterator<Item = (&'static str, Value)> {
        let mut fields = Self::default();
        event.record(&mut fields);
        fields.0.into_iter()
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), value.into()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.push((field.name(), value.into()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.push((field.name(), value.into()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.push((field.name(), value.into()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::{Layer, layer::SubscriberExt};

    use super::*;

    #[derive(Clone)]
    struct Lines(Format, Arc<Mutex<Vec<String>>>);

    impl<S: tracing::Subscriber> Layer<S> for Lines {
        fn on_event(&self, event: &Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
            let now = Timestamp::from_second(1_795_637_277).expect("a time");
            self.1.lock().expect("unpoisoned").push(format(event, self.0, now));
        }
    }

    fn lines(format: Format, log: impl FnOnce()) -> Vec<String> {
        let lines = Lines(format, Arc::default());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines.clone()), log);
        lines.1.lock().expect("unpoisoned").clone()
    }

    #[test]
    fn text_is_klogs() {
        let lines = lines(Format::Text, || tracing::warn!(user = "bob", status = 403u16, "Request refused"));
        let line = lines.first().expect("a line");
        assert!(line.starts_with("W1125 "), "{line}");
        assert!(line.contains(" line.rs:"), "{line}");
        assert!(line.ends_with("] \"Request refused\" user=\"bob\" status=403\n"), "{line}");
    }

    #[test]
    fn no_value_forges_a_line() {
        let forged = "x\nE1125 00:00:00.000000       1 main.rs:1] \"Forged\"\u{1b}[31m\u{9b}\u{85}\u{2028}\u{7f}";
        for format in [Format::Text, Format::Json] {
            for line in lines(format, || tracing::info!(user = forged, error = %forged, "Hello")) {
                assert_eq!(line.matches('\n').count(), 1, "{line}");
                assert!(!line.contains(['\u{1b}', '\u{9b}', '\u{85}', '\u{2028}', '\u{7f}']), "{line:?}");
            }
        }
    }

    #[test]
    fn json_is_one_object_a_line() {
        let lines = lines(Format::Json, || tracing::error!(status = 1, "Hello"));
        let value: serde_json::Value = serde_json::from_str(lines.first().expect("a line")).expect("JSON");
        assert_eq!((&value["msg"], &value["level"], &value["status"]), (&"Hello".into(), &"error".into(), &1.into()));
    }
}
