//! A SYN scanner: knocks at many ports from an address that is real, and completes nothing. What
//! comes back its kernel answers with a reset, as it does for every half-open scan.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::Result;
use tokio::time::{MissedTickBehavior, interval};

use super::{Actor, Clock, Origin, Scene, dice::Dice};
use crate::{net::Wire, packet::tcp};

/// Every so many SYNs one goes to the shop: a scan finds open ports sooner or later.
const SHOP_EVERY: u64 = 5;

/// A SYN scanner.
#[derive(Clone, Debug)]
pub struct SynScanner {
    /// Where it is.
    pub address: IpAddr,
    /// SYNs a second.
    pub per_second: u32,
    /// How long it scans.
    pub lasting: Duration,
}

impl Actor for SynScanner {
    fn name(&self) -> &'static str {
        "SYN scanner"
    }

    fn origin(&self) -> Origin {
        Origin::Address(self.address)
    }

    fn is_honest(&self) -> bool {
        false
    }

    async fn play(self, scene: Scene) -> Result<()> {
        let wire = Wire::sender(scene.interface)?;
        let clock = Clock::lasting(self.lasting);
        let mut dice = Dice::of(self.address, 0);
        let shop = scene.shop_for(self.address);
        let mut beat = interval(Duration::from_secs(1) / self.per_second.max(1));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for number in 0u64.. {
            if clock.is_over() {
                break;
            }
            beat.tick().await;
            let port =
                if number % SHOP_EVERY == 0 { shop.port() } else { (number % 60_000) as u16 + 1 };
            let from = SocketAddr::new(self.address, dice.between(32_768, 61_000) as u16);
            let syn = tcp(from, SocketAddr::new(shop.ip(), port)).syn().seq(dice.roll() as u32);
            scene.tally.attempt();
            wire.send(&syn.linux_options().build())?;
        }
        Ok(())
    }
}
