//! Many people behind one address: an office, a carrier's translator. Each has a browser of their own,
//! with its own sessions.

use std::{net::IpAddr, time::Duration};

use anyhow::Result;
use tokio::task::JoinSet;

use super::{
    Actor, Client, Clock, Origin, Scene,
    dice::Dice,
    person::{PATIENCE, browse},
};
use crate::tls::Library;

/// People who share an address.
#[derive(Clone, Debug)]
pub struct Crowd {
    /// The address that all of them have.
    pub address: IpAddr,
    /// How many there are.
    pub people: u64,
    /// How long they stay.
    pub lasting: Duration,
}

impl Actor for Crowd {
    fn name(&self) -> &'static str {
        "crowd"
    }

    fn origin(&self) -> Origin {
        Origin::Address(self.address)
    }

    fn is_honest(&self) -> bool {
        true
    }

    async fn play(self, scene: Scene) -> Result<()> {
        let clock = Clock::lasting(self.lasting);
        let mut people = JoinSet::new();
        for number in 0..self.people {
            let library = if number % 3 == 0 { Library::Phone } else { Library::Browser };
            let client = Client::with(&scene.trust, library, self.address, PATIENCE)?;
            let (scene, address) = (scene.clone(), self.address);
            let mut dice = Dice::of(address, number);
            people.spawn(async move {
                // They do not all arrive at once.
                clock.pause(dice.pause(0, 4000)).await;
                browse(&scene, &client, clock, dice, address).await;
            });
        }
        people.join_all().await;
        Ok(())
    }
}
