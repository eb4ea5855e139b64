//! Which figures there are, and where in the status each is found.
//!
//! A part of Weir that has figures puts them into the status, and adds a family here. The table in
//! `docs/metrics.md` is made from this list (`WEIR_BLESS=1`), and a test keeps it true.

use super::Family;
use crate::{
    api::message::{AuditReport, Cause, ModeName, Status},
    enforce::breaker::State,
    reputation::FeedStatus,
};

/// Every family, filled from `status`.
pub(super) fn all(status: &Status) -> Vec<Family> {
    let mut families = Vec::from(state(status));
    families.extend(traffic(status));
    families.extend(records(status));
    families.extend(doors(status));
    families.extend(enforcement(status));
    families.extend(brakes(status));
    families.extend(store(status));
    families.extend(audit(&status.audit));
    families.extend(feeds(status));
    families.extend(sandbox(status));
    families.extend(memory(status));
    families
}

fn state(status: &Status) -> [Family; 6] {
    let readiness = &status.readiness;
    let modes = [ModeName::Off, ModeName::Observe, ModeName::Enforce];
    [
        Family::gauge(
            "build_info",
            "Always 1: which version runs, with which contract to its programs",
        )
        .by(&["version", "abi"])
        .with([status.version.clone(), status.abi.to_string()], true),
        Family::gauge("ready", "1 while nothing keeps Weir from doing what its policy says")
            .is(readiness.ready),
        Family::gauge(
            "readiness_reason",
            "1 while this is not as it should be, whether or not Weir is ready all the same",
        )
        .by(&["reason"])
        .each(Cause::ALL.iter().copied(), |cause| {
            let holds = readiness.reasons.iter().any(|reason| reason.name == *cause);
            ([cause.name().into()], holds.into())
        }),
        Family::gauge("mode", "1 for how far enforcement goes now: off, observe or enforce")
            .by(&["mode"])
            .each(modes, |mode| ([mode.to_string()], (*mode == status.mode.effective).into())),
        Family::gauge("kill_switch", "1 while the kill switch is on and everything passes")
            .is(status.mode.kill),
        Family::gauge(
            "interface_attached",
            "1 for each interface that Weir was attached to, with the hooks of its programs",
        )
        .by(&["interface", "ingress", "egress"])
        .each(&status.interfaces, |it| {
            ([it.name.clone(), it.ingress.clone(), it.egress.clone()], true.into())
        }),
    ]
}

fn brakes(status: &Status) -> [Family; 7] {
    let (brakes, labels) = (&status.brakes, &status.labels);
    let harm = &brakes.harm;
    let states = [State::Closed, State::Open, State::HalfOpen];
    [
        Family::gauge("breaker", "1 for how the circuit breaker stands: closed, open or half-open")
            .by(&["state"])
            .each(states, |state| ([state.name().into()], (*state == brakes.state).into())),
        Family::counter("breaker_trips", "How often the circuit breaker opened").is(brakes.trips),
        Family::gauge(
            "trusted_sources",
            "Trusted sources seen lately, those that policies refused, and those that they would have",
        )
        .by(&["outcome"])
        .with(["seen"], harm.sources.seen)
        .with(["dropped"], harm.sources.dropped)
        .with(["would"], harm.sources.would),
        Family::gauge("trusted_dropped_ratio", "Share of the trusted that policies refused lately")
            .is(harm.dropped_share),
        Family::gauge("drop_ratio", "Share of all packets that were dropped lately; moves nothing")
            .is(brakes.drop_share),
        Family::gauge("labelled_sources", "Sources by what their latest label says")
            .by(&["label"])
            .with(["human"], labels.human)
            .with(["bot"], labels.bot),
        Family::gauge(
            "false_positives",
            "Of the decisions that are kept, those on sources that are labelled human",
        )
        .is(labels.false_positives),
    ]
}

fn audit(audit: &AuditReport) -> [Family; 6] {
    [
        Family::gauge(
            "enforcement_coverage_ratio",
            "Share of what is wanted that the kernel enforces, over verdicts and interfaces",
        )
        .is(audit.coverage),
        Family::counter("audit_sweeps", "Times that ledger and kernel were compared")
            .is(audit.sweeps),
        Family::counter("audit_found", "Entries that were not as they should be, by kind")
            .by(&["fault"])
            .each(&audit.counts, |it| ([it.fault.name().into()], it.found.into())),
        Family::counter("audit_repaired", "Of them, those that were put right at once")
            .by(&["fault"])
            .each(&audit.counts, |it| ([it.fault.name().into()], it.repaired.into())),
        Family::gauge("audit_open", "What somebody has to look at: see `weir audit`")
            .is(audit.open.len()),
        Family::gauge("audit_loop_ratio", "Share of the daemon's time that the self-audit takes")
            .is(audit.loop_share),
    ]
}

