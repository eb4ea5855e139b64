//! A document `kind: Site` as typed.

use super::{
    CHANGES, Fields, IpNet, MODES, Mode, Node, RawFeed, RawGates, RawGeo, RawLadder, RawLog,
    RawMode, RawNeverBlock, RawRate, RawSignal, Report, STAGES, Span, Typed, TypedList, Value,
    brakes, duration_ns, end_of_day_unix_s,
    feeds::{read_feed, read_geo},
    gates, list, lookup, modes, name, never_block, prefix, privacy, quantity, read_rate, read_step,
    signals::{read_log, read_signal},
    text, whole,
};
use crate::enforce::stage::Stage;
use crate::journal::PrivacySettings;
use crate::policy::{
    Audience, BrakeSettings, LookupSettings,
    documents::Document,
    form::{DEFAULTS, GROUP, LIST_FILE, PROXY, SENSOR, SERVICE, SITE},
    proxies::ProxyClient,
};

/// What can become of hellos without a name that is known.
pub(in crate::policy) const UNKNOWN_SNI: &[(&str, bool)] = &[("include", true), ("exclude", false)];

/// Who a service can be for.
pub(in crate::policy) const AUDIENCES: &[(&str, Audience)] =
    &[("browsers", Audience::Browsers), ("programs", Audience::Programs), ("both", Audience::Both)];

/// Who can say whom a proxy stands for.
pub(in crate::policy) const CLIENTS: &[(&str, ProxyClient)] =
    &[("proxy-protocol", ProxyClient::ProxyProtocol), ("signals", ProxyClient::Signals)];

/// A service.
#[derive(Debug)]
pub(in crate::policy) struct RawService {
    pub(in crate::policy) name: Typed<String>,
    pub(in crate::policy) tcp: TypedList<Typed<u16>>,
    pub(in crate::policy) udp: TypedList<Typed<u16>>,
    pub(in crate::policy) syn_guard: Option<Typed<RawRate>>,
    pub(in crate::policy) sni: Option<TypedList<Typed<String>>>,
    pub(in crate::policy) unknown_sni: Option<Typed<bool>>,
    pub(in crate::policy) audience: Option<Typed<Audience>>,
    pub(in crate::policy) behind: TypedList<Typed<String>>,
}

/// Where a proxy's connections come from.
#[derive(Debug)]
pub(in crate::policy) enum RawFrom {
    Prefix(Typed<IpNet>),
    File(Typed<String>),
}

/// A declared proxy.
#[derive(Debug)]
pub(in crate::policy) struct RawProxy {
    pub(in crate::policy) name: Typed<String>,
    pub(in crate::policy) from: TypedList<RawFrom>,
    pub(in crate::policy) client: Typed<ProxyClient>,
}

/// A group of addresses.
#[derive(Debug)]
pub(in crate::policy) struct RawGroup {
    pub(in crate::policy) name: Typed<String>,
    pub(in crate::policy) addresses: TypedList<Typed<IpNet>>,
    pub(in crate::policy) file: Option<Typed<String>>,
    pub(in crate::policy) why: Option<String>,
    /// Seconds since 1970.
    pub(in crate::policy) expires: Option<Typed<u64>>,
}

/// What policies get that do not say otherwise.
#[derive(Debug, Default)]
pub(in crate::policy) struct RawDefaults {
    pub(in crate::policy) ladder: Option<Typed<String>>,
    pub(in crate::policy) gates: Option<Typed<String>>,
    pub(in crate::policy) stage_max: Option<Typed<Stage>>,
}

/// The capacity of a table.
#[derive(Debug)]
pub(in crate::policy) struct RawCapacity {
    pub(in crate::policy) table: Typed<String>,
    pub(in crate::policy) entries: u32,
}

/// The sensor's own settings.
#[derive(Debug, Default)]
pub(in crate::policy) struct RawSensor {
    pub(in crate::policy) mode: Option<Typed<Mode>>,
    pub(in crate::policy) stall_ns: Option<Typed<u64>>,
    pub(in crate::policy) heartbeat_ns: Option<Typed<u64>>,
    pub(in crate::policy) coverage_min: Option<Typed<i64>>,
    pub(in crate::policy) lane: Option<RawRate>,
    pub(in crate::policy) profiles: Option<Typed<i64>>,
    pub(in crate::policy) connections_per_source: Option<Typed<i64>>,
    pub(in crate::policy) capacities: Vec<RawCapacity>,
}

