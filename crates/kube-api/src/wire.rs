use std::collections::BTreeMap;

use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::{error::Category, json};

use crate::ApiError;

/// What is asked of the API server: its kind and version, and its path under `/apis`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) kind: &'static str,
    pub(crate) api_version: &'static str,
    pub(crate) path: &'static str,
    /// Needed for it, as `verb resource.group`.
    pub(crate) permission: &'static str,
}

/// What an object has besides the fields that are read. A struct that has this is read from an object alone: serde would take
/// a list of the fields' values too.
pub(crate) type Others = BTreeMap<String, IgnoredAny>;

/// The API server repeats the question's spec, which may hold a token: it is not kept.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer<S> {
    api_version: String,
    kind: String,
    status: Option<S>,
    #[serde(flatten)]
    _others: Others,
}

impl Kind {
    pub(crate) fn question(&self, spec: impl Serialize) -> Result<Vec<u8>, ApiError> {
        let spec = serde_json::to_value(spec).map_err(|_| ApiError::Answer("the question cannot be written as JSON".to_owned()))?;
        let question = json!({ "apiVersion": self.api_version, "kind": self.kind, "metadata": {}, "spec": spec });
        Ok(question.to_string().into_bytes())
    }

    /// Reads an answer, which must be of the kind that was asked for and have a status.
    pub(crate) fn answer<S: DeserializeOwned>(&self, body: &[u8]) -> Result<S, ApiError> {
        let answer: Answer<S> = serde_json::from_slice(body).map_err(|error| ApiError::Answer(self.describe(&error)))?;
        if answer.kind != self.kind || answer.api_version != self.api_version {
            return Err(ApiError::Answer(format!("it is no {} of {}", self.kind, self.api_version)));
        }
        answer.status.ok_or_else(|| ApiError::Answer(format!("the {} has no status", self.kind)))
    }

    /// serde's words quote the values they stumble over.
    fn describe(&self, error: &serde_json::Error) -> String {
        let (line, column) = (error.line(), error.column());
        match error.classify() {
            Category::Eof => format!("its JSON ends early, at line {line}, column {column}"),
            Category::Syntax | Category::Io => format!("it is no JSON, at line {line}, column {column}"),
            Category::Data => format!("it is no {} of {}, at line {line}, column {column}", self.kind, self.api_version),
        }
    }
}
