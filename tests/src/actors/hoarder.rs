//! A slow-connection hoarder (slowloris): opens connections, begins a request on each, and goes
//! on with a few bytes now and then, so that the server waits for ever.

use std::{net::IpAddr, time::Duration};

use anyhow::Result;
use tokio::{
    task::JoinSet,
    time::{interval, sleep},
};

use super::{Actor, Client, Clock, Origin, Scene};

/// How long the hoarder waits for a connection.
const PATIENCE: Duration = Duration::from_secs(2);

/// Connections opened a second.
const OPENED_PER_S: u32 = 25;

/// Pause between two pieces of a request.
const TRICKLE: Duration = Duration::from_millis(1200);

/// Pause before a lost connection is opened again.
const RETRY: Duration = Duration::from_millis(500);

/// A hoarder of connections.
#[derive(Clone, Debug)]
pub struct Hoarder {
    /// Where it is.
    pub address: IpAddr,
    /// How many connections it wants to hold.
    pub connections: u32,
    /// How long it holds them.
    pub lasting: Duration,
}

impl Actor for Hoarder {
    fn name(&self) -> &'static str {
        "hoarder"
    }

    fn origin(&self) -> Origin {
        Origin::Address(self.address)
    }

    fn is_honest(&self) -> bool {
        false
    }

    async fn play(self, scene: Scene) -> Result<()> {
        let clock = Clock::lasting(self.lasting);
        let client = Client::new(&scene.trust, self.address, PATIENCE)?;
        let mut beat = interval(Duration::from_secs(1) / OPENED_PER_S);
        let mut slots = JoinSet::new();
        for _ in 0..self.connections {
            beat.tick().await;
            let (scene, client, address) = (scene.clone(), client.clone(), self.address);
            slots.spawn(async move {
                while !clock.is_over() {
                    hold(&scene, &client, clock, address).await;
                    clock.pause(RETRY).await;
                }
            });
        }
        slots.join_all().await;
        Ok(())
    }
}

/// Opens one connection and holds it until it is lost or the time is over.
async fn hold(scene: &Scene, client: &Client, clock: Clock, address: IpAddr) {
    scene.tally.attempt();
    let connection = client.connect(scene.shop_for(address)).await;
    scene.tally.outcome(&connection);
    let Ok(mut connection) = connection else {
        return;
    };
    scene.tally.hold();
    let mut piece = "GET / HTTP/1.1\r\nHost: shop.test\r\n";
    while !clock.is_over() && connection.send(piece.as_bytes()).await.is_ok() {
        piece = "X-Wait: 1\r\n";
        tokio::select! {
            () = sleep(TRICKLE) => {}
            // The server has nothing to say to half a request: it can only end it.
            _ = connection.listen() => break,
        }
    }
    scene.tally.lose();
}
