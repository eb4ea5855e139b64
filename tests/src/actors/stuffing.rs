//! A credential-stuffing bot: tries stolen passwords, each over a short TLS connection of its
//! own. It never stops for an answer: while nothing comes back it goes on knocking.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::Result;
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use super::{Actor, Client, Clock, Origin, Scene, Tally};

/// How long the bot waits before it gives an attempt up.
const PATIENCE: Duration = Duration::from_secs(2);

/// Attempts under way at once, at most.
const PARALLEL: usize = 256;

/// A credential-stuffing bot.
#[derive(Clone, Debug)]
pub struct StuffingBot {
    /// Where it is.
    pub address: IpAddr,
    /// Attempts a second.
    pub per_second: u32,
    /// How long it tries.
    pub lasting: Duration,
}

impl Actor for StuffingBot {
    fn name(&self) -> &'static str {
        "stuffing bot"
    }

    fn origin(&self) -> Origin {
        Origin::Address(self.address)
    }

    fn is_honest(&self) -> bool {
        false
    }

    async fn play(self, scene: Scene) -> Result<()> {
        let client = Client::new(&scene.trust, self.address, PATIENCE)?;
        let server = scene.shop_for(self.address);
        let mut account = 0;
        at_a_steady_rate(self.per_second, self.lasting, || {
            account += 1;
            let (client, tally) = (client.clone(), scene.tally.clone());
            async move { try_password(&client, server, account, &tally).await }
        })
        .await;
        Ok(())
    }
}

/// Tries a stolen password over a connection of its own. All requests are of one length.
pub(super) async fn try_password(client: &Client, server: SocketAddr, account: u64, tally: &Tally) {
    tally.attempt();
    let form = format!("user={account:010}&password=000000000000");
    let answer = async {
        let mut connection = client.connect(server).await?;
        connection.post("POST", "/login", &form, true).await
    };
    // "Wrong password" is an answer too.
    let refused = answer.await.ok().filter(|status| *status == 401);
    tally.outcome(&refused.ok_or("cut off"));
}

/// Begins something so many times a second, whether or not the last ones are done, and waits for
/// those under way at the end.
pub(super) async fn at_a_steady_rate<F>(
    per_second: u32,
    lasting: Duration,
    mut begin: impl FnMut() -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let clock = Clock::lasting(lasting);
    let mut beat = interval(Duration::from_secs(1) / per_second.max(1));
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut under_way = JoinSet::new();
    while !clock.is_over() {
        beat.tick().await;
        while under_way.try_join_next().is_some() {}
        if under_way.len() < PARALLEL {
            under_way.spawn(begin());
        }
    }
    under_way.join_all().await;
}
