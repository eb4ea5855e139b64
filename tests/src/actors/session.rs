//! One client's connection, step by step: for stories in which something happens in between.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use tokio::runtime::Runtime;

use super::{Client, Connection};
use crate::{
    net::{Family, Lab, runtime},
    server::Server,
};

/// An open TLS connection with a runtime of its own, to be used from any thread without one.
pub struct Session {
    // Before the runtime that it belongs to.
    connection: Connection,
    runtime: Runtime,
}

impl Session {
    /// Connects from `from` to `to`. Every step waits at most `patience`.
    pub fn open(
        lab: &Lab,
        server: &Server,
        from: IpAddr,
        to: SocketAddr,
        patience: Duration,
    ) -> Result<Self> {
        Self::of(lab, &Client::new(server.trust(), from, patience)?, to)
    }

    /// The same for a client that differs.
    pub fn of(lab: &Lab, client: &Client, to: SocketAddr) -> Result<Self> {
        lab.clients().run(|| {
            let runtime = runtime()?;
            let connection = runtime.block_on(client.connect(to))?;
            Ok(Self { connection, runtime })
        })?
    }

    /// Asks once, and goes on holding the connection. An error means that it was not served.
    pub fn ask(&mut self) -> Result<()> {
        let status = self.runtime.block_on(self.connection.request("GET", "/health", false))?;
        ensure!(status == 200, "the server answered {status}");
        Ok(())
    }

    /// The client's end.
    pub fn local(&self) -> Result<SocketAddr> {
        self.connection.local()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("connection", &self.connection).finish_non_exhaustive()
    }
}

/// One short visit of `from` to the shop of the first link: how long it took until the answer was
/// there. An error means that it was not served within `patience`.
pub fn visit(lab: &Lab, server: &Server, from: IpAddr, patience: Duration) -> Result<Duration> {
    let family = if from.is_ipv4() { Family::V4 } else { Family::V6 };
    visit_at(lab, server, from, lab.link().shop(family), patience)
}

/// One short visit to any port of the server.
pub fn visit_at(
    lab: &Lab,
    server: &Server,
    from: IpAddr,
    to: SocketAddr,
    patience: Duration,
) -> Result<Duration> {
    let began = Instant::now();
    Session::open(lab, server, from, to, patience)?.ask()?;
    Ok(began.elapsed())
}
