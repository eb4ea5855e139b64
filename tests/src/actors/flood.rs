//! A spoofed SYN flood: SYNs from invented addresses, as many as the plan allows.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::Result;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Actor, Clock, Origin, Scene, dice::Dice};
use crate::{
    net::{FLOOD_SOURCES, Wire},
    packet::tcp,
};

/// Packets leave in batches, one every so often.
const BATCH: Duration = Duration::from_millis(2);

/// A spoofed SYN flood.
#[derive(Clone, Debug)]
pub struct SpoofedFlood {
    /// Packets a second.
    pub per_second: u32,
    /// Packets in all, at most.
    pub packets: u64,
    /// How long it lasts, at most.
    pub lasting: Duration,
}

impl Actor for SpoofedFlood {
    fn name(&self) -> &'static str {
        "spoofed flood"
    }

    fn origin(&self) -> Origin {
        let (base, length) = FLOOD_SOURCES;
        Origin::Forged(base, length)
    }

    fn is_honest(&self) -> bool {
        false
    }

    async fn play(self, scene: Scene) -> Result<()> {
        let wire = Wire::sender(scene.interface)?;
        let clock = Clock::lasting(self.lasting);
        let (base, length) = FLOOD_SOURCES;
        let mut dice = Dice::of(base.into(), 0);
        let shop = scene.shop_for(base.into());
        let mut beat = interval(BATCH);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let began = Instant::now();
        let mut sent = 0;
        while sent < self.packets && !clock.is_over() {
            beat.tick().await;
            // As many as are due by now, so that a late beat does not lower the rate.
            let due = began.elapsed().as_secs_f64() * f64::from(self.per_second);
            while sent < self.packets.min(due as u64) {
                let host = dice.roll() as u32 & (u32::MAX >> length);
                let source = Ipv4Addr::from_bits(base.to_bits() | host);
                let port = dice.between(1024, 65_536) as u16;
                let syn = tcp(SocketAddr::from((source, port)), shop).syn();
                scene.tally.attempt();
                wire.send(&syn.seq(dice.roll() as u32).linux_options().build())?;
                sent += 1;
            }
        }
        Ok(())
    }
}
