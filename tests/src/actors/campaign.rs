//! A slow campaign: hundreds of addresses, none of which tries more than a few passwords, so that none
//! stands out. What they share is who wrote the tool: one TLS library and one rhythm.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::Result;

use super::{Actor, Client, Clock, Origin, Scene, dice::Dice, stuffing::try_password};
use crate::tls::Library;

/// How long a member waits for an answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// A campaign, made of members at many addresses.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// Where its members are.
    pub addresses: Vec<IpAddr>,
    /// Tries of each.
    pub tries: u32,
    /// From one try to the next, give or take a tenth.
    pub pause: Duration,
    /// From the first member's first try to the last member's last.
    pub lasting: Duration,
}

impl Campaign {
    /// Its members, each of which is an actor.
    pub fn members(&self) -> impl Iterator<Item = CampaignMember> {
        let busy = self.pause * self.tries.saturating_sub(1);
        let arriving = self.lasting.saturating_sub(busy + self.pause / 5);
        let all = self.addresses.len().max(1);
        self.addresses.iter().enumerate().map(move |(position, address)| CampaignMember {
            address: *address,
            after: arriving.mul_f64(position as f64 / all as f64),
            tries: self.tries,
            pause: self.pause,
        })
    }
}

/// One address of a campaign.
#[derive(Clone, Debug)]
pub struct CampaignMember {
    /// Where it is.
    pub address: IpAddr,
    /// When it begins.
    pub after: Duration,
    /// Passwords that it tries.
    pub tries: u32,
    /// From one to the next, give or take a tenth.
    pub pause: Duration,
}

impl Actor for CampaignMember {
    fn name(&self) -> &'static str {
        "campaign"
    }

    fn origin(&self) -> Origin {
        Origin::Address(self.address)
    }

    fn is_honest(&self) -> bool {
        false
    }

    async fn play(self, scene: Scene) -> Result<()> {
        let mut dice = Dice::of(self.address, 0);
        let pause = self.pause.as_millis() as u64;
        let clock = Clock::lasting(self.after + self.pause * (self.tries + 1));
        let client = Client::with(&scene.trust, Library::Script, self.address, PATIENCE)?;
        let (client, server): (_, SocketAddr) = (client.forgetful(), scene.shop_for(self.address));
        clock.pause(self.after + dice.pause(0, 300)).await;
        for number in 0..self.tries {
            if number > 0 {
                clock.pause(dice.pause(pause * 9 / 10, pause * 11 / 10)).await;
            }
            try_password(&client, server, dice.between(1, 1_000_000), &scene.tally).await;
        }
        Ok(())
    }
}
