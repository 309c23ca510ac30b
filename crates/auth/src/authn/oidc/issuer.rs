use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use observe::Metrics;
use outbound::{FetchError, Fetcher, UrlError};
use thiserror::Error;
use tokio::{
    sync::{Notify, watch},
    time::{self, Instant},
};

use super::{KeySet, KeySetError, Object, OidcSettings};
use crate::failure::chain;

/// The keys that an issuer has now, and the document that they are from.
pub(super) async fn ask(name: &str, fetcher: &Fetcher) -> Result<(Bytes, KeySet), IssuerError> {
    let discovery = OidcSettings::discovery(name).map_err(IssuerError::Url)?;
    let configuration = fetcher.get(&discovery, None).await.map_err(IssuerError::Configuration)?;
    let configuration: Object = serde_json::from_slice(&configuration).map_err(|_| IssuerError::Form)?;
    if configuration.text("issuer") != Some(name) {
        return Err(IssuerError::Name);
    }
    let url = configuration.text("jwks_uri").ok_or(IssuerError::Form)?.parse().map_err(IssuerError::KeysUrl)?;
    let document = fetcher.get(&url, None).await.map_err(IssuerError::Keys)?;
    let keys = KeySet::parse(&document).map_err(IssuerError::KeySet)?;
    Ok((document, keys))
}

/// How often an issuer is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// After the first failure, and doubled by each until `least`.
    pub(super) first: Duration,
    /// Between two askings, whoever wishes for one: a flood of unknown keys must not become one of fetches.
    pub(super) least: Duration,
    /// Without a wish: how long a key that was withdrawn may count.
    pub(super) refresh: Duration,
}

/// Knows the keys of an issuer, as it last published them.
pub(super) struct Issuer {
    name: String,
    fetcher: Fetcher,
    pace: Pace,
    known: watch::Sender<Known>,
    wish: Notify,
    metrics: Arc<Metrics>,
}

/// What is known of an issuer.
#[derive(Clone, Default)]
pub(super) struct Known {
    /// `None`: it has not answered yet. An issuer that fails later keeps the keys that it had.
    pub(super) keys: Option<Arc<KeySet>>,
    /// Grows with each other set of keys.
    pub(super) generation: u64,
    /// Grows with each asking that has ended, well or not.
    pub(super) askings: u64,
    /// Why the last asking failed.
    pub(super) why: String,
    document: Bytes,
    /// When the last asking began.
    begun: Option<Instant>,
    is_asking: bool,
}

/// Why the keys of an issuer are not known.
#[derive(Debug, Error)]
pub(super) enum IssuerError {
    #[error("its name is of no use")]
    Url(#[source] UrlError),
    #[error("its configuration cannot be fetched")]
    Configuration(#[source] FetchError),
    #[error("its configuration has another form")]
    Form,
    #[error("its configuration is another issuer's")]
    Name,
    #[error("its jwks_uri is of no use")]
    KeysUrl(#[source] UrlError),
    #[error("its keys cannot be fetched")]
    Keys(#[source] FetchError),
    #[error("its keys are of no use")]
    KeySet(#[source] KeySetError),
}

impl Pace {
    pub(super) const USUAL: Self =
        Self { first: Duration::from_secs(1), least: Duration::from_secs(10), refresh: Duration::from_secs(300) };
}

impl Issuer {
    pub(super) fn new(name: String, fetcher: Fetcher, pace: Pace, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { name, fetcher, pace, known: watch::Sender::default(), wish: Notify::new(), metrics })
    }

    pub(super) fn known(&self) -> Known {
        self.known.borrow().clone()
    }

    /// Waits for an asking that ends after the one that is known, unless the last was too short a time ago.
    pub(super) async fn ask_again(&self, after: &Known, deadline: Instant) -> bool {
        let mut known = self.known.subscribe();
        let may_be_asked = {
            let known = known.borrow();
            known.askings != after.askings || known.is_asking || known.begun.is_none_or(|begun| begun.elapsed() >= self.pace.least)
        };
        if !may_be_asked {
            return false;
        }
        self.wish.notify_one();
        let ended = known.wait_for(|known| known.askings != after.askings);
        matches!(time::timeout_at(deadline, ended).await, Ok(Ok(_)))
    }

    /// Asks for ever.
    pub(super) async fn follow(self: Arc<Self>) {
        let mut patience = self.pace.first;
        loop {
            let begun = Instant::now();
            self.known.send_modify(|known| (known.begun, known.is_asking) = (Some(begun), true));
            let rest = match ask(&self.name, &self.fetcher).await {
                Ok((document, keys)) => {
                    self.learn(document, keys);
                    patience = self.pace.first;
                    self.pace.refresh
                }
                Err(error) => {
                    self.fail(chain(&error));
                    let rest = if self.known.borrow().keys.is_some() { self.pace.least } else { patience };
                    patience = (patience * 2).min(self.pace.least);
                    rest
                }
            };
            let is_new = self.known.borrow().keys.is_none();
            tokio::select! {
                () = time::sleep_until(begun + rest) => {}
                () = self.wish.notified(), if !is_new => time::sleep_until(begun + self.pace.least).await,
            }
        }
    }

    fn learn(&self, document: Bytes, keys: KeySet) {
        self.metrics.issuer_asked("answered");
        self.known.send_modify(|known| {
            (known.askings, known.is_asking) = (known.askings + 1, false);
            known.why.clear();
            if known.keys.is_some() && known.document == document {
                return;
            }
            tracing::info!(issuer = self.name, skipped = keys.skipped.join("; "), "The issuer's keys are in use");
            known.generation += 1;
            (known.keys, known.document) = (Some(Arc::new(keys)), document);
        });
    }

    /// Said once for the same fault.
    fn fail(&self, why: String) {
        self.metrics.issuer_asked("failed");
        self.known.send_modify(|known| {
            (known.askings, known.is_asking) = (known.askings + 1, false);
            if known.why != why {
                tracing::warn!(issuer = self.name, error = why, "The issuer's keys cannot be read, and will be asked for again");
                known.why = why;
            }
        });
    }
}
