//! As much of HTTP/1.1 (RFC 9112) as the lab's server and clients speak with each other: heads
//! with `Content-Length` bodies.

use std::mem;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest head that is read.
const LONGEST_HEAD: usize = 16 << 10;

/// Longest body that is read.
const LONGEST_BODY: usize = 4 << 20;

/// A message: its first line, what its header fields say, and its body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Message {
    /// The request line or status line.
    pub(crate) line: String,
    /// Whether the sender closes the connection after this message.
    pub(crate) closes: bool,
    /// What `X-Forwarded-For` says: through whom a request came, the client first.
    pub(crate) forwarded_for: Option<String>,
    /// What `User-Agent` says.
    pub(crate) agent: Option<String>,
    /// The body.
    pub(crate) body: Vec<u8>,
    /// Length of the body that the head announces.
    length: usize,
}

impl Message {
    fn parse(text: &str) -> Result<Self> {
        let mut lines = text.split("\r\n");
        let line = lines.next().context("a message without a first line")?.to_owned();
        let mut message = Self {
            line,
            closes: false,
            forwarded_for: None,
            agent: None,
            body: Vec::new(),
            length: 0,
        };
        for field in lines.filter(|line| !line.is_empty()) {
            let (name, value) =
                field.split_once(':').with_context(|| format!("odd header field {field:?}"))?;
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => {
                    message.length = value.parse().context("odd Content-Length")?;
                    ensure!(message.length <= LONGEST_BODY, "a body of {value} bytes");
                }
                "connection" => message.closes = value.eq_ignore_ascii_case("close"),
                "x-forwarded-for" => message.forwarded_for = Some(value.to_owned()),
                "user-agent" => message.agent = Some(value.to_owned()),
                _ => {}
            }
        }
        Ok(message)
    }
}

/// Reads one message and leaves in `buffer` what came after it. `None`: the peer closed before it
/// sent anything more.
pub(crate) async fn read_message(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
) -> Result<Option<Message>> {
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
    let head = String::from_utf8_lossy(buffer.get(..end).unwrap_or_default());
    let mut message = Message::parse(&head)?;
    let total = end + 4 + message.length;
    while buffer.len() < total {
        if stream.read_buf(buffer).await? == 0 {
            bail!("the peer closed in the middle of a body");
        }
    }
    let next = buffer.split_off(total);
    message.body = mem::replace(buffer, next).split_off(end + 4);
    Ok(Some(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(bytes: &[u8]) -> Result<Vec<Message>> {
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
        assert_eq!(heads.iter().map(|head| head.body.len()).collect::<Vec<_>>(), [4, 0]);
    }

    #[test]
    fn an_unfinished_message_is_an_error() {
        assert!(read_all(b"GET / HTTP/1.1\r\nHost: a").is_err());
        assert!(read_all(b"GET / HTTP/1.1\r\nContent-Length: 9\r\n\r\nshort").is_err());
        assert!(read_all(b"GET / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n").is_err());
    }
}
