//! Flows that this host opened before Weir came.

use std::net::SocketAddr;

use weir_common::abi::{FlowKey, Protocol};

use super::{
    SocketError,
    destroy::listening_ports,
    diag::{Diag, states},
};
use crate::system::address::words;

/// Every TCP connection of this host whose local port nobody listens on: those that it opened.
/// Loopback is left out, because no verdict sees it.
pub fn opened_by_this_host() -> Result<Vec<FlowKey>, SocketError> {
    let failed = |source| SocketError::Kernel { operation: "list", source };
    let mut diag = Diag::open().map_err(failed)?;
    let listening = listening_ports(&mut diag)?;
    let mut flows = Vec::new();
    diag.dump(states::ESTABLISHED | states::SYN_SENT, &[], |socket| {
        let (local, remote) = (socket.local(), socket.remote());
        if !listening.contains(&local.port()) && !remote.ip().is_loopback() {
            flows.push(flow_key(local, remote));
        }
    })
    .map_err(failed)?;
    Ok(flows)
}

fn flow_key(local: SocketAddr, remote: SocketAddr) -> FlowKey {
    FlowKey {
        remote: words(remote.ip()),
        local: words(local.ip()),
        remote_port: remote.port().to_be(),
        local_port: local.port().to_be(),
        protocol: Protocol::Tcp as u32,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::{super::super::netns::private, *};

    #[test]
    fn keys_are_the_bytes_of_the_wire() {
        let key =
            flow_key("192.0.2.1:40000".parse().unwrap(), "[2001:db8::5]:443".parse().unwrap());
        assert_eq!(key.local.map(u32::to_ne_bytes).concat()[10..], [255, 255, 192, 0, 2, 1]);
        assert_eq!(key.remote.map(u32::to_ne_bytes).concat()[..4], [0x20, 1, 0x0d, 0xb8]);
        assert_eq!(key.remote_port.to_ne_bytes(), [1, 187]);
    }

    #[test]
    fn a_connection_from_a_port_that_listens_is_not_ours() {
        private(|| {
            // An address that is not loopback's range but is local: this host talks to itself.
            super::super::super::netns::add_address("lo", [198, 51, 100, 1]);
            let listener = TcpListener::bind("198.51.100.1:443").unwrap();
            let client = TcpStream::connect("198.51.100.1:443").unwrap();
            let accepted = listener.accept().unwrap();
            let ours = flow_key(client.local_addr().unwrap(), client.peer_addr().unwrap());
            assert_eq!(opened_by_this_host().unwrap(), [ours], "and not the accepted end");
            drop(accepted);
        });
    }
}
