use std::{error::Error, sync::Arc};

use kube_api::ApiError;
use request::{Reason, Refusal};

use crate::cached::Miss;

/// A question that has no answer: never a no, and never a yes.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    /// For the log.
    pub(crate) detail: String,
}

impl Failure {
    pub(crate) fn refusal(self) -> Refusal {
        Refusal::because(self.reason, self.detail)
    }
}

impl From<Miss<Arc<ApiError>>> for Failure {
    fn from(miss: Miss<Arc<ApiError>>) -> Self {
        let (reason, detail) = match miss {
            Miss::Failed(error) => (error.reason(), chain(&*error)),
            Miss::Late => (Reason::ApiTimeout, "the API server did not answer another request's question in time".to_owned()),
            Miss::Crowded => (Reason::ApiBusy, "too many questions to the API server are open".to_owned()),
            Miss::Lost => (Reason::Internal, "the question to the API server was lost".to_owned()),
        };
        Self { reason, detail }
    }
}

/// The metric's label for a call's end.
pub(crate) fn call_label<T>(result: &Result<T, ApiError>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(ApiError::Unreachable(_)) => "unreachable",
        Err(ApiError::Timeout) => "timeout",
        Err(ApiError::Status(_) | ApiError::Answer(_)) => "error",
        Err(ApiError::CredentialsRefused { .. } | ApiError::NoCredentials(_)) => "refused",
        Err(ApiError::Busy) => "busy",
    }
}

/// An error with all that is behind it.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
