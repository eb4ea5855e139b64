//! What stands before an application behind a CDN: it asks Weir about each request's client, as nginx
//! does with `auth_request`, because packets that come from the CDN cannot be dropped for one client.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result};
use tokio::{
    io::AsyncWriteExt,
    net::UnixStream,
    time::{Duration, timeout},
};

use super::site::Answer;
use crate::http::{Message, read_message};

/// Longer than that nobody is kept waiting: then the request passes.
const PATIENCE: Duration = Duration::from_secs(3);

/// Who is asked, and who may say whom a request is from.
#[derive(Debug)]
pub struct Gate {
    socket: PathBuf,
    service: String,
    proxies: Vec<IpAddr>,
    lines: Mutex<Vec<UnixStream>>,
}

impl Gate {
    /// Asks at `socket` about clients of `service`; `X-Forwarded-For` counts where a request comes from
    /// one of `proxies`.
    #[must_use]
    pub fn new(socket: &Path, service: &str, proxies: Vec<IpAddr>) -> Self {
        let (socket, service) = (socket.to_owned(), service.to_owned());
        Self { socket, service, proxies, lines: Mutex::default() }
    }

    /// The answer to whoever is to be refused. Who cannot be asked about passes.
    pub(super) async fn refuses(&self, peer: IpAddr, request: &Message) -> Option<Answer> {
        let peer = peer.to_canonical();
        let client = if self.proxies.contains(&peer) {
            // The last one is the proxy's own word; what stands before it can be the client's.
            let list = request.forwarded_for.as_deref()?;
            list.rsplit(',').next()?.trim().parse().ok()?
        } else {
            peer
        };
        match timeout(PATIENCE, self.ask(client)).await {
            Ok(Ok(403)) => Some(Answer::refusal("403 Forbidden")),
            Ok(Ok(429)) => Some(Answer::refusal("429 Too Many Requests")),
            _ => None,
        }
    }

    /// The status of the answer. A line that was kept may be dead by now: then over a new one.
    async fn ask(&self, client: IpAddr) -> Result<u16> {
        // What fails on the way is not put back.
        let kept = self.lines.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let (stream, status) = match kept {
            Some(mut stream) => match self.exchange(&mut stream, client).await {
                Ok(status) => (stream, status),
                Err(_) => self.exchange_anew(client).await?,
            },
            None => self.exchange_anew(client).await?,
        };
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
        Ok(status)
    }

    async fn exchange_anew(&self, client: IpAddr) -> Result<(UnixStream, u16)> {
        let mut stream = UnixStream::connect(&self.socket).await?;
        let status = self.exchange(&mut stream, client).await?;
        Ok((stream, status))
    }

    async fn exchange(&self, stream: &mut UnixStream, client: IpAddr) -> Result<u16> {
        let service = &self.service;
        let question = format!(
            "GET /v1/verdict?address={client}&service={service} HTTP/1.1\r\nHost: weir\r\n\r\n"
        );
        stream.write_all(question.as_bytes()).await?;
        let answer = read_message(stream, &mut Vec::new()).await?.context("no answer")?;
        let status = answer.line.split(' ').nth(1).context("an answer without a status")?;
        Ok(status.parse()?)
    }
}
