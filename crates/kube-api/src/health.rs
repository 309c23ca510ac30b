use std::sync::{Mutex, PoisonError};

use http::StatusCode;
use tokio::time::Instant;

use crate::ApiError;

/// How the last calls to the API server went; for people, never for decisions.
#[derive(Clone, Debug, Default)]
pub enum Health {
    /// Nothing was asked yet.
    #[default]
    Untried,
    /// It answered the last call.
    Reachable {
        /// The first of the calls that went well.
        since: Instant,
    },
    /// It did not answer the last call.
    Failing {
        /// The first of the calls that failed.
        since: Instant,
        /// What was wrong with the last.
        why: String,
    },
}

/// The current health.
#[derive(Debug, Default)]
pub(crate) struct HealthRecord(Mutex<Health>);

impl HealthRecord {
    pub(crate) fn current(&self) -> Health {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn record<T>(&self, result: &Result<T, ApiError>) {
        let mut health = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match result {
            Ok(_) if matches!(*health, Health::Reachable { .. }) => {}
            Ok(_) => *health = Health::Reachable { since: now },
            Err(error) if !is_the_servers(error) => {}
            Err(error) => {
                let since = match *health {
                    Health::Failing { since, .. } => since,
                    Health::Untried | Health::Reachable { .. } => now,
                };
                *health = Health::Failing { since, why: error.to_string() };
            }
        }
    }
}

/// Whether an error says something about the API server, rather than about one call.
fn is_the_servers(error: &ApiError) -> bool {
    match error {
        ApiError::Busy => false,
        ApiError::Status(status) => status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS,
        ApiError::Unreachable(_)
        | ApiError::Timeout
        | ApiError::Answer(_)
        | ApiError::CredentialsRefused { .. }
        | ApiError::NoCredentials(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_state_begins_with_its_first_call() {
        let record = HealthRecord::default();
        assert!(matches!(record.current(), Health::Untried));
        let start = Instant::now();
        record.record::<()>(&Err(ApiError::Timeout));
        tokio::time::advance(std::time::Duration::from_secs(9)).await;
        record.record::<()>(&Err(ApiError::Answer("x".into())));
        record.record::<()>(&Err(ApiError::Busy));
        match record.current() {
            Health::Failing { since, why } => assert_eq!((since, why.contains('x')), (start, true)),
            other => panic!("{other:?}"),
        }
        record.record(&Ok(()));
        assert!(matches!(record.current(), Health::Reachable { since } if since > start));
    }
}
