//! PROXY headers, as the server reads them: whom a connection is from, when a proxy relays it. Read
//! apart from the product's parser on purpose, so that neither can hide the other's mistake.
//!
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result, bail, ensure};
use tokio::{io::AsyncReadExt, net::TcpStream};

/// Longest header of version 1, with its end.
const LONGEST_LINE: usize = 107;

/// What a header of version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Takes the header off, if the connection begins with one; the client that it names. TLS begins
/// with neither letter.
pub(super) async fn client(stream: &mut TcpStream) -> Result<Option<SocketAddr>> {
    let mut first = [0];
    stream.peek(&mut first).await?;
    match first {
        [b'P'] => line(stream).await.map(Some),
        [b'\r'] => binary(stream).await.map(Some),
        _ => Ok(None),
    }
}

async fn line(stream: &mut TcpStream) -> Result<SocketAddr> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        ensure!(line.len() < LONGEST_LINE, "a PROXY header without end");
        line.push(stream.read_u8().await?);
    }
    let line = String::from_utf8(line).context("a PROXY header that is no text")?;
    let mut words = line.trim_end().split(' ');
    let mut next = || words.next();
    match (next(), next(), next(), next(), next()) {
        (Some("PROXY"), Some("TCP4" | "TCP6"), Some(client), Some(_), Some(port)) => {
            Ok(SocketAddr::new(client.parse()?, port.parse()?))
        }
        _ => bail!("an odd PROXY header: {line:?}"),
    }
}

async fn binary(stream: &mut TcpStream) -> Result<SocketAddr> {
    let mut head = [0; 16];
    stream.read_exact(&mut head).await?;
    let (signature, rest) = head.split_at(SIGNATURE.len());
    let [0x21, family, high, low] = *rest else { bail!("an odd PROXY header: {rest:x?}") };
    ensure!(signature == SIGNATURE, "an odd PROXY signature: {signature:x?}");
    let mut body = vec![0; usize::from(u16::from_be_bytes([high, low]))];
    stream.read_exact(&mut body).await?;
    let (client, ports) = match family {
        0x11 => (body.first_chunk::<4>().map(|client| IpAddr::from(Ipv4Addr::from(*client))), 8),
        0x21 => (body.first_chunk::<16>().map(|client| Ipv6Addr::from(*client).into()), 32),
        _ => (None, 0),
    };
    let port = body.get(ports..).and_then(|ports| ports.first_chunk::<2>());
    client
        .zip(port)
        .map(|(client, port)| SocketAddr::new(client, u16::from_be_bytes(*port)))
        .with_context(|| format!("a PROXY header of family {family:#x}, {} bytes", body.len()))
}
