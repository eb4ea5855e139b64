//! A browser over HTTP/1.1 at its hungriest: six connections in parallel, a new one for every
//! object, about a hundred a visit. Harmless, and more connections than many an attacker makes.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use tokio::task::JoinSet;

use super::{Actor, Client, Clock, Origin, Scene, dice::Dice, person::PATIENCE};

const PARALLEL: usize = 6;
const OBJECTS: u64 = 100;

/// A browser that loads pages of a hundred objects.
#[derive(Clone, Debug)]
pub struct Browser {
    /// Where it is.
    pub address: IpAddr,
    /// For how long new visits begin; one that has begun is finished.
    pub lasting: Duration,
}

impl Actor for Browser {
    fn name(&self) -> &'static str {
        "browser"
    }

    fn origin(&self) -> Origin {
        Origin::Address(self.address)
    }

    fn is_honest(&self) -> bool {
        true
    }

    async fn play(self, scene: Scene) -> Result<()> {
        let clock = Clock::lasting(self.lasting);
        let client = Client::new(&scene.trust, self.address, PATIENCE)?;
        let mut dice = Dice::of(self.address, 0);
        clock.pause(dice.pause(0, 1000)).await;
        while !clock.is_over() {
            visit(&scene, &client, self.address).await;
            clock.pause(dice.pause(4000, 7000)).await;
        }
        Ok(())
    }
}

async fn visit(scene: &Scene, client: &Client, address: IpAddr) {
    let next = Arc::new(AtomicU64::new(0));
    let mut connections = JoinSet::new();
    for _ in 0..PARALLEL {
        let (scene, client, next) = (scene.clone(), client.clone(), Arc::clone(&next));
        connections.spawn(async move {
            loop {
                let object = next.fetch_add(1, Ordering::Relaxed);
                if object >= OBJECTS {
                    break;
                }
                scene.tally.attempt();
                let path = if object == 0 { "/".to_owned() } else { format!("/asset/{object}") };
                let answer = client.once(scene.shop_for(address), "GET", &path).await;
                scene.tally.outcome(&answer);
            }
        });
    }
    connections.join_all().await;
}
