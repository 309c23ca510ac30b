use std::{io, panic, sync::Arc};

use jiff::Timestamp;
use tracing::{Event, Level, Metadata, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
};

use crate::{Metrics, access, line, sink::Sink};

/// The rooms whose lines are shown at any verbosity. Libraries get their warnings shown and nothing more: what they
/// log beyond that can hold headers and bodies.
const ROOMS: [&str; 9] = ["auth", "go_compat", "kube_api", "kube_oidc_proxy", "kube_rbac_proxy", "observe", "proxy", "request", "settings"];

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// klog's structured text.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogSettings {
    /// klog's `-v`: from 2 on refusals are shown, from 5 on everything.
    pub verbosity: u32,
    /// How lines look.
    pub format: Format,
    /// Whether there is a line for each request.
    pub access: bool,
}

/// Keeps the log open; its end waits a moment for the last lines.
#[derive(Debug)]
#[must_use = "the last lines are lost when it is dropped early"]
pub struct LogGuard(Sink);

/// Starts the log, once in a process.
///
/// # Errors
///
/// The log's thread cannot be started, or a log was started before.
pub fn init(settings: LogSettings, metrics: Arc<Metrics>) -> io::Result<LogGuard> {
    let sink = Sink::open(Arc::clone(&metrics))?;
    let level = match settings.verbosity {
        0..=1 => LevelFilter::INFO,
        2..=4 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let subscriber = tracing_subscriber::registry().with(Log { level, format: settings.format, sink: sink.clone() });
    tracing::subscriber::set_global_default(subscriber).map_err(io::Error::other)?;
    let _ = settings.access.then(|| access::LOG.set((sink.clone(), settings.format)));
    panic::set_hook(Box::new(move |defect| {
        metrics.panicked();
        let place = defect.location().map(ToString::to_string).unwrap_or_default();
        // Without its message, which may hold what a client sent.
        tracing::error!(place, "A defect of this program ended a task of it; please report it");
    }));
    Ok(LogGuard(sink))
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.0.flush();
    }
}

struct Log {
    level: LevelFilter,
    format: Format,
    sink: Sink,
}

impl<S: Subscriber> Layer<S> for Log {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let room = metadata.target().split("::").next().unwrap_or_default();
        match ROOMS.contains(&room) {
            true => *metadata.level() <= self.level,
            // It logs each failed call, which the room that called it says in better words.
            false if room == "kube_client" => false,
            // It warns of what a client sent, once for each frame.
            false if room == "h2" => false,
            false => *metadata.level() <= Level::WARN,
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.sink.send(crate::sink::Message::Line(line::format(event, self.format, Timestamp::now())));
    }
}
