//! The server's access log, as nginx writes one with a JSON `log_format`: one object a line, in the
//! order in which requests ended.

use std::{
    fs::File,
    io::Write,
    net::SocketAddr,
    path::Path,
    sync::{Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use serde_json::json;

use super::site::Answer;
use crate::http::Message;

/// A log that is open.
#[derive(Debug)]
pub(super) struct AccessLog {
    file: Mutex<File>,
}

/// What is noted of a request.
pub(super) struct Line<'a> {
    /// Who asked: the client that a PROXY header names, else the peer.
    pub(super) peer: SocketAddr,
    /// The end of the server.
    pub(super) local: SocketAddr,
    /// The request.
    pub(super) request: &'a Message,
    /// Its method.
    pub(super) method: &'a str,
    /// Its path.
    pub(super) path: &'a str,
    /// How it was answered.
    pub(super) answer: &'a Answer,
}

impl Line<'_> {
    /// The account that a form names, as an application tells its server.
    fn account(&self) -> &str {
        let form = std::str::from_utf8(&self.request.body).unwrap_or_default();
        let user = form.split('&').find_map(|field| field.strip_prefix("user="));
        user.unwrap_or_default()
    }
}

impl AccessLog {
    /// Opens the file, and makes it if it is not there.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self { file: Mutex::new(file) })
    }

    /// Notes a request.
    pub(super) fn note(&self, line: &Line<'_>) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let status = line.answer.status.split(' ').next().unwrap_or_default();
        let text = json!({
            "msec": format!("{}.{:03}", now.as_secs(), now.subsec_millis()),
            "remote_addr": line.peer.ip().to_canonical(),
            "remote_port": line.peer.port(),
            "remote_user": line.account(),
            "server_port": line.local.port(),
            "request_method": line.method,
            "uri": line.path,
            "status": status.parse::<u16>()?,
            "bytes_sent": line.answer.length,
            "http_user_agent": line.request.agent.as_deref().unwrap_or_default(),
            "http_x_forwarded_for": line.request.forwarded_for.as_deref().unwrap_or_default(),
        });
        // A line in one write: whoever reads along never sees two mixed.
        let text = format!("{text}\n");
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(text.as_bytes()).context("cannot write the access log")
    }
}