fn traffic(status: &Status) -> [Family; 4] {
    let outcomes = || {
        status.services.iter().flat_map(|it| {
            let name = it.service.as_str();
            [
                (name, "pass", it.passed),
                (name, "drop", it.dropped),
                (name, "limit", it.limited),
                (name, "would", it.would),
            ]
        })
    };
    [
        Family::counter(
            "packets",
            "Packets by what the programs did and why; since the maps were made",
        )
        .by(&["reason"])
        .each(&status.counters, |it| ([it.reason.clone()], it.count.packets.into())),
        Family::counter("traffic", "Bytes of these packets")
            .unit("bytes")
            .by(&["reason"])
            .each(&status.counters, |it| ([it.reason.clone()], it.count.bytes.into())),
        Family::counter(
            "service_packets",
            "Packets by service and outcome; `would` is what enforcement would have held back",
        )
        .by(&["service", "outcome"])
        .each(outcomes(), |(name, outcome, count)| {
            ([(*name).into(), (*outcome).into()], count.packets.into())
        }),
        Family::counter("service_traffic", "Bytes of these packets")
            .unit("bytes")
            .by(&["service", "outcome"])
            .each(outcomes(), |(name, outcome, count)| {
                ([(*name).into(), (*outcome).into()], count.bytes.into())
            }),
    ]
}

fn records(status: &Status) -> [Family; 5] {
    let events = &status.events;
    let hellos = &status.hellos;
    [
        Family::counter("events", "Events from the kernel")
            .by(&["kind"])
            .with(["established"], events.established)
            .with(["closed"], events.closed)
            .with(["milestone"], events.milestones)
            .with(["hit"], events.hits),
        Family::counter(
            "events_lost",
            "Events lost because the ring buffer was full; since the maps were made",
        )
        .is(events.lost),
        Family::counter(
            "events_unreadable",
            "Events that this version of the daemon could not read",
        )
        .is(events.unreadable),
        Family::counter("hellos", "ClientHellos by what became of them")
            .by(&["outcome"])
            .with(["read"], hellos.read)
            .with(["pieced"], hellos.pieced)
            .with(["quic"], hellos.quic)
            .with(["malformed"], hellos.malformed)
            .with(["conflict"], hellos.conflicts)
            .with(["unread-flow"], hellos.unread_flows)
            .with(["skipped"], hellos.skipped)
            .with(["lost"], hellos.lost)
            .with(["unreadable"], hellos.unreadable)
            .with(["mismatched"], hellos.mismatched)
            .with(["refused-late"], hellos.refused_late),
        Family::gauge("known_fingerprints", "Fingerprints of which the daemon knows the hello")
            .is(hellos.known_fingerprints),
    ]
}

fn doors(status: &Status) -> [Family; 6] {
    let signals = &status.signals;
    let lookups = &status.lookups;
    [
        Family::counter("signal_messages", "Messages of applications, those refused included")
            .is(signals.messages),
        Family::counter("log_lines", "Lines of logs, those refused included").is(signals.lines),
        Family::counter("signals", "Signals that became events, by declared signal")
            .by(&["signal"])
            .each(&signals.by_signal, |it| ([it.signal.clone()], it.count.into())),
        Family::counter("signals_unjoined", "Signals of which no connection was found")
            .is(signals.unjoined),
        Family::counter("signals_refused", "Messages and lines that were passed over")
            .by(&["reason"])
            .each(&signals.refused, |it| ([it.reason.clone()], it.count.into())),
        Family::counter("lookups", "Questions of proxies by what they were told; `challenged`, `limited`, `refused` and `would` are among `answered`")
            .by(&["outcome"])
            .with(["answered"], lookups.answered)
            .with(["challenged"], lookups.challenged)
            .with(["limited"], lookups.limited)
            .with(["refused"], lookups.refused)
            .with(["would"], lookups.would)
            .with(["misunderstood"], lookups.misunderstood)
            .with(["malformed"], lookups.malformed)
            .with(["slow"], lookups.slow)
            .with(["turned-away"], lookups.turned_away),
    ]
}

