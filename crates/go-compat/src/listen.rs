use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

/// Where to listen, as Go's `net.Listen("tcp", address)` is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    host: ListenHost,
    port: u16,
}

/// On which of the host's addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenHost {
    /// All of them, IPv6 and IPv4: `:8443`.
    All,
    /// This one. `0.0.0.0` and `::` are, as in Go, every address of both kinds.
    Ip(IpAddr),
    /// Whatever this name, or address with a zone, resolves to.
    Name(String),
}

/// Why a text is no address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListenAddressError {
    /// No `:port` at the end.
    #[error("missing port in address")]
    MissingPort,
    /// An IPv6 address without brackets.
    #[error("too many colons in address: an IPv6 address is written in brackets, [::1]:8443")]
    TooManyColons,
    /// Brackets that do not enclose the host.
    #[error("misplaced bracket in address")]
    Bracket,
    /// A port that is no number of 16 bits. Go also takes service names.
    #[error("the port must be a number from 0 to 65535")]
    Port,
    /// A host that is neither an IP address nor a host name.
    #[error("the host is neither an IP address nor a host name")]
    Host,
}

impl ListenAddress {
    /// On which of the host's addresses.
    pub fn host(&self) -> &ListenHost {
        &self.host
    }

    /// 0 leaves the choice to the system.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same host with another port.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Self {
        Self { host: self.host.clone(), port }
    }
}

impl FromStr for ListenAddress {
    type Err = ListenAddressError;

    /// Mirrors `net.SplitHostPort`, but that the port is a number.
    fn from_str(text: &str) -> Result<Self, ListenAddressError> {
        let (host, port) = text.rsplit_once(':').ok_or(ListenAddressError::MissingPort)?;
        let host = match host.strip_prefix('[') {
            Some(bracketed) => match bracketed.strip_suffix(']') {
                Some(host) => host,
                // The last colon is inside the brackets.
                None if text.ends_with(']') => return Err(ListenAddressError::MissingPort),
                None => return Err(ListenAddressError::Bracket),
            },
            None if host.contains(':') && !host.contains(['[', ']']) => return Err(ListenAddressError::TooManyColons),
            None => host,
        };
        if host.contains(['[', ']']) {
            return Err(ListenAddressError::Bracket);
        }
        // `u16::from_str` takes a sign.
        if !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ListenAddressError::Port);
        }
        let port = match port {
            "" => return Err(ListenAddressError::MissingPort),
            port => port.parse().map_err(|_| ListenAddressError::Port)?,
        };
        Ok(Self { host: read_host(host)?, port })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            ListenHost::All => {}
            ListenHost::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]")?,
            ListenHost::Ip(IpAddr::V4(ip)) => ip.fmt(f)?,
            ListenHost::Name(name) if name.contains(':') => write!(f, "[{name}]")?,
            ListenHost::Name(name) => f.write_str(name)?,
        }
        write!(f, ":{}", self.port)
    }
}

fn read_host(host: &str) -> Result<ListenHost, ListenAddressError> {
    match host.parse::<IpAddr>() {
        _ if host.is_empty() => Ok(ListenHost::All),
        Ok(ip) => Ok(ListenHost::Ip(ip.to_canonical())),
        Err(_) if is_zoned_address(host) || is_name(host) => Ok(ListenHost::Name(host.to_owned())),
        Err(_) => Err(ListenAddressError::Host),
    }
}

/// `fe80::1%eth0`.
fn is_zoned_address(host: &str) -> bool {
    host.split_once('%')
        .is_some_and(|(ip, zone)| ip.parse::<Ipv6Addr>().is_ok() && !zone.is_empty() && zone.bytes().all(|byte| byte.is_ascii_graphic()))
}

