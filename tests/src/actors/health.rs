//! A monitor that asks once a second, always the same, for ever.

use std::{net::IpAddr, time::Duration};

use anyhow::Result;

use super::{Actor, Client, Clock, Origin, Scene, person::PATIENCE};

/// A health checker.
#[derive(Clone, Debug)]
pub struct HealthChecker {
    /// Where it is.
    pub address: IpAddr,
    /// How long it checks.
    pub lasting: Duration,
}

impl Actor for HealthChecker {
    fn name(&self) -> &'static str {
        "health checker"
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
        while !clock.is_over() {
            scene.tally.attempt();
            let answer = client.once(scene.shop_for(self.address), "GET", "/health").await;
            scene.tally.outcome(&answer);
            clock.pause(Duration::from_secs(1)).await;
        }
        Ok(())
    }
}