fn enforcement(status: &Status) -> [Family; 6] {
    let latency = &status.latency;
    let second = |ms: f64| ms / 1e3;
    [
        Family::gauge("verdicts", "Verdicts in force")
            .by(&["action", "mode", "origin"])
            .each(&status.verdicts, |it| {
                ([it.action.clone(), it.mode.clone(), it.origin.clone()], it.count.into())
            }),
        Family::counter("decisions", "Decisions of policies").is(status.decisions),
        Family::counter("connections_ended", "Open connections of dropped sources that were ended")
            .is(status.connections_ended),
        Family::gauge("verdict_latency", "From the packet that crossed a threshold to the verdict in the kernel, over the latest verdicts")
            .unit("seconds")
            .by(&["quantile"])
            .with(["0.5"], second(latency.median_ms))
            .with(["0.99"], second(latency.p99_ms)),
        Family::gauge("profiles", "Sources with a profile in the daemon").is(status.profiles),
        Family::gauge("policy_refused", "1 while the policy file has a mistake and the policy before is in force")
            .is(status.policy.reload_error.is_some()),
    ]
}

fn store(status: &Status) -> [Family; 5] {
    let store = &status.store;
    [
        Family::gauge("store_writable", "1 while what is to be kept reaches the disk")
            .is(store.writable),
        Family::gauge("store_queue", "Works that wait to be written").is(store.queued as u64),
        Family::counter("store_lost", "Works that were lost because too many waited")
            .is(store.lost),
        Family::gauge("store_size", "The store on disk").unit("bytes").is(store.bytes),
        Family::gauge("store_set_aside", "1 after a store that could not be used was moved aside")
            .is(store.set_aside.is_some()),
    ]
}

fn feeds(status: &Status) -> [Family; 5] {
    let feeds = &status.reputation.feeds;
    let named = |it: &&FeedStatus| [it.name.clone()];
    let read = |it: &&FeedStatus| Some((it.name.clone(), it.read_at_unix_s?));
    [
        Family::gauge("feed_prefixes", "Prefixes of a feed in use")
            .by(&["feed"])
            .each(feeds, |it| (named(it), it.prefixes.into())),
        Family::gauge(
            "feed_read_timestamp",
            "When a feed in use was read or last confirmed, since 1970; absent while it never was",
        )
        .unit("seconds")
        .by(&["feed"])
        .each(feeds.iter().filter_map(|it| read(&it)), |(name, at)| ([name.clone()], (*at).into())),
        Family::counter("feed_refusals", "Lists that were refused")
            .by(&["feed"])
            .each(feeds, |it| (named(it), it.refusals.into())),
        Family::counter("feed_errors", "Times that a list could not be had")
            .by(&["feed"])
            .each(feeds, |it| (named(it), it.errors.into())),
        Family::gauge("feed_in_trouble", "1 while the newest list of a feed is not in use")
            .by(&["feed"])
            .each(feeds, |it| (named(it), (it.refused.is_some() || it.error.is_some()).into())),
    ]
}

fn sandbox(status: &Status) -> [Family; 1] {
    [Family::gauge(
        "sandboxed",
        "1 while everything that should keep this part of the daemon in does",
    )
    .by(&["part"])
    .each(&status.sandbox.parts, |it| ([it.name.clone()], it.is_whole().into()))]
}

fn memory(status: &Status) -> [Family; 4] {
    let maps = &status.memory.maps;
    let counted = maps.iter().filter_map(|it| Some((it.name.clone(), it.entries?)));
    [
        Family::gauge("resident_memory", "The daemon's resident memory")
            .unit("bytes")
            .is(status.memory.resident_bytes),
        Family::gauge("map_memory", "Kernel memory of a map")
            .unit("bytes")
            .by(&["map"])
            .each(maps, |it| ([it.name.clone()], it.bytes.into())),
        Family::gauge("map_entries", "Entries in a map, where the kernel counts them")
            .by(&["map"])
            .each(counted, |(name, entries)| ([name.clone()], (*entries).into())),
        Family::gauge("map_capacity_entries", "Entries that a map has room for")
            .by(&["map"])
            .each(maps, |it| ([it.name.clone()], it.max_entries.into())),
    ]
}
