//! Who comes to the server: people and programs with honest intentions, and others. Each has its
//! own address, a bounded plan, and a tally of what became of it.

mod browser;
mod campaign;
mod chameleon;
mod client;
mod crawler;
mod crowd;
mod dice;
mod flood;
mod health;
mod hoarder;
mod partner;
mod person;
mod scanner;
mod scraper;
mod session;
mod stuffing;
mod tally;
mod troupe;

pub use browser::Browser;
pub use campaign::{Campaign, CampaignMember};
pub use chameleon::Chameleon;
pub use client::{Client, Connection};
pub use crawler::Crawler;
pub use crowd::Crowd;
pub use flood::SpoofedFlood;
pub use health::HealthChecker;
pub use hoarder::Hoarder;
pub use partner::Partner;
pub use person::Person;
pub use scanner::SynScanner;
pub use scraper::Scraper;
pub use session::{Session, visit, visit_at};
pub use stuffing::StuffingBot;
pub use tally::{Report, Tally};
pub use troupe::{Part, Playing, Troupe};

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::Result;
use tokio::time::{Instant, sleep};

use crate::tls::Trust;

/// Where an actor's packets come from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Origin {
    /// One address, at which the actor can be reached.
    Address(IpAddr),
    /// Invented addresses of a range in which nobody lives.
    Forged(Ipv4Addr, u8),
}

impl Origin {
    /// The address, if there is one that is real.
    #[must_use]
    pub fn address(self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(address),
            Self::Forged(..) => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Forged(base, length) => write!(f, "{base}/{length}"),
        }
    }
}

/// What an actor finds when it begins.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The shop, IPv4 and IPv6.
    pub shop: [SocketAddr; 2],
    /// The interface for programs, IPv4 and IPv6.
    pub api: [SocketAddr; 2],
    /// The server's certificate.
    pub trust: Trust,
    /// Interface through which raw frames leave.
    pub interface: &'static str,
    /// Where the actor counts.
    pub tally: Arc<Tally>,
}

impl Scene {
    /// The shop, at the address of the family of `client`.
    #[must_use]
    pub fn shop_for(&self, client: IpAddr) -> SocketAddr {
        of_family(self.shop, client)
    }

    /// The interface for programs, at the address of the family of `client`.
    #[must_use]
    pub fn api_for(&self, client: IpAddr) -> SocketAddr {
        of_family(self.api, client)
    }
}

fn of_family([v4, v6]: [SocketAddr; 2], client: IpAddr) -> SocketAddr {
    if client.is_ipv4() { v4 } else { v6 }
}

/// Someone who comes to the server.
pub trait Actor: Send + 'static {
    /// Name in reports.
    fn name(&self) -> &'static str;

    /// Where it comes from.
    fn origin(&self) -> Origin;

    /// Whether it deserves to be served.
    fn is_honest(&self) -> bool;

    /// Carries out the plan, inside the clients' namespace. An error is the lab's own; what the
    /// server or Weir refuses is counted instead.
    fn play(self, scene: Scene) -> impl Future<Output = Result<()>> + Send;
}

/// Time that a plan has left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    end: Instant,
}

impl Clock {
    pub(crate) fn lasting(duration: Duration) -> Self {
        Self { end: Instant::now() + duration }
    }

    pub(crate) fn is_over(self) -> bool {
        Instant::now() >= self.end
    }

    /// Sleeps, but not past the end.
    pub(crate) async fn pause(self, duration: Duration) {
        sleep(duration.min(self.end.saturating_duration_since(Instant::now()))).await;
    }
}
