use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde_json::Value;
use testkit::upstream::Received;

/// Longer than what was allowed may be remembered, and a request be on its way.
const REMEMBERED: Duration = Duration::from_secs(20);

/// What the clients asked, what the API server allowed and what arrived upstream, held against each other.
///
/// Every request has a tag of its own, which the upstream's answer repeats. It is a disagreement if
/// - a request arrives that nobody sent, or twice, or as another user's, or with another method or path;
/// - a request arrives that the API server has not allowed, to that user, a short while ago;
/// - a request arrives that the proxy has refused;
/// - a client gets an answer to another request than its own, or one that ends well and is not whole;
/// - a client gets the upstream's answer to what it may not do.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<Book>);

#[derive(Default)]
struct Book {
    asked: HashMap<u64, Asked>,
    /// When the API server last allowed a user a verb and a path.
    allowed: HashMap<[String; 3], Instant>,
    outcomes: BTreeMap<String, u64>,
    arrived: u64,
    answered: u64,
    disagreements: Vec<String>,
    unexplained: Vec<String>,
}

/// A request as its client meant it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) user: &'static str,
    pub(crate) method: &'static str,
    pub(crate) path: String,
    /// Whether the API server allows it when it is asked.
    pub(crate) may: bool,
    has_arrived: bool,
    is_refused: bool,
}

/// How a request ended for its client.
#[derive(Debug)]
pub(crate) enum Fate {
    /// With an answer of the upstream, which is whole.
    Answered,
    /// With an answer of the proxy's that says that nothing was sent.
    Refused {
        status: u16,
        /// It says that the connection ends with it.
        closes: bool,
    },
    /// With an answer of the proxy's that says that the upstream failed.
    Failed(u16),
    /// In the middle, or before an answer.
    Broken,
    /// By the client's own will.
    Abandoned,
}

impl Ledger {
    /// Notes a request and gives it a tag. The path may end with a part of it: not all of it, as what is remembered of paths would grow until it is bounded.
    pub(crate) fn ask(&self, user: &'static str, method: &'static str, path: &str, is_unique: bool, may: bool) -> (u64, String) {
        let mut book = self.book();
        let tag = book.asked.len() as u64;
        let path = if is_unique { format!("{path}{}", tag % 20) } else { path.to_owned() };
        book.asked.insert(tag, Asked { user, method, path: path.clone(), may, has_arrived: false, is_refused: false });
        (tag, path)
    }

    /// Notes how it ended. `excuse`: a fault is there, or was a moment ago. `why`: in words.
    pub(crate) fn end(&self, tag: u64, fate: &Fate, excuse: bool, why: &str) {
        let mut book = self.book();
        let asked = book.asked.get_mut(&tag).expect("it was asked");
        asked.is_refused = matches!(fate, Fate::Refused { .. });
        let (asked, word) = (asked.clone(), fate.word());
        *book.outcomes.entry(word).or_default() += 1;
        match fate {
            Fate::Answered => {
                book.answered += 1;
                if !asked.may {
                    book.disagreements.push(format!("{asked:?} was answered"));
                }
            }
            Fate::Refused { .. } if asked.has_arrived => book.disagreements.push(format!("{asked:?} was refused and has arrived")),
            Fate::Abandoned => {}
            fate if asked.may && !excuse => book.unexplained.push(format!("{asked:?}: {fate:?} {why}")),
            _ => {}
        }
    }

    /// Notes what a client should not have got.
    pub(crate) fn disagree(&self, what: String) {
        self.book().disagreements.push(what);
    }

    /// Notes an allowance of the API server.
    pub(crate) fn allow(&self, spec: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let asked = &spec["nonResourceAttributes"];
        self.book().allowed.insert([text(&spec["user"]), text(&asked["verb"]), text(&asked["path"])], Instant::now());
    }

    /// Holds what arrived upstream against the rest.
    pub(crate) fn arrive(&self, requests: &[Received]) {
        let mut book = self.book();
        for received in requests {
            if let Err(why) = book.arrive(received) {
                let what = format!("{why}: {} {} of {:?}", received.method(), received.target(), received.head.all("x-remote-user"));
                book.disagreements.push(what);
            }
        }
        book.allowed.retain(|_, when| when.elapsed() < REMEMBERED);
    }

    /// `answered`: how many answers of the upstream's the proxy counted.
    pub(crate) fn assert_agreement(&self, counted: u64) {
        let book = self.book();
        assert_eq!(book.disagreements, [""; 0]);
        assert_eq!(book.unexplained, [""; 0], "without a fault");
        assert!(book.answered > 0 && book.outcomes.len() > 2, "{:?}", book.outcomes);
        assert!(book.answered <= counted && counted <= book.arrived, "{} <= {counted} <= {}", book.answered, book.arrived);
    }

