//! A bot that looks like somebody else every few connections: its TLS library is a new one again and
//! again, none of which anybody else has. It tries passwords.

use std::{net::IpAddr, time::Duration};

use anyhow::Result;

use super::{Actor, Client, Clock, Origin, Scene, dice::Dice, stuffing::try_password};
use crate::tls::Library;

/// How long it waits for an answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// A bot that changes its fingerprint.
#[derive(Clone, Debug)]
pub struct Chameleon {
    /// Where it is.
    pub address: IpAddr,
    /// Connections with one library.
    pub connections_each: u64,
    /// How long it tries.
    pub lasting: Duration,
}

impl Actor for Chameleon {
    fn name(&self) -> &'static str {
        "chameleon"
    }

    fn origin(&self) -> Origin {
        Origin::Address(self.address)
    }

    fn is_honest(&self) -> bool {
        false
    }

    async fn play(self, scene: Scene) -> Result<()> {
        let clock = Clock::lasting(self.lasting);
        let mut dice = Dice::of(self.address, 0);
        let server = scene.shop_for(self.address);
        let mut account = 0;
        for disguise in 0.. {
            let library = Library::Invented(disguise);
            let client = Client::with(&scene.trust, library, self.address, PATIENCE)?.forgetful();
            for _ in 0..self.connections_each {
                if clock.is_over() {
                    return Ok(());
                }
                account += 1;
                try_password(&client, server, account, &scene.tally).await;
                clock.pause(dice.pause(400, 1200)).await;
            }
        }
        Ok(())
    }
}
