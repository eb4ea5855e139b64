//! A browser that a program steers: few connections, kept open, and page after page over them. Its
//! hellos are a browser's and it resumes as one; what it lacks is somebody who reads.

use std::{net::IpAddr, time::Duration};

use anyhow::Result;
use tokio::task::JoinSet;

use super::{Actor, Client, Clock, Origin, Scene, dice::Dice};
use crate::tls::Library;

/// How long it waits for an answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// A steered browser.
#[derive(Clone, Debug)]
pub struct Crawler {
    /// Where it is.
    pub address: IpAddr,
    /// Connections at a time.
    pub connections: u64,
    /// How long it crawls.
    pub lasting: Duration,
}

impl Actor for Crawler {
    fn name(&self) -> &'static str {
        "keep-alive crawler"
    }

    fn origin(&self) -> Origin {
        Origin::Address(self.address)
    }

    fn is_honest(&self) -> bool {
        false
    }

    async fn play(self, scene: Scene) -> Result<()> {
        let clock = Clock::lasting(self.lasting);
        let client = Client::with(&scene.trust, Library::Browser, self.address, PATIENCE)?;
        let mut tabs = JoinSet::new();
        for tab in 0..self.connections {
            let (scene, client, address) = (scene.clone(), client.clone(), self.address);
            tabs.spawn(async move {
                let mut dice = Dice::of(address, tab);
                let mut page = tab * 1000;
                while !clock.is_over() {
                    crawl(&scene, &client, clock, &mut dice, &mut page, address).await;
                    clock.pause(Duration::from_secs(1)).await;
                }
            });
        }
        tabs.join_all().await;
        Ok(())
    }
}

/// Goes through pages over one connection until it is lost or the time is over.
async fn crawl(
    scene: &Scene,
    client: &Client,
    clock: Clock,
    dice: &mut Dice,
    page: &mut u64,
    address: IpAddr,
) {
    let mut connection = match client.connect(scene.shop_for(address)).await {
        Ok(connection) => connection,
        refused @ Err(_) => {
            scene.tally.attempt();
            scene.tally.outcome(&refused);
            return;
        }
    };
    while !clock.is_over() {
        *page += 1;
        let mut paths = vec![format!("/page/{page}")];
        paths.extend((0..dice.between(1, 4)).map(|_| format!("/asset/{}", dice.roll() % 300)));
        for path in paths {
            scene.tally.attempt();
            let answer = connection.request("GET", &path, false).await;
            scene.tally.outcome(&answer);
            if answer.is_err() {
                return;
            }
        }
        // A page is rendered before it is read out.
        clock.pause(dice.pause(60, 240)).await;
    }
    connection.close().await;
}
