//! Asks a running daemon.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::UnixStream;

use super::{
    message::{
        AuditQuery, AuditReport, BlockQuery, Blocked, BrakeStatus, Decisions, DecisionsQuery,
        ExplainQuery, Explanation, Failure, ForgetQuery, Forgot, Gates, GatesQuery, Labelled,
        Labels, LabelsQuery, ModeReport, PromoteQuery, Readiness, RollbackQuery, RotateQuery,
        Rotated, StageMoved, Status, SwitchQuery, UnblockQuery, Unblocked, Verdicts, VerdictsQuery,
    },
    path,
};

/// Longer than the largest list takes; a daemon that is silent for so long is stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why a request got no answer, or not the one that was hoped for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "no daemon answers at {}: start it with `weir run` (or `systemctl start weir`), or name \
         its directory with --run-dir",
        socket.display()
    )]
    NoDaemon {
        /// The socket.
        socket: PathBuf,
    },
    /// The socket is closed to this user.
    #[error("may not talk to the daemon at {}: run this as root", socket.display())]
    Forbidden {
        /// The socket.
        socket: PathBuf,
    },
    /// The conversation broke.
    #[error("cannot {operation} {}: {source}", socket.display())]
    Broken {
        /// What was tried.
        operation: &'static str,
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The daemon says no.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// Talks to one control socket.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// A client of the daemon with this control socket.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.into() }
    }

    /// What is the daemon doing?
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.ask(Method::GET, path::STATUS, &(), Bytes::new()).await
    }

    /// Is all as it should be?
    pub async fn ready(&self) -> Result<Readiness, ClientError> {
        let (status, body) = self.in_time(Method::GET, path::READY, &(), Bytes::new()).await?;
        if status == StatusCode::SERVICE_UNAVAILABLE
            && let Ok(readiness) = serde_json::from_slice(&body)
        {
            return Ok(readiness);
        }
        self.read(status, &body)
    }

    /// Figures for Prometheus.
    pub async fn metrics(&self) -> Result<String, ClientError> {
        let (status, body) = self.in_time(Method::GET, path::METRICS, &(), Bytes::new()).await?;
        if status.is_success() {
            return String::from_utf8(body.into()).map_err(|e| self.broken("understand", e));
        }
        self.read(status, &body)
    }

    /// Which verdicts are in force?
    pub async fn verdicts(&self, query: &VerdictsQuery) -> Result<Verdicts, ClientError> {
        self.ask(Method::GET, path::VERDICTS, query, Bytes::new()).await
    }

    /// What was decided lately?
    pub async fn decisions(&self, query: &DecisionsQuery) -> Result<Decisions, ClientError> {
        self.ask(Method::GET, path::DECISIONS, query, Bytes::new()).await
    }

    /// Why is somebody treated as they are?
    pub async fn explain(&self, query: &ExplainQuery) -> Result<Explanation, ClientError> {
        self.ask(Method::GET, path::EXPLAIN, query, Bytes::new()).await
    }

    /// Says what sources were.
    pub async fn label(&self, list: Bytes) -> Result<Labelled, ClientError> {
        self.ask(Method::POST, path::LABEL, &(), list).await
    }

    /// What was said?
    pub async fn labels(&self, query: &LabelsQuery) -> Result<Labels, ClientError> {
        self.ask(Method::GET, path::LABELS, query, Bytes::new()).await
    }

    /// How do the brakes stand?
    pub async fn brake(&self) -> Result<BrakeStatus, ClientError> {
        self.ask(Method::GET, path::BRAKE, &(), Bytes::new()).await
    }

    /// Closes the circuit breaker.
    pub async fn reset_brake(&self) -> Result<BrakeStatus, ClientError> {
        self.ask(Method::POST, path::RESET_BRAKE, &(), Bytes::new()).await
    }

    /// Forgets everybody of `list`.
    pub async fn forget(&self, query: &ForgetQuery, list: Bytes) -> Result<Forgot, ClientError> {
        self.ask(Method::POST, path::FORGET, query, list).await
    }

    /// Replaces a key of the journal.
    pub async fn rotate_key(&self, query: &RotateQuery) -> Result<Rotated, ClientError> {
        self.ask(Method::POST, path::ROTATE_KEY, query, Bytes::new()).await
    }

    /// Which mode is on?
    pub async fn mode(&self) -> Result<ModeReport, ClientError> {
        self.ask(Method::GET, path::MODE, &(), Bytes::new()).await
    }

    /// Switches the mode.
    pub async fn switch_mode(&self, query: &SwitchQuery) -> Result<ModeReport, ClientError> {
        self.ask(Method::POST, path::MODE, query, Bytes::new()).await
    }

    /// What did the self-audit find?
    pub async fn audit(&self, query: &AuditQuery) -> Result<AuditReport, ClientError> {
        self.ask(Method::GET, path::AUDIT, query, Bytes::new()).await
    }

    /// Where do policies stand?
    pub async fn gates(&self, query: &GatesQuery) -> Result<Gates, ClientError> {
        self.ask(Method::GET, path::GATES, query, Bytes::new()).await
    }

    /// Moves a policy forward.
    pub async fn promote(&self, query: &PromoteQuery) -> Result<StageMoved, ClientError> {
        self.ask(Method::POST, path::PROMOTE, query, Bytes::new()).await
    }

    /// Takes a policy back to watching.
    pub async fn roll_back(&self, query: &RollbackQuery) -> Result<StageMoved, ClientError> {
        self.ask(Method::POST, path::ROLLBACK, query, Bytes::new()).await
    }

    /// Sets verdicts on every prefix of `list`.
    pub async fn block(&self, query: &BlockQuery, list: Bytes) -> Result<Blocked, ClientError> {
        self.ask(Method::POST, path::BLOCK, query, list).await
    }

    /// Takes verdicts back.
    pub async fn unblock(
        &self,
        query: &UnblockQuery,
        list: Bytes,
    ) -> Result<Unblocked, ClientError> {
        self.ask(Method::POST, path::UNBLOCK, query, list).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &impl Serialize,
        body: Bytes,
    ) -> Result<T, ClientError> {
        let (status, body) = self.in_time(method, path, query, body).await?;
        self.read(status, &body)
    }

    async fn in_time(
        &self,
        method: Method,
        path: &str,
        query: &impl Serialize,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        tokio::time::timeout(PATIENCE, self.converse(method, path, query, body))
            .await
            .map_err(|late| self.broken("get an answer from", late))?
    }

    fn read<T: DeserializeOwned>(
        &self,
        status: StatusCode,
        body: &Bytes,
    ) -> Result<T, ClientError> {
        if status.is_success() {
            serde_json::from_slice(body).map_err(|e| self.broken("understand", e))
        } else {
            let failure: Failure =
                serde_json::from_slice(body).map_err(|e| self.broken("understand", e))?;
            Err(failure.into())
        }
    }

    async fn converse(
        &self,
        method: Method,
        path: &str,
        query: &impl Serialize,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let query = serde_urlencoded::to_string(query).map_err(|e| self.broken("ask", e))?;
        let separator = if query.is_empty() { "" } else { "?" };
        let stream = UnixStream::connect(&self.socket).await.map_err(|e| self.unreachable(e))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|e| self.broken("talk to", e))?;
        let request = Request::builder()
            .method(method)
            .uri(format!("{path}{separator}{query}"))
            .header(hyper::header::HOST, "weir")
            .body(Full::new(body))
            .map_err(|e| self.broken("ask", e))?;
        // The connection must be driven while the request is under way.
        let driver = tokio::spawn(connection);
        let answer = sender.send_request(request).await.map_err(|e| self.broken("ask", e))?;
        let status = answer.status();
        let body = answer
            .into_body()
            .collect()
            .await
            .map_err(|e| self.broken("read the answer of", e))?
            .to_bytes();
        driver.abort();
        Ok((status, body))
    }

    fn unreachable(&self, error: io::Error) -> ClientError {
        let socket = self.socket.clone();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NoDaemon { socket }
            }
            io::ErrorKind::PermissionDenied => ClientError::Forbidden { socket },
            _ => self.broken("reach", error),
        }
    }

    fn broken(
        &self,
        operation: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> ClientError {
        ClientError::Broken { operation, socket: self.socket.clone(), source: source.into() }
    }
}
