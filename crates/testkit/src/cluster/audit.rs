use std::path::{Path, PathBuf};

use serde_json::Value;

/// The API server's own record of what it was asked; only reviews are in it.
#[derive(Debug)]
pub struct Audit {
    log: PathBuf,
}

/// One review that the API server answered.
#[derive(Clone, Debug)]
pub struct Entry {
    /// `tokenreviews` or `subjectaccessreviews`.
    pub resource: String,
    /// The status of the answer.
    pub status: u64,
    /// The review as it was sent: with the token, which the suites make and throw away.
    pub review: Value,
    /// Who asked: `username`, `uid`, `groups` and `extra`.
    pub user: Value,
    /// The client's `User-Agent`.
    pub user_agent: String,
}

/// Reviews at the level that shows their content, and nothing else.
pub(super) const POLICY: &str = r#"{
  "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
  "rules": [
    { "level": "Request", "resources": [
      { "group": "authentication.k8s.io", "resources": ["tokenreviews"] },
      { "group": "authorization.k8s.io", "resources": ["subjectaccessreviews"] } ] },
    { "level": "None" } ] }"#;

impl Audit {
    pub(super) fn new(log: &Path) -> Self {
        Self { log: log.to_owned() }
    }

    /// All reviews that a user asked for, in order. The API server writes an entry about when it answers: one who counts
    /// waits until what he expects is there, and shows otherwise that no more can come.
    pub fn of(&self, user: &str) -> Vec<Entry> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let quoted = format!("\"username\":\"{user}\"");
        // The last line may be half written.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines = whole.lines().filter(|line| line.contains(&quoted));
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .filter(|entry: &Value| entry["user"]["username"] == user)
            .map(Entry::from)
            .collect()
    }
}

impl From<Value> for Entry {
    fn from(mut entry: Value) -> Self {
        Self {
            resource: entry["objectRef"]["resource"].as_str().unwrap_or_default().to_owned(),
            status: entry["responseStatus"]["code"].as_u64().unwrap_or_default(),
            user_agent: entry["userAgent"].as_str().unwrap_or_default().to_owned(),
            review: entry["requestObject"].take(),
            user: entry["user"].take(),
        }
    }
}
