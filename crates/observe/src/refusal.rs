use std::net::SocketAddr;

use request::{LogLevel, Reason, Refusal};

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

fn what(attributes: &request::Attributes) -> String {
    match attributes {
        request::Attributes::NonResource { path, .. } => path.clone(),
        request::Attributes::Resource(resource) => {
            let mut text = String::new();
            for part in [&resource.group, &resource.version, &resource.namespace, &resource.resource, &resource.subresource, &resource.name]
            {
                if !part.is_empty() {
                    if !text.is_empty() {
                        text.push('/');
                    }
                    text.push_str(part);
                }
            }
            text
        }
    }
}
