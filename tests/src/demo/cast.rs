//! Who plays in the demo.

use std::time::Duration;

use crate::{
    actors::{
        Browser, Crowd, HealthChecker, Hoarder, Partner, Person, SpoofedFlood, StuffingBot,
        SynScanner, Troupe,
    },
    net::Lab,
};

/// The honest in a line.
pub(super) const HONEST: &str =
    "honest: 3 people, a browser, a health checker, a partner, 40 people behind one address";

/// The others.
pub(super) const ATTACKERS: &str = "attackers: a credential-stuffing bot, a connection hoarder, a \
                                    SYN scanner, a spoofed SYN flood";

/// Names of the actors that must be dropped.
pub(super) const MUST_BE_DROPPED: [&str; 2] = ["stuffing bot", "hoarder"];

/// Name of the actor whose unproven SYNs must be limited.
pub(super) const SCANNER: &str = "SYN scanner";

/// Everyone. Attackers leave a little earlier, so that the honest finish in peace.
pub(super) fn troupe(lab: &Lab, lasting: Duration) -> Troupe {
    let link = lab.link();
    let at = |host| link.client_v4(host).into();
    let attack = lasting.saturating_sub(Duration::from_secs(2));
    Troupe::new()
        .with(Person { address: at(11), lasting })
        .with(Person { address: at(12), lasting })
        .with(Person { address: link.client_v6(0x11).into(), lasting })
        .with(Browser { address: at(20), lasting })
        .with(HealthChecker { address: at(9), lasting })
        .with(Partner { address: at(200), per_second: 20, lasting })
        .with(Crowd { address: at(40), people: 40, lasting })
        .with(StuffingBot { address: at(66), per_second: 40, lasting: attack })
        .with(Hoarder { address: at(77), connections: 80, lasting: attack })
        .with(SynScanner { address: at(88), per_second: 100, lasting: attack })
        .with(SpoofedFlood { per_second: 5_000, packets: 120_000, lasting: attack })
}
