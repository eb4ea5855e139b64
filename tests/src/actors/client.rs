//! A client with an address of its own.

use std::{net::IpAddr, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream, rustls::ClientConfig};

use crate::{
    http::{Message, read_message},
    tls::{Library, SERVER_NAME, Trust, forgetting, server_name},
};

/// What a login form sends: as long as every other one.
const FORM: &str = "user=0000000000&password=000000000000";

/// A client that connects from one address.
#[derive(Clone)]
pub struct Client {
    address: IpAddr,
    config: Arc<ClientConfig>,
    name: &'static str,
    agent: &'static str,
    patience: Duration,
    forgets: bool,
}

impl Client {
    /// A client at `address` that waits at most `patience` for a connection, and again for each
    /// answer. Each of its connections begins with a full handshake.
    pub fn new(trust: &Trust, address: IpAddr, patience: Duration) -> Result<Self> {
        Ok(Self::of(trust.client()?, address, patience))
    }

    /// The same with a library and a session store of its own, which its clones share: its later
    /// connections resume.
    pub fn with(
        trust: &Trust,
        library: Library,
        address: IpAddr,
        patience: Duration,
    ) -> Result<Self> {
        Ok(Self::of(trust.client_with(library)?, address, patience))
    }

    fn of(config: Arc<ClientConfig>, address: IpAddr, patience: Duration) -> Self {
        let (name, agent) = (SERVER_NAME, "weir-lab");
        Self { address, config, name, agent, patience, forgets: false }
    }

    /// The same, but it resumes nothing: its hellos look alike, each to somebody new.
    #[must_use]
    pub fn forgetful(self) -> Self {
        Self { forgets: true, ..self }
    }

    /// The same, calling itself something else.
    #[must_use]
    pub fn named(self, agent: &'static str) -> Self {
        Self { agent, ..self }
    }

    /// The same, asking for another name of the server.
    #[must_use]
    pub fn asking_for(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// Connects and completes the TLS handshake. To be called inside the clients' namespace.
    pub async fn connect(&self, server: SocketAddr) -> Result<Connection> {
        timeout(self.patience, self.establish(server))
            .await
            .with_context(|| format!("{server} did not answer {}", self.address))?
    }

    /// Connects, sends one request, reads the answer and closes. Returns the status code.
    pub async fn once(&self, server: SocketAddr, method: &str, path: &str) -> Result<u16> {
        let mut connection = self.connect(server).await?;
        connection.request(method, path, true).await
    }

    async fn establish(&self, server: SocketAddr) -> Result<Connection> {
        let socket =
            if self.address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket
            .bind(SocketAddr::new(self.address, 0))
            .with_context(|| format!("cannot bind to {}", self.address))?;
        let stream = socket.connect(server).await?;
        stream.set_nodelay(true)?;
        let config = if self.forgets { forgetting(&self.config) } else { Arc::clone(&self.config) };
        let connector = TlsConnector::from(config);
        let stream = connector.connect(server_name(self.name)?, stream).await?;
        Ok(Connection { stream, buffer: Vec::new(), agent: self.agent, patience: self.patience })
    }
}

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
    agent: &'static str,
    patience: Duration,
}

impl Connection {
    /// Sends a request and reads the answer; with `last` the server closes after it. Returns the
    /// status code; 403 and 429, which refuse a client whatever it asks, are errors.
    pub async fn request(&mut self, method: &str, path: &str, last: bool) -> Result<u16> {
        self.post(method, path, if method == "POST" { FORM } else { "" }, last).await
    }

    /// The same with a body.
    pub async fn post(&mut self, method: &str, path: &str, body: &str, last: bool) -> Result<u16> {
        timeout(self.patience, self.exchange(method, path, body, last))
            .await
            .with_context(|| format!("no answer to {method} {path}"))?
    }

    /// The client's end.
    pub fn local(&self) -> Result<SocketAddr> {
        Ok(self.stream.get_ref().0.local_addr()?)
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await?;
        Ok(self.stream.flush().await?)
    }

    /// Asks for somebody else, through whom `X-Forwarded-For` tells; reads the answer.
    pub(crate) async fn forward(&mut self, request: &Message, client: IpAddr) -> Result<Message> {
        let before = request.forwarded_for.as_ref().map(|list| format!("{list}, "));
        let head = format!(
            "{}\r\nHost: {SERVER_NAME}\r\nUser-Agent: {}\r\nX-Forwarded-For: {}{client}\r\n\
             Content-Length: {}\r\nConnection: keep-alive\r\n\r\n",
            request.line,
            request.agent.as_deref().unwrap_or_default(),
            before.unwrap_or_default(),
            request.body.len(),
        );
        self.send(&[head.as_bytes(), &request.body].concat()).await?;
        let answer = timeout(self.patience, read_message(&mut self.stream, &mut self.buffer));
        answer.await??.context("the server closed the connection instead of answering")
    }

    /// Waits until the server says something or the connection ends; an error is the end of it.
    pub async fn listen(&mut self) -> Result<()> {
        match read_message(&mut self.stream, &mut self.buffer).await? {
            Some(_) => Ok(()),
            None => bail!("the server closed the connection"),
        }
    }

    /// Ends the connection properly. That the server was faster is no error.
    pub async fn close(mut self) {
        let _ = timeout(self.patience, self.stream.shutdown()).await;
    }

    async fn exchange(&mut self, method: &str, path: &str, body: &str, last: bool) -> Result<u16> {
        let connection = if last { "close" } else { "keep-alive" };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {SERVER_NAME}\r\nUser-Agent: {}\r\n\
             Content-Length: {}\r\nConnection: {connection}\r\n\r\n{body}",
            self.agent,
            body.len(),
        );
        self.send(request.as_bytes()).await?;
        let answer = read_message(&mut self.stream, &mut self.buffer)
            .await?
            .context("the server closed the connection instead of answering")?;
        ensure!(answer.closes == last, "the server has another idea of keeping the connection");
        let status = answer.line.split(' ').nth(1).context("an answer without a status")?;
        ensure!(!matches!(status, "403" | "429"), "refused with {status}");
        status.parse().with_context(|| format!("odd status {status:?}"))
    }
}
