//! PROXY headers, as the server reads them: whom a connection is from, when a proxy relays it. Read
//! apart from the product's parser on purpose, so that neither can hide the other's mistake.
//!
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result, bail, ensure};
use tokio::{io::AsyncReadExt, net::TcpStream};

/// Longest header of version 1, with its end.
const LONGEST_LINE: usize = 107;

/// What a header of version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Takes the header off, if the connection begins with one; the client that it names. TLS begins
/// with neither letter.
pub(super) async fn client(stream: &mut TcpStream) -> Result<Option<IpAddr>> {
    let mut first = [0];
    stream.peek(&mut first).await?;
    match first {
        [b'P'] => line(stream).await.map(Some),
        [b'\r'] => binary(stream).await.map(Some),
        _ => Ok(None),
    }
}

async fn line(stream: &mut TcpStream) -> Result<IpAddr> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        ensure!(line.len() < LONGEST_LINE, "a PROXY header without end");
        line.push(stream.read_u8().await?);
    }
    let line = String::from_utf8(line).context("a PROXY header that is no text")?;
    let mut words = line.trim_end().split(' ');
    match (words.next(), words.next(), words.next()) {
        (Some("PROXY"), Some("TCP4" | "TCP6"), Some(client)) => Ok(client.parse()?),
        _ => bail!("an odd PROXY header: {line:?}"),
    }
}

async fn binary(stream: &mut TcpStream) -> Result<IpAddr> {
    let mut head = [0; 16];
    stream.read_exact(&mut head).await?;
    let (signature, rest) = head.split_at(SIGNATURE.len());
    let [0x21, family, high, low] = *rest else { bail!("an odd PROXY header: {rest:x?}") };
    ensure!(signature == SIGNATURE, "an odd PROXY signature: {signature:x?}");
    let mut body = vec![0; usize::from(u16::from_be_bytes([high, low]))];
    stream.read_exact(&mut body).await?;
    match family {
        0x11 => body.first_chunk::<4>().map(|client| Ipv4Addr::from(*client).into()),
        0x21 => body.first_chunk::<16>().map(|client| Ipv6Addr::from(*client).into()),
        _ => None,
    }
    .with_context(|| format!("a PROXY header of family {family:#x} and {} bytes", body.len()))
}