    pub(crate) fn report(&self) -> String {
        let book = self.book();
        format!(
            "{} requests: {:?}; {} arrived upstream; {} disagreements; {} failures without a fault",
            book.asked.len(),
            book.outcomes,
            book.arrived,
            book.disagreements.len(),
            book.unexplained.len()
        )
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn arrive(&mut self, received: &Received) -> Result<(), &'static str> {
        self.arrived += 1;
        let tag = received.header("x-tag").and_then(|tag| tag.parse::<u64>().ok()).ok_or("no tag")?;
        let asked = self.asked.get_mut(&tag).ok_or("nobody sent it")?;
        if std::mem::replace(&mut asked.has_arrived, true) {
            return Err("it arrived twice");
        }
        if received.header("x-remote-user") != Some(asked.user) || received.method() != asked.method || received.target() != asked.path {
            return Err("it was sent otherwise");
        }
        if asked.is_refused {
            return Err("it was refused");
        }
        let verb = if asked.method == "GET" { "get" } else { "create" };
        match self.allowed.get(&[asked.user.to_owned(), verb.to_owned(), asked.path.clone()]) {
            Some(when) if when.elapsed() < REMEMBERED => Ok(()),
            _ => Err("nobody allowed it"),
        }
    }
}

impl Fate {
    fn word(&self) -> String {
        match self {
            Self::Answered => "answered".to_owned(),
            Self::Refused { status, .. } => format!("refused {status}"),
            Self::Failed(status) => format!("failed {status}"),
            Self::Broken => "broken".to_owned(),
            Self::Abandoned => "abandoned".to_owned(),
        }
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.report())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use testkit::wire::{Body, Head};

    use super::*;

    fn received(user: &str, line: &str, tag: u64) -> Received {
        let head = Head::parse(format!("{line} HTTP/1.1\r\nX-Tag: {tag}\r\nX-Remote-User: {user}\r\n\r\n").as_bytes());
        Received { connection: 1, head, body: Body::default(), certificate: None }
    }

    fn disagreements(ledger: &Ledger) -> usize {
        ledger.book().disagreements.len()
    }

    #[test]
    fn what_was_asked_allowed_and_sent_agrees() {
        let ledger = Ledger::default();
        let (tag, path) = ledger.ask("anna", "GET", "/u/", true, true);
        ledger.allow(&json!({"user": "anna", "nonResourceAttributes": {"verb": "get", "path": path}}));
        ledger.arrive(&[received("anna", "GET /u/0", tag)]);
        ledger.end(tag, &Fate::Answered, false, "");
        let (refused, _) = ledger.ask("anna", "GET", "/x", false, false);
        ledger.end(refused, &Fate::Refused { status: 403, closes: false }, false, "");
        assert_eq!((disagreements(&ledger), ledger.book().unexplained.len()), (0, 0));
    }

    #[test]
    fn each_disagreement_is_found() {
        let allowed = json!({"user": "anna", "nonResourceAttributes": {"verb": "get", "path": "/u"}});
        for (what, allow, arrive, fate) in [
            ("nobody allowed it", false, vec![received("anna", "GET /u", 0)], None),
            ("nobody sent it", true, vec![received("anna", "GET /u", 7)], None),
            ("it arrived twice", true, vec![received("anna", "GET /u", 0), received("anna", "GET /u", 0)], None),
            ("another user", true, vec![received("bob", "GET /u", 0)], None),
            ("another path", true, vec![received("anna", "GET /u/x", 0)], None),
            ("another method", true, vec![received("anna", "POST /u", 0)], None),
            ("refused", true, vec![received("anna", "GET /u", 0)], Some(Fate::Refused { status: 403, closes: false })),
        ] {
            let ledger = Ledger::default();
            let (tag, _) = ledger.ask("anna", "GET", "/u", false, true);
            if allow {
                ledger.allow(&allowed);
            }
            ledger.arrive(&arrive);
            if let Some(fate) = fate {
                ledger.end(tag, &fate, true, "");
            }
            assert_eq!(disagreements(&ledger), 1, "{what}");
        }
        let ledger = Ledger::default();
        let (tag, _) = ledger.ask("anna", "GET", "/u", false, false);
        ledger.end(tag, &Fate::Answered, false, "");
        assert_eq!(disagreements(&ledger), 1, "answered without a right");
    }
}
