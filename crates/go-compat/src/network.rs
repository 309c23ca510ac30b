use std::{fmt, net::IpAddr, str::FromStr};

/// The addresses that begin alike, as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// A text that is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a network is written as 10.0.0.0/8 or fd00::/8")]
pub struct NetworkError;

impl Network {
    /// Whether an address is among them. An IPv4 address is the same in IPv6's clothes, as in Go.
    pub fn contains(&self, address: IpAddr) -> bool {
        let shared = |a: u128, b: u128, width: u32| (a ^ b).leading_zeros().saturating_sub(128 - width) >= u32::from(self.bits);
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => shared(a.to_bits().into(), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => shared(a.to_bits(), b.to_bits(), 128),
            _ => false,
        }
    }
}

impl From<IpAddr> for Network {
    /// The one address.
    fn from(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self { address, bits: if address.is_ipv4() { 32 } else { 128 } }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    /// Mirrors `net.ParseCIDR`, which lets the address have more than the network's bits.
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, bits) = text.split_once('/').ok_or(NetworkError)?;
        let address: IpAddr = address.parse().map_err(|_| NetworkError)?;
        // `u8::from_str` takes a sign.
        if !bits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NetworkError);
        }
        let bits: u8 = bits.parse().map_err(|_| NetworkError)?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        match (address.to_canonical(), bits) {
            _ if bits > width => Err(NetworkError),
            (v4 @ IpAddr::V4(_), 96..) if width == 128 => Ok(Self { address: v4, bits: bits - 96 }),
            _ => Ok(Self { address, bits }),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    #[test]
    fn addresses_that_begin_alike_are_in_a_network() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.1.2.3/16", "10.1.0.0", "10.2.2.3"),
            ("192.168.1.1/32", "192.168.1.1", "192.168.1.0"),
            ("192.168.1.128/25", "::ffff:192.168.1.255", "192.168.1.127"),
            ("::ffff:10.0.0.0/104", "10.2.3.4", "11.0.0.0"),
            ("0.0.0.0/0", "8.8.8.8", "::1"),
            ("fd00::/8", "fd12::1", "fe00::"),
            ("::/0", "::1", "127.0.0.1"),
            ("2001:db8::1/128", "2001:db8::1", "2001:db8::2"),
        ] {
            let network: Network = network.parse().expect(network);
            let contains = |address: &str| network.contains(address.parse().expect(address));
            assert!(contains(inside) && !contains(outside), "{network}");
        }
        let host = Network::from(IpAddr::from(Ipv6Addr::LOCALHOST));
        assert!(host.contains(Ipv6Addr::LOCALHOST.into()) && !host.contains(Ipv6Addr::UNSPECIFIED.into()));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/+8", "::/129", "10.0.0/8", "a/8", "10.0.0.0/8/8", " 10.0.0.0/8"]
        {
            assert_eq!(text.parse::<Network>(), Err(NetworkError), "{text:?}");
        }
    }
}
