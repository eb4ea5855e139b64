//! The kernel's own list of TCP sockets in a namespace, from `/proc/net/tcp` and `tcp6`.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use anyhow::{Context, Result};

use super::Namespace;

/// State of a TCP socket, as the kernel numbers them (`include/net/tcp_states.h`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "the names are those of RFC 9293 and the kernel")]
pub enum TcpState {
    Established,
    SynSent,
    SynReceived,
    FinWait1,
    FinWait2,
    TimeWait,
    Close,
    CloseWait,
    LastAck,
    Listen,
    Closing,
    NewSynReceived,
}

impl TcpState {
    fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Established,
            2 => Self::SynSent,
            3 => Self::SynReceived,
            4 => Self::FinWait1,
            5 => Self::FinWait2,
            6 => Self::TimeWait,
            7 => Self::Close,
            8 => Self::CloseWait,
            9 => Self::LastAck,
            10 => Self::Listen,
            11 => Self::Closing,
            12 => Self::NewSynReceived,
            _ => return None,
        })
    }
}

/// A TCP socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Socket {
    /// This end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// Its state.
    pub state: TcpState,
}

impl Socket {
    /// Whether the application still holds it: a connection that costs the server something.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state, TcpState::Established | TcpState::CloseWait)
    }
}

/// Every TCP socket of a namespace. A mapped IPv4 address is shown as IPv4.
pub fn sockets(namespace: &Namespace) -> Result<Vec<Socket>> {
    namespace.run(|| {
        let mut sockets = Vec::new();
        for table in ["tcp", "tcp6"] {
            // Not /proc/net: that is the namespace of the process's first thread.
            let path = format!("/proc/thread-self/net/{table}");
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
            for line in text.lines().skip(1) {
                let socket = parse(line).with_context(|| format!("{path}: odd line {line:?}"))?;
                sockets.push(socket);
            }
        }
        Ok(sockets)
    })?
}

fn parse(line: &str) -> Option<Socket> {
    let mut fields = line.split_whitespace().skip(1);
    let local = endpoint(fields.next()?)?;
    let remote = endpoint(fields.next()?)?;
    let state = u8::from_str_radix(fields.next()?, 16).ok()?;
    Some(Socket { local, remote, state: TcpState::from_number(state)? })
}

/// `0100007F:1F90`: the address as 32-bit words in host byte order, the port as a number.
fn endpoint(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let mut bytes = Vec::new();
    for word in address.as_bytes().chunks(8) {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let address = match bytes.len() {
        4 => IpAddr::from(Ipv4Addr::from(*bytes.first_chunk::<4>()?)),
        _ => IpAddr::from(Ipv6Addr::from(*bytes.first_chunk::<16>()?)).to_canonical(),
    };
    Some(SocketAddr::new(address, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn lines_of_both_tables_are_read() {
        let v4 =
            "   0: 0A6433C6:01BB 077100CB:9C40 01 00000000:00000000 00:00000000 00000000 0 0 1";
        let v6 = "   1: B80D0120000051000000000010000000:01BB \
                  0000000000000000FFFF0000077100CB:9C40 06 00000000:00000000 00:00000000 0 0 1";
        let socket = parse(v4).unwrap();
        assert_eq!(socket.local, "198.51.100.10:443".parse().unwrap());
        assert_eq!(socket.remote, "203.0.113.7:40000".parse().unwrap());
        assert!(socket.is_open());
        let socket = parse(v6).unwrap();
        assert_eq!(socket.local, "[2001:db8:51::10]:443".parse().unwrap());
        assert_eq!(socket.remote, "203.0.113.7:40000".parse().unwrap());
        assert!(!socket.is_open());
    }
}
