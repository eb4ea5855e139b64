//! Where local applications talk to: a datagram socket, on which every datagram is one line or several,
//! and a stream socket.
//!
//! Both are open to the daemon's user and group, and to nobody else. Lines, connections and what waits
//! for the loop are bounded; what is beyond is counted. Lines are taken as they come and dropped where
//! there is no room, so that no application waits for decisions.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    net::{UnixDatagram, UnixListener},
    task::JoinSet,
};

use super::refusal::Refusal;
use crate::api::server;

/// Longest line, and longest datagram.
pub const LONGEST_LINE: usize = 16 << 10;
/// Streams at once.
pub const MOST_STREAMS: usize = 64;
/// Mode of the sockets.
const MODE: u32 = 0o660;

/// A socket could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}: {source}; give a directory that this user may write with --run-dir", path.display())]
pub struct ListenError {
    /// What was tried, as a verb.
    operation: &'static str,
    /// On what.
    path: PathBuf,
    /// What the system said.
    source: io::Error,
}

/// What is done with a line, or with what is none.
pub type OnLine = Arc<dyn Fn(Result<&[u8], Refusal>) + Send + Sync>;

/// Both sockets; their files go when this does.
#[derive(Debug)]
pub struct Sockets {
    datagrams: std::os::unix::net::UnixDatagram,
    streams: std::os::unix::net::UnixListener,
    paths: [PathBuf; 2],
}

impl Sockets {
    /// Makes them. Call it only while holding the daemon's lock: sockets that are already there are then
    /// nobody's, and are replaced.
    ///
    /// # Errors
    /// If the directory cannot be written.
    pub fn bind(datagrams: &Path, streams: &Path) -> Result<Self, ListenError> {
        let failed = |operation, path: &Path| {
            let path = path.to_owned();
            move |source| ListenError { operation, path, source }
        };
        for path in [datagrams, streams] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("remove the old socket", path)(error));
                }
                _ => {}
            }
        }
        let bound = std::os::unix::net::UnixDatagram::bind(datagrams)
            .map_err(failed("listen on", datagrams))?;
        let listener = std::os::unix::net::UnixListener::bind(streams)
            .map_err(failed("listen on", streams))?;
        bound.set_nonblocking(true).map_err(failed("set up", datagrams))?;
        listener.set_nonblocking(true).map_err(failed("set up", streams))?;
        for path in [datagrams, streams] {
            server::give_to_applications(path)
                .map_err(failed("give to the group weir-apps", path))?;
            fs::set_permissions(path, fs::Permissions::from_mode(MODE))
                .map_err(failed("set permissions of", path))?;
        }
        Ok(Self { datagrams: bound, streams: listener, paths: [datagrams.into(), streams.into()] })
    }

    /// Hands over every line, until a socket fails.
    ///
    /// # Errors
    /// What the system said.
    pub async fn serve(&self, on_line: OnLine) -> io::Result<()> {
        let datagrams = UnixDatagram::from_std(self.datagrams.try_clone()?)?;
        let streams = UnixListener::from_std(self.streams.try_clone()?)?;
        tokio::select! {
            ended = hear_datagrams(&datagrams, &on_line) => ended,
            ended = hear_streams(&streams, &on_line) => ended,
        }
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        for path in &self.paths {
            // Nothing depends on it: the next daemon replaces a socket that is left behind.
            let _ = fs::remove_file(path);
        }
    }
}

async fn hear_datagrams(socket: &UnixDatagram, on_line: &OnLine) -> io::Result<()> {
    // One byte more than may come: what fills it was longer, and was cut off.
    let mut buffer = vec![0; LONGEST_LINE + 1];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if length > LONGEST_LINE {
            on_line(Err(Refusal::TooLong));
            continue;
        }
        for line in buffer.get(..length).unwrap_or_default().split(|byte| *byte == b'\n') {
            if !line.trim_ascii().is_empty() {
                on_line(Ok(line));
            }
        }
    }
}

async fn hear_streams(listener: &UnixListener, on_line: &OnLine) -> io::Result<()> {
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(_) if streams.len() >= MOST_STREAMS => {
                    on_line(Err(Refusal::TooManyConnections));
                }
                Ok((stream, _)) => {
                    let on_line = Arc::clone(on_line);
                    streams.spawn(async move { hear(stream, &on_line).await });
                }
                // Out of descriptors, or a client that was gone again: neither is the socket's end.
                Err(error) => {
                    tracing::debug!(%error, "cannot take a connection to the socket of signals");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            },
            Some(_) = streams.join_next() => {}
        }
    }
}

/// Hears one stream to its end.
async fn hear(stream: impl AsyncRead + Unpin, on_line: &OnLine) {
    let mut reader = BufReader::with_capacity(LONGEST_LINE, stream);
    let mut line = Vec::new();
    let mut is_skipping = false;
    loop {
        let Ok(available) = reader.fill_buf().await else { return };
        if available.is_empty() {
            // A line without an end is one, as in every file.
            end(&mut line, &mut is_skipping, on_line);
            return;
        }
        let end_at = available.iter().position(|byte| *byte == b'\n');
        let text = available.get(..end_at.unwrap_or(available.len())).unwrap_or_default();
        if !is_skipping && line.len() + text.len() > LONGEST_LINE {
            is_skipping = true;
            line.clear();
            on_line(Err(Refusal::TooLong));
        }
        if !is_skipping {
            line.extend_from_slice(text);
        }
        let used = text.len() + usize::from(end_at.is_some());
        if end_at.is_some() {
            end(&mut line, &mut is_skipping, on_line);
        }
        reader.consume(used);
        // A client that never pauses leaves others their turn.
        tokio::task::consume_budget().await;
    }
}

fn end(line: &mut Vec<u8>, is_skipping: &mut bool, on_line: &OnLine) {
    if !*is_skipping && !line.trim_ascii().is_empty() {
        on_line(Ok(line));
    }
    line.clear();
    *is_skipping = false;
}

#[cfg(test)]
mod tests;