/// A document `kind: Site`.
#[derive(Debug)]
pub(in crate::policy) struct RawSite {
    pub(in crate::policy) at: Span,
    /// The documents that it was made of.
    pub(in crate::policy) parts: Vec<Span>,
    pub(in crate::policy) services: Vec<RawService>,
    pub(in crate::policy) proxies: Vec<RawProxy>,
    pub(in crate::policy) signals: Vec<RawSignal>,
    pub(in crate::policy) logs: Vec<RawLog>,
    pub(in crate::policy) groups: Vec<RawGroup>,
    pub(in crate::policy) ladders: Vec<RawLadder>,
    pub(in crate::policy) gates: Vec<RawGates>,
    /// Whether changed policies watch first.
    pub(in crate::policy) shadows: bool,
    pub(in crate::policy) defaults: RawDefaults,
    pub(in crate::policy) sensor: RawSensor,
    pub(in crate::policy) lookup: LookupSettings,
    pub(in crate::policy) brakes: BrakeSettings,
    pub(in crate::policy) feeds: Vec<RawFeed>,
    pub(in crate::policy) geo: RawGeo,
    pub(in crate::policy) never_block: RawNeverBlock,
    pub(in crate::policy) privacy: PrivacySettings,
    pub(in crate::policy) modes: Vec<RawMode>,
}

pub(super) fn read(report: &mut Report<'_>, document: &Document) -> Option<RawSite> {
    let fields = Fields::read(report, &document.node, &SITE)?;
    let mut site = RawSite {
        at: document.node.at,
        parts: document.parts.clone(),
        services: Vec::new(),
        proxies: Vec::new(),
        signals: Vec::new(),
        logs: Vec::new(),
        groups: Vec::new(),
        ladders: Vec::new(),
        gates: Vec::new(),
        shadows: fields.word(report, "changes", CHANGES).is_none_or(|shadows| shadows.value),
        defaults: RawDefaults::default(),
        sensor: RawSensor::default(),
        lookup: LookupSettings::default(),
        brakes: BrakeSettings::default(),
        feeds: Vec::new(),
        geo: RawGeo::default(),
        never_block: RawNeverBlock::default(),
        privacy: PrivacySettings::default(),
        modes: Vec::new(),
    };
    for (name, node) in fields.named(report, "services") {
        site.services.extend(read_service(report, name, node));
    }
    for (name, node) in fields.named(report, "proxies") {
        site.proxies.extend(read_proxy(report, name, node));
    }
    for (name, node) in fields.named(report, "signals") {
        site.signals.extend(read_signal(report, name, node));
    }
    for (name, node) in fields.named(report, "logs") {
        site.logs.extend(read_log(report, name, node));
    }
    for (name, node) in fields.named(report, "groups") {
        site.groups.extend(read_group(report, name, node));
    }
    for (name, node) in fields.named(report, "ladders") {
        let steps = list(report, node, "steps");
        let is_empty = matches!(&node.value, Value::List(items) if items.is_empty());
        let steps = steps.iter().filter_map(|step| read_step(report, step)).collect();
        site.ladders.push(RawLadder { name, steps, is_empty });
    }
    for (name, node) in fields.named(report, "gates") {
        site.gates.extend(gates::read(report, name, node));
    }
    if let Some(node) = fields.get("defaults") {
        site.defaults = read_defaults(report, node).unwrap_or_default();
    }
    if let Some(node) = fields.get("sensor") {
        site.sensor = read_sensor(report, node).unwrap_or_default();
    }
    if let Some(node) = fields.get("lookup") {
        site.lookup = lookup::read(report, node);
    }
    if let Some(node) = fields.get("brakes") {
        site.brakes = brakes::read(report, node);
    }
    for (name, node) in fields.named(report, "feeds") {
        site.feeds.extend(read_feed(report, name, node));
    }
    if let Some(node) = fields.get("geo") {
        site.geo = read_geo(report, node);
    }
    if let Some(node) = fields.get("privacy") {
        site.privacy = privacy::read(report, node);
    }
    if let Some(node) = fields.get("never_block") {
        site.never_block = never_block::read(report, node);
    }
    for (name, node) in fields.named(report, "modes") {
        site.modes.extend(modes::read(report, name, node));
    }
    Some(site)
}

