use go_compat::{ListenAddress, quote};

use super::Findings;
use crate::flags::Options;

/// Where requests come in.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    pub(crate) secure: Option<ListenAddress>,
    pub(crate) insecure: Option<ListenAddress>,
    pub(crate) endpoints: Option<ListenAddress>,
    /// The path that is answered to everybody.
    pub(crate) livez: Option<String>,
}

/// The addresses, each for itself and beside the others.
pub(super) fn read(options: &Options, findings: &mut Findings) -> Listeners {
    let mut address = |flag: &str, text: &str| match text {
        "" => None,
        _ => text.parse::<ListenAddress>().map_err(|why| findings.error(format!("--{flag}: {}: {why}; write host:port", quote(text)))).ok(),
    };
    let secure = address("secure-listen-address", &options.secure_listen_address);
    let insecure = address("insecure-listen-address", &options.insecure_listen_address);
    if options.secure_listen_address.is_empty() && options.insecure_listen_address.is_empty() {
        findings.error("no listener: give --secure-listen-address, such as :8443");
    }
    let endpoints = match (options.proxy_endpoints_port, u16::try_from(options.proxy_endpoints_port)) {
        (0, _) => None,
        (port, Err(_)) => {
            findings.error(format!("--proxy-endpoints-port: {port} is no port: it must be from 1 to 65535"));
            None
        }
        (_, Ok(port)) => secure.as_ref().map(|secure| secure.with_port(port)),
    };
    if options.proxy_endpoints_port != 0 && options.secure_listen_address.is_empty() {
        findings.warn("--proxy-endpoints-port is without effect: it needs --secure-listen-address");
    }
    if let (Some(secure), Some(endpoints)) = (&secure, &endpoints)
        && secure.port() == endpoints.port()
    {
        findings.error(format!("--proxy-endpoints-port: {} is the port of --secure-listen-address: it must be another", endpoints.port()));
    }
    let livez = Some(options.livez_path.clone()).filter(|path| !path.is_empty());
    if livez
        .as_ref()
        .is_some_and(|path| !path.starts_with('/') || !path.bytes().all(is_plain) || path.contains("//") || path.contains("/."))
    {
        findings.error(format!("--livez-path: {}: it must be one plain path, such as /livez", quote(&options.livez_path)));
    }
    Listeners { secure, insecure, endpoints, livez }
}

/// Stands for itself in a path, whoever reads it.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte)
}
