//! As much of HTTP/1.1 (RFC 9112) as the lab's server and clients speak with each other: heads
//! with `Content-Length` bodies.

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest head that is read.
const LONGEST_HEAD: usize = 16 << 10;

/// Longest body that is read.
const LONGEST_BODY: usize = 4 << 20;

/// The first line and the header fields of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    /// The request line or status line.
    pub(crate) line: String,
    /// Length of the body that follows.
    pub(crate) body: usize,
    /// Whether the sender closes the connection after this message.
    pub(crate) closes: bool,
}

impl Head {
    fn parse(text: &str) -> Result<Self> {
        let mut lines = text.split("\r\n");
        let line = lines.next().context("a message without a first line")?.to_owned();
        let mut head = Self { line, body: 0, closes: false };
        for field in lines.filter(|line| !line.is_empty()) {
            let (name, value) =
                field.split_once(':').with_context(|| format!("odd header field {field:?}"))?;
            match name.to_ascii_lowercase().as_str() {
                "content-length" => {
                    head.body = value.trim().parse().context("odd Content-Length")?;
                    ensure!(head.body <= LONGEST_BODY, "a body of {} bytes", head.body);
                }
                "connection" => head.closes = value.trim().eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
        Ok(head)
    }

    /// The words of the first line.
    pub(crate) fn words(&self) -> impl Iterator<Item = &str> {
        self.line.split(' ')
    }
}

/// Reads one message and leaves in `buffer` what came after it. `None`: the peer closed before it
/// sent anything more.
pub(crate) async fn read_message(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
) -> Result<Option<Head>> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        ensure!(buffer.len() <= LONGEST_HEAD, "a head of more than {LONGEST_HEAD} bytes");
        if stream.read_buf(buffer).await? == 0 {
            if buffer.is_empty() {
                return Ok(None);
            }
            bail!("the peer closed in the middle of a head");
        }
    };
    let head = Head::parse(&String::from_utf8_lossy(buffer.get(..end).unwrap_or_default()))?;
    let total = end + 4 + head.body;
    while buffer.len() < total {
        if stream.read_buf(buffer).await? == 0 {
            bail!("the peer closed in the middle of a body");
        }
    }
    buffer.drain(..total);
    Ok(Some(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(bytes: &[u8]) -> Result<Vec<Head>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        runtime.block_on(async {
            let (mut stream, mut buffer, mut heads) = (bytes, Vec::new(), Vec::new());
            while let Some(head) = read_message(&mut stream, &mut buffer).await? {
                heads.push(head);
            }
            Ok(heads)
        })
    }

    #[test]
    fn messages_follow_each_other() {
        let heads = read_all(
            b"POST /login HTTP/1.1\r\ncontent-length: 4\r\n\r\nuserGET / HTTP/1.1\r\n\
              Connection: close\r\n\r\n",
        )
        .unwrap();
        let lines: Vec<&str> = heads.iter().map(|head| head.line.as_str()).collect();
        assert_eq!(lines, ["POST /login HTTP/1.1", "GET / HTTP/1.1"]);
        assert_eq!(heads.iter().map(|head| head.closes).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn an_unfinished_message_is_an_error() {
        assert!(read_all(b"GET / HTTP/1.1\r\nHost: a").is_err());
        assert!(read_all(b"GET / HTTP/1.1\r\nContent-Length: 9\r\n\r\nshort").is_err());
        assert!(read_all(b"GET / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n").is_err());
    }
}
