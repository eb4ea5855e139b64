//! Connections that others made to this host: where it listens, and who is connected there.

use std::{collections::BTreeSet, net::IpAddr};

use super::{
    SocketError,
    diag::{Diag, states},
    filter,
};

/// A connection to this host, or a listener (whose far end is nobody's).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Inbound {
    /// The far end.
    pub remote: IpAddr,
    /// The port at this end.
    pub port: u16,
    /// The socket's inode, as `/proc/PID/fd` names it; 0 where no process holds it any more.
    pub inode: u32,
}

/// Where this host listens.
///
/// # Errors
/// If the kernel does not say.
pub fn listeners() -> Result<Vec<Inbound>, SocketError> {
    dump(states::LISTEN, &[])
}

/// Connections to some of this host's ports; loopback is left out.
///
/// # Errors
/// If the kernel does not say.
pub fn connected_to(ports: &[u16]) -> Result<Vec<Inbound>, SocketError> {
    if ports.is_empty() {
        return Ok(Vec::new());
    }
    let mut found = dump(states::ESTABLISHED, &filter::local_ports(ports))?;
    // A filter that is too long for the kernel's language lets everything through.
    found.retain(|it| ports.contains(&it.port) && !it.remote.is_loopback());
    Ok(found)
}

/// Connections to any port that this host listens on; loopback is left out.
///
/// # Errors
/// If the kernel does not say.
pub fn inbound() -> Result<Vec<Inbound>, SocketError> {
    let ports: BTreeSet<u16> = listeners()?.into_iter().map(|it| it.port).collect();
    let mut found = dump(states::ESTABLISHED, &[])?;
    found.retain(|it| ports.contains(&it.port) && !it.remote.is_loopback());
    Ok(found)
}

fn dump(states: u32, filter: &[u8]) -> Result<Vec<Inbound>, SocketError> {
    let failed = |source| SocketError::Kernel { operation: "list", source };
    let mut diag = Diag::open().map_err(failed)?;
    let mut found = Vec::new();
    diag.dump(states, filter, |socket| {
        found.push(Inbound {
            remote: socket.remote().ip(),
            port: socket.local().port(),
            inode: socket.inode(),
        });
    })
    .map_err(failed)?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        net::{TcpListener, TcpStream},
        os::fd::AsRawFd,
    };

    use super::*;

    #[test]
    fn a_listener_is_told_with_its_inode() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let link = fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap();
        let found = listeners().unwrap();
        let found = found.iter().find(|it| it.port == port).unwrap();
        assert_eq!(link.to_string_lossy(), format!("socket:[{}]", found.inode));
    }

    #[test]
    fn the_kernel_takes_the_filter_and_loopback_is_nobody() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let _client = TcpStream::connect(address).unwrap();
        let ports = [1, 2, address.port()];
        let all = dump(states::ESTABLISHED, &filter::local_ports(&ports)).unwrap();
        assert!(all.iter().all(|it| it.port == address.port()), "{all:?}");
        assert_eq!(all.len(), 1);
        assert_eq!(connected_to(&ports).unwrap(), []);
    }
}
