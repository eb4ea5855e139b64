//! A partner's program: a price every 50 ms, each over a connection of its own. By its traffic
//! alone it cannot be told from an attack; an operator vouches for its range.

use std::{net::IpAddr, time::Duration};

use anyhow::Result;

use super::{Actor, Client, Origin, Scene, person::PATIENCE, stuffing::at_a_steady_rate};

/// A partner.
#[derive(Clone, Debug)]
pub struct Partner {
    /// Where it is, in the partners' range.
    pub address: IpAddr,
    /// Calls a second.
    pub per_second: u32,
    /// How long it calls.
    pub lasting: Duration,
}

impl Actor for Partner {
    fn name(&self) -> &'static str {
        "partner"
    }

    fn origin(&self) -> Origin {
        Origin::Address(self.address)
    }

    fn is_honest(&self) -> bool {
        true
    }

    async fn play(self, scene: Scene) -> Result<()> {
        let client = Client::new(&scene.trust, self.address, PATIENCE)?;
        let server = scene.api_for(self.address);
        at_a_steady_rate(self.per_second, self.lasting, || {
            let (client, tally) = (client.clone(), scene.tally.clone());
            async move {
                tally.attempt();
                tally.outcome(&client.once(server, "GET", "/api/price").await);
            }
        })
        .await;
        Ok(())
    }
}