fn read_service(report: &mut Report<'_>, called: Typed<String>, node: &Node) -> Option<RawService> {
    let fields = Fields::read(report, node, &SERVICE)?;
    let port = |report: &mut Report<'_>, node: &Node, shape| {
        let port = whole(report, node, shape)?;
        Some(Typed { value: u16::try_from(port.value).ok()?, at: port.at })
    };
    let tcp = fields.list(report, "tcp", port);
    let udp = fields.list(report, "udp", port);
    let syn_guard = fields
        .get("syn_guard")
        .and_then(|node| read_rate(report, node).map(|value| Typed { value, at: node.at }));
    let sni = fields.get("sni").map(|_| {
        fields.list(report, "sni", |report, node, shape| text(report, node, shape.what()))
    });
    let unknown_sni = fields.word(report, "unknown_sni", UNKNOWN_SNI);
    let behind =
        fields.list(report, "behind", |report, node, shape| name(report, node, shape.what()));
    let audience = fields.word(report, "audience", AUDIENCES);
    Some(RawService { name: called, tcp, udp, syn_guard, sni, unknown_sni, audience, behind })
}

fn read_proxy(report: &mut Report<'_>, name: Typed<String>, node: &Node) -> Option<RawProxy> {
    let fields = Fields::read(report, node, &PROXY)?;
    let from = fields.list(report, "from", |report, item, shape| {
        if !matches!(item.value, Value::Map(_)) {
            return quantity(report, item, shape.what(), prefix).map(RawFrom::Prefix);
        }
        let fields = Fields::read(report, item, &LIST_FILE)?;
        fields.text(report, "file").map(RawFrom::File)
    });
    let client = fields.word(report, "client", CLIENTS);
    fields.get("from")?;
    Some(RawProxy { name, from, client: client? })
}

fn read_group(report: &mut Report<'_>, name: Typed<String>, node: &Node) -> Option<RawGroup> {
    let fields = Fields::read(report, node, &GROUP)?;
    let addresses = fields.list(report, "addresses", |report, node, shape| {
        quantity(report, node, shape.what(), prefix)
    });
    let file = fields.text(report, "file");
    let why = fields.note(report, "why");
    let expires = fields.quantity(report, "expires", end_of_day_unix_s);
    Some(RawGroup { name, addresses, file, why, expires })
}

fn read_defaults(report: &mut Report<'_>, node: &Node) -> Option<RawDefaults> {
    let fields = Fields::read(report, node, &DEFAULTS)?;
    let ladder = fields.name(report, "ladder");
    let stage_max = fields.word(report, "stage_max", STAGES);
    let gates = fields.name(report, "gates");
    Some(RawDefaults { ladder, gates, stage_max })
}

fn read_sensor(report: &mut Report<'_>, node: &Node) -> Option<RawSensor> {
    let fields = Fields::read(report, node, &SENSOR)?;
    let mut sensor = RawSensor {
        mode: fields.word(report, "mode", MODES),
        stall_ns: fields.quantity(report, "stall", duration_ns),
        heartbeat_ns: fields.quantity(report, "heartbeat", duration_ns),
        lane: fields.get("lane").and_then(|node| read_rate(report, node)),
        coverage_min: fields.whole(report, "coverage_min"),
        profiles: fields.whole(report, "profiles"),
        connections_per_source: fields.whole(report, "connections_per_source"),
        capacities: Vec::new(),
    };
    for (table, node, shape) in fields.shaped(report, "capacities") {
        let entries = whole(report, node, shape);
        let entries = entries.and_then(|entries| u32::try_from(entries.value).ok());
        sensor.capacities.extend(entries.map(|entries| RawCapacity { table, entries }));
    }
    Some(sensor)
}
