//! A browser over HTTP/1.1 at its hungriest: the page, then six connections in parallel, a new one
//! for every object, about a hundred a visit. Harmless, and more connections than many an attacker
//! makes. Between visits somebody reads.

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
use crate::tls::Library;

const PARALLEL: usize = 6;
const OBJECTS: u64 = 100;
const COMMON: u64 = 20;

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
        let client = Client::with(&scene.trust, Library::Browser, self.address, PATIENCE)?;
        surf(&scene, &client, self.address, self.lasting).await;
        Ok(())
    }
}

async fn surf(scene: &Scene, client: &Client, address: IpAddr, lasting: Duration) {
    let clock = Clock::lasting(lasting);
    let mut dice = Dice::of(address, 0);
    clock.pause(dice.pause(0, 1000)).await;
    while !clock.is_over() {
        visit(scene, client, address, dice.between(0, 50)).await;
        clock.pause(dice.reading()).await;
    }
}

/// One page and what is on it: some objects are on every page, most on this one.
async fn visit(scene: &Scene, client: &Client, address: IpAddr, page: u64) {
    get(scene, client, address, &format!("/page/{page}")).await;
    let next = Arc::new(AtomicU64::new(1));
    let mut connections = JoinSet::new();
    for _ in 0..PARALLEL {
        let (scene, client, next) = (scene.clone(), client.clone(), Arc::clone(&next));
        connections.spawn(async move {
            loop {
                let object = next.fetch_add(1, Ordering::Relaxed);
                if object >= OBJECTS {
                    break;
                }
                let of_page = if object < COMMON { 0 } else { 100 * page };
                get(&scene, &client, address, &format!("/asset/{}", of_page + object)).await;
            }
        });
    }
    connections.join_all().await;
}

async fn get(scene: &Scene, client: &Client, address: IpAddr, path: &str) {
    scene.tally.attempt();
    let answer = client.once(scene.shop_for(address), "GET", path).await;
    scene.tally.outcome(&answer);
}
