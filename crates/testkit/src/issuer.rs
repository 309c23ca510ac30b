use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Value, json};

use crate::{
    certs::Pair,
    upstream::{Received, Reply, Upstream},
};

/// A fake OpenID Connect issuer: its configuration, its keys and other documents, and what it says instead when told.
#[derive(Debug)]
pub struct Issuer {
    server: Upstream,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    keys: Vec<Value>,
    issuer: Option<String>,
    fault: Option<Reply>,
    documents: HashMap<String, Reply>,
}

const KEYS: &str = "/keys";

impl Issuer {
    /// For `localhost`, without a key.
    pub async fn start(pair: &Pair) -> Self {
        let state = Arc::<Mutex<State>>::default();
        let said = Arc::clone(&state);
        let server =
            Upstream::start_tls(pair, move |received| answer(received, &said.lock().unwrap_or_else(PoisonError::into_inner))).await;
        Self { server, state }
    }

    /// Its name, and where it is.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The server: its address and requests.
    pub fn server(&self) -> &Upstream {
        &self.server
    }

    /// Publishes these keys and no other.
    pub fn keys(&self, keys: &[Value]) {
        self.lock().keys = keys.to_vec();
    }

    /// Calls itself otherwise than it should.
    pub fn call(&self, name: &str) {
        self.lock().issuer = Some(name.to_owned());
    }

    /// Answers like this, or the truth.
    pub fn fault(&self, fault: Option<Reply>) {
        self.lock().fault = fault;
    }

    /// Answers like this at another path.
    pub fn document(&self, path: &str, reply: Reply) {
        self.lock().documents.insert(path.to_owned(), reply);
    }

    /// How often the keys were asked for.
    pub fn fetches(&self) -> usize {
        self.server.requests().iter().filter(|received| received.target() == KEYS).count()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer(received: &Received, state: &State) -> Reply {
    if let Some(fault) = &state.fault {
        return fault.clone();
    }
    let url = format!("https://{}", received.header("host").unwrap_or_default());
    let document = match received.target() {
        "/.well-known/openid-configuration" => {
            json!({"issuer": state.issuer.as_ref().unwrap_or(&url), "jwks_uri": format!("{url}{KEYS}")})
        }
        KEYS => json!({"keys": state.keys}),
        other => return state.documents.get(other).cloned().unwrap_or(Reply::new(404, &[], "")),
    };
    Reply::new(200, &[("Content-Type", "application/json")], document.to_string())
}
