//! A person: looks at a page and its pictures over one connection, thinks, goes on. Now and then
//! they log in, and the password is not always right the first time.

use std::{net::IpAddr, time::Duration};

use anyhow::Result;

use super::{Actor, Client, Clock, Connection, Origin, Scene, dice::Dice};
use crate::{server::PASSWORD, tls::Library};

/// How long honest clients wait.
pub(super) const PATIENCE: Duration = Duration::from_secs(8);

/// A person with a browser that keeps its connection.
#[derive(Clone, Debug)]
pub struct Person {
    /// Where the person is.
    pub address: IpAddr,
    /// How long they stay.
    pub lasting: Duration,
}

impl Actor for Person {
    fn name(&self) -> &'static str {
        "person"
    }

    fn origin(&self) -> Origin {
        Origin::Address(self.address)
    }

    fn is_honest(&self) -> bool {
        true
    }

    async fn play(self, scene: Scene) -> Result<()> {
        let clock = Clock::lasting(self.lasting);
        let client = Client::with(&scene.trust, Library::Phone, self.address, PATIENCE)?;
        browse(&scene, &client, clock, Dice::of(self.address, 0), self.address).await;
        Ok(())
    }
}

/// Visits until the time is over: a few pages over one connection, then a pause.
pub(super) async fn browse(
    scene: &Scene,
    client: &Client,
    clock: Clock,
    mut dice: Dice,
    address: IpAddr,
) {
    clock.pause(dice.pause(0, 1500)).await;
    while !clock.is_over() {
        let mut connection = match client.connect(scene.shop_for(address)).await {
            Ok(connection) => connection,
            refused @ Err(_) => {
                scene.tally.attempt();
                scene.tally.outcome(&refused);
                clock.pause(dice.pause(800, 1600)).await;
                continue;
            }
        };
        if dice.between(0, 6) == 0 {
            log_in(scene, &mut connection, &mut dice).await;
        }
        for _ in 0..dice.between(2, 5) {
            let page = format!("/page/{}", dice.between(0, 50));
            let mut paths = vec![page];
            paths.extend((0..dice.between(1, 4)).map(|_| format!("/asset/{}", dice.roll() % 300)));
            for path in paths {
                scene.tally.attempt();
                let answer = connection.request("GET", &path, false).await;
                scene.tally.outcome(&answer);
                if answer.is_err() {
                    break;
                }
            }
            clock.pause(dice.reading()).await;
        }
        connection.close().await;
        clock.pause(dice.pause(800, 2500)).await;
    }
}

/// One account and one password, sometimes after a slip.
async fn log_in(scene: &Scene, connection: &mut Connection, dice: &mut Dice) {
    let account = dice.between(1, 1_000_000);
    let mut passwords = vec![PASSWORD];
    if dice.between(0, 3) == 0 {
        passwords.insert(0, "a slip");
    }
    for password in passwords {
        let form = format!("user={account:010}&password={password}");
        scene.tally.attempt();
        let answer = connection.post("POST", "/login", &form, false).await;
        scene.tally.outcome(&answer);
    }
}
