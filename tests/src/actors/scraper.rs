//! A scraper that imitates a browser's hello to the byte, one connection for each page, no two of them
//! the same. It is in no hurry, it fetches nothing but pages, and it never comes back to a session.

use std::{net::IpAddr, time::Duration};

use anyhow::Result;

use super::{Actor, Client, Origin, Scene, stuffing::at_a_steady_rate};
use crate::tls::Library;

/// How long it waits for a page.
const PATIENCE: Duration = Duration::from_secs(3);

/// A scraper.
#[derive(Clone, Debug)]
pub struct Scraper {
    /// Where it is.
    pub address: IpAddr,
    /// Pages a second.
    pub per_second: u32,
    /// How long it scrapes.
    pub lasting: Duration,
}

impl Actor for Scraper {
    fn name(&self) -> &'static str {
        "imitating scraper"
    }

    fn origin(&self) -> Origin {
        Origin::Address(self.address)
    }

    fn is_honest(&self) -> bool {
        false
    }

    async fn play(self, scene: Scene) -> Result<()> {
        let client = Client::with(&scene.trust, Library::Browser, self.address, PATIENCE)?;
        let (client, server) = (client.forgetful(), scene.shop_for(self.address));
        let mut page = 0;
        at_a_steady_rate(self.per_second, self.lasting, || {
            page += 1;
            let path = format!("/page/{page}");
            let (client, tally) = (client.clone(), scene.tally.clone());
            async move {
                tally.attempt();
                tally.outcome(&client.once(server, "GET", &path).await);
            }
        })
        .await;
        Ok(())
    }
}
