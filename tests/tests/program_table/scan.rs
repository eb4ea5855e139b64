//! SYNs to ports of no service: only how many distinct ones, in a bounded sketch.

use std::{collections::BTreeSet, time::Duration};

use weir_common::{abi::MilestoneKind, flow::scan};

use crate::{
    expect::{Told, served, syn_served},
    play, play_everywhere,
    stage::{ENFORCING, NONE, SHOP},
};

/// Sixteen ports of no service whose hashes the sketch tells apart under the stage's seed.
pub(crate) fn ports() -> Vec<u16> {
    let mut taken = BTreeSet::new();
    let mut apart =
        |port: &u16| taken.insert(scan::mix(ENFORCING.seed, u64::from(port.to_be())) % 128);
    (1000..2000).filter(|port| apart(port)).take(16).collect()
}

#[test]
fn a_scan_is_told_at_eight_ports_and_every_doubling() {
    play_everywhere("a_scan_is_told", |stage| {
        stage.story("sixteen ports");
        let talk = stage.v4(0);
        let mut distinct = 0;
        for port in ports() {
            let syn = talk.to_port(port).syn().build();
            distinct += 1;
            let expect = match distinct {
                8 | 16 => served(NONE).event(Told::Milestone(MilestoneKind::Ports, distinct)),
                _ => served(NONE),
            };
            stage.arrives(&format!("port {port}"), &syn, expect);
            stage.arrives("the same again", &syn, served(NONE));
        }

        stage.story("after a minute it begins anew");
        let talk = stage.v6(0);
        for port in ports().into_iter().take(7) {
            stage.arrives("a port", &talk.to_port(port).syn().build(), served(NONE));
        }
        stage.after(Duration::from_secs(61));
        for port in ports().into_iter().skip(7).take(7) {
            stage.arrives("another", &talk.to_port(port).syn().build(), served(NONE));
        }
    });
}

#[test]
fn only_first_syns_to_ports_of_no_service_are_a_scan() {
    play("only_first_syns_to_ports_of_no_service", |stage| {
        stage.story("segments, answers and services are not");
        let talk = stage.v4(0);
        for port in ports() {
            let there = talk.to_port(port);
            stage.arrives("a segment", &there.ask(0, 0).build(), served(NONE));
            stage.arrives("a SYN-ACK", &there.segment().syn().ack(1).build(), served(NONE));
        }
        for port in ports().into_iter().take(7) {
            let syn = talk.to_port(443).with_port(port).syn().build();
            stage.arrives("a SYN to a service", &syn, syn_served(SHOP));
        }
    });
}