/// Digits and dots alone are a mistyped IPv4 address, which some resolvers read in their own way.
fn is_name(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    host.len() <= 254
        && host.strip_suffix('.').unwrap_or(host).split('.').all(is_label)
        && !host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> ListenHost {
        ListenHost::Ip(text.parse().expect("an address"))
    }

    fn name(text: &str) -> ListenHost {
        ListenHost::Name(text.to_owned())
    }

    #[test]
    fn addresses_are_read_as_go_reads_them() {
        for (text, host, port, written) in [
            (":8443", ListenHost::All, 8443, ":8443"),
            ("[]:8443", ListenHost::All, 8443, ":8443"),
            ("0.0.0.0:8443", ip("0.0.0.0"), 8443, "0.0.0.0:8443"),
            ("[::]:8443", ip("::"), 8443, "[::]:8443"),
            ("[::1]:0", ip("::1"), 0, "[::1]:0"),
            ("[10.0.0.1]:9100", ip("10.0.0.1"), 9100, "10.0.0.1:9100"),
            ("10.0.0.1:9100", ip("10.0.0.1"), 9100, "10.0.0.1:9100"),
            ("[::ffff:10.0.0.1]:1", ip("10.0.0.1"), 1, "10.0.0.1:1"),
            ("[fe80::1%eth0]:65535", name("fe80::1%eth0"), 65535, "[fe80::1%eth0]:65535"),
            ("localhost:080", name("localhost"), 80, "localhost:80"),
            ("node-1.example_zone.:1", name("node-1.example_zone."), 1, "node-1.example_zone.:1"),
        ] {
            let address: ListenAddress = text.parse().expect(text);
            assert_eq!((address.host(), address.port()), (&host, port), "{text}");
            assert_eq!(address.to_string(), written, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for (text, error) in [
            ("", ListenAddressError::MissingPort),
            ("8443", ListenAddressError::MissingPort),
            ("localhost", ListenAddressError::MissingPort),
            ("localhost:", ListenAddressError::MissingPort),
            ("[::1]", ListenAddressError::MissingPort),
            ("::1", ListenAddressError::TooManyColons),
            ("::1:8443", ListenAddressError::TooManyColons),
            ("a:b:1", ListenAddressError::TooManyColons),
            ("[::1:8443", ListenAddressError::Bracket),
            ("::1]:8443", ListenAddressError::Bracket),
            ("[a]b:1", ListenAddressError::Bracket),
            ("[[a]]:1", ListenAddressError::Bracket),
            ("localhost:65536", ListenAddressError::Port),
            ("localhost:-1", ListenAddressError::Port),
            ("localhost:+1", ListenAddressError::Port),
            ("localhost:https", ListenAddressError::Port),
            ("localhost: 1", ListenAddressError::Port),
            ("http://localhost:1", ListenAddressError::TooManyColons),
            ("a b:1", ListenAddressError::Host),
            ("$(POD_IP):1", ListenAddressError::Host),
            ("10.0.0.256:1", ListenAddressError::Host),
            ("127.1:1", ListenAddressError::Host),
            ("a..b:1", ListenAddressError::Host),
            ("[fe80::1%]:1", ListenAddressError::Host),
            ("*:8443", ListenAddressError::Host),
        ] {
            assert_eq!(text.parse::<ListenAddress>(), Err(error), "{text}");
        }
    }

    #[test]
    fn another_port_keeps_the_host() {
        let address: ListenAddress = "[::1]:8443".parse().expect("an address");
        assert_eq!(address.with_port(8888).to_string(), "[::1]:8888");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(bits: u128, v4: bool, port: u16) {
            let host = if v4 { IpAddr::V4(Ipv4Addr::from_bits(bits as u32)) } else { IpAddr::V6(Ipv6Addr::from_bits(bits)).to_canonical() };
            let address = ListenAddress { host: ListenHost::Ip(host), port };
            prop_assert_eq!(address.to_string().parse(), Ok(address));
        }

        #[test]
        fn an_accepted_text_is_written_and_read_back(text in "[\\[\\]:.%0-9a-z_]{0,12}:[0-9]{0,6}") {
            if let Ok(address) = text.parse::<ListenAddress>() {
                prop_assert_eq!(address.to_string().parse(), Ok(address));
            }
        }
    }
}
