use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, lookup_host};

/// How many connections wait to be accepted, as far as the system allows; Go's value on Linux.
const BACKLOG: i32 = 4096;

/// Binds a listening socket. An unspecified address, of IPv4 too, takes both IPv6 and IPv4 where the system has both, as in Go;
/// where it has no IPv6, IPv4 alone.
///
/// # Errors
///
/// The address cannot be bound.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    if !address.ip().is_unspecified() {
        return try_bind(address);
    }
    match try_bind((Ipv6Addr::UNSPECIFIED, address.port()).into()) {
        Err(error) if lacks_ipv6(&error) => try_bind((Ipv4Addr::UNSPECIFIED, address.port()).into()),
        bound => bound,
    }
}

/// The address to listen on for a host name: as in Go the first one, IPv4 preferred.
///
/// # Errors
///
/// The name does not resolve.
pub(crate) async fn resolve(host: &str, port: u16) -> io::Result<SocketAddr> {
    let addresses: Vec<_> = lookup_host((host, port)).await?.collect();
    let preferred = addresses.iter().find(|address| address.is_ipv4()).or_else(|| addresses.first());
    preferred.copied().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the host name has no address"))
}

fn try_bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if is_any_v6(address) {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn is_any_v6(address: SocketAddr) -> bool {
    address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
}

fn lacks_ipv6(error: &io::Error) -> bool {
    // EAFNOSUPPORT at the socket, EADDRNOTAVAIL at the bind when the interface has it disabled.
    error.raw_os_error() == Some(97) || error.kind() == io::ErrorKind::AddrNotAvailable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_an_error() {
        let first = bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
        let error = bind(first.local_addr().expect("bound")).expect_err("in use");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[tokio::test]
    async fn any_address_is_of_ipv6_and_ipv4() {
        for any in [IpAddr::from(Ipv6Addr::UNSPECIFIED), Ipv4Addr::UNSPECIFIED.into()] {
            let socket = bind((any, 0).into()).expect("a free port");
            let port = socket.local_addr().expect("bound").port();
            for own in [IpAddr::from(Ipv6Addr::LOCALHOST), Ipv4Addr::LOCALHOST.into()] {
                let (accepted, connected) = tokio::join!(socket.accept(), tokio::net::TcpStream::connect((own, port)));
                accepted.expect("accepted");
                connected.expect("connected");
            }
        }
    }
}
