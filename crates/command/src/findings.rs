use std::{net::IpAddr, path::PathBuf, time::Duration};

use go_compat::{GoDuration, Network, quote};

/// Collects what is wrong with a command line and what is without effect.
#[derive(Debug, Default)]
pub struct Findings {
    /// What is without effect, or unwise.
    pub warnings: Vec<String>,
    /// What is wrong.
    pub errors: Vec<String>,
}

impl Findings {
    /// Adds a warning.
    pub fn warn(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }

    /// Adds an error.
    pub fn error(&mut self, text: impl Into<String>) {
        self.errors.push(text.into());
    }
}

/// The time that a flag gives; below zero there is none.
pub fn time(flag: &str, value: GoDuration, findings: &mut Findings) -> Duration {
    value.to_std().unwrap_or_else(|| {
        findings.error(format!("--{flag}: {value} is below zero"));
        Duration::ZERO
    })
}

/// The file that a flag names, if it names one.
pub fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

/// The files that two flags name, each with its name: both or neither.
pub fn pair(certificate: (&str, &str), key: (&str, &str), findings: &mut Findings) -> Option<(PathBuf, PathBuf)> {
    match (path(certificate.1), path(key.1)) {
        (Some(_), None) => findings.error(format!("{} needs {}", certificate.0, key.0)),
        (None, Some(_)) => findings.error(format!("{} needs {}", key.0, certificate.0)),
        (certificate, key) => return certificate.zip(key),
    }
    None
}

/// Which of two values a flag names.
///
/// # Errors
///
/// Neither.
pub fn choice<T: Copy>(flag: &str, text: &str, known: [(&str, T); 2]) -> Result<T, String> {
    let [(one, _), (other, _)] = known;
    let found = known.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    found.ok_or_else(|| format!("--{flag}: invalid value {}: it must be {one} or {other}", quote(text)))
}

/// The networks of `--trusted-proxies`; `None`: everybody, as in Go.
pub fn trusted(list: &[String], findings: &mut Findings) -> Option<Vec<Network>> {
    let read = |text: &String| match (text.parse::<Network>(), text.parse::<IpAddr>()) {
        (Ok(network), _) => Some(network),
        (_, Ok(address)) => Some(address.into()),
        (Err(why), _) => {
            findings.error(format!("--trusted-proxies: {}: {why}", quote(text)));
            None
        }
    };
    (!list.is_empty()).then(|| list.iter().filter_map(read).collect())
}
