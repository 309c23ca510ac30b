use std::net::SocketAddr;

use request::{Attributes, LogLevel, Reason, Refusal, ResourceAttributes};

/// Writes a refusal's log line, as loud as its row says; with `tells_of_credentials`, always when they are no good.
pub fn log_refusal(refusal: &Refusal, peer: SocketAddr, tells_of_credentials: bool) {
    let row = refusal.reason().row();
    let (user, verb, path) = match refusal.asked() {
        Some((user, attributes)) => (user, attributes.verb(), what(attributes)),
        None => ("", "", String::new()),
    };
    let (reason, status, detail) = (row.label, row.status.as_u16(), refusal.detail());
    let is_told = tells_of_credentials && status == 401 && refusal.reason() != Reason::NoCredentials;
    match row.level {
        LogLevel::Debug if is_told => tracing::info!(reason, status, %peer, detail, "Request refused"),
        LogLevel::Debug => tracing::debug!(reason, status, user, verb, asked = path, %peer, detail, "Request refused"),
        LogLevel::Warn => tracing::warn!(reason, status, user, verb, asked = path, %peer, detail, "Request refused"),
        LogLevel::Error => tracing::error!(reason, status, user, verb, asked = path, %peer, detail, "Request refused"),
    }
}

fn what(attributes: &Attributes) -> String {
    match attributes {
        Attributes::NonResource { path, .. } => path.clone(),
        Attributes::Resource(resource) => {
            let ResourceAttributes { namespace, group, version, resource, subresource, name, .. } = resource;
            let parts = [group, version, namespace, resource, subresource, name].map(String::as_str);
            parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
        }
    }
}
