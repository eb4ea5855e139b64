//! A document `kind: Site` as typed.

use super::{
    Fields, IpNet, MODES, Mode, Node, RawLadder, RawLog, RawRate, RawSignal, Report, Span, Typed,
    TypedList, Value, date, duration_ns, integer, keyword, list, lookup, name, named, prefix,
    quantity, read_rate, read_step,
    signals::{read_log, read_signal},
    stage, text,
};
use crate::policy::{Audience, LookupSettings, documents::Document, proxies::ProxyClient};

/// What can become of hellos without a name that is known.
const UNKNOWN_SNI: &[(&str, bool)] = &[("include", true), ("exclude", false)];

/// Who a service can be for.
const AUDIENCES: &[(&str, Audience)] =
    &[("browsers", Audience::Browsers), ("programs", Audience::Programs), ("both", Audience::Both)];

/// Who can say whom a proxy stands for.
const CLIENTS: &[(&str, ProxyClient)] =
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
    pub(in crate::policy) mode: Option<Typed<Mode>>,
    pub(in crate::policy) stage_max: Option<Typed<Mode>>,
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
    pub(in crate::policy) defaults: RawDefaults,
    pub(in crate::policy) sensor: RawSensor,
    pub(in crate::policy) lookup: LookupSettings,
}

pub(super) fn read(report: &mut Report<'_>, document: &Document) -> Option<RawSite> {
    let node = &document.node;
    const FIELDS: &[&str] = &[
        "kind", "include", "services", "proxies", "signals", "logs", "groups", "ladders",
        "defaults", "sensor", "lookup",
    ];
    let fields = Fields::read(report, node, "a site", FIELDS)?;
    let mut site = RawSite {
        at: node.at,
        parts: document.parts.clone(),
        services: Vec::new(),
        proxies: Vec::new(),
        signals: Vec::new(),
        logs: Vec::new(),
        groups: Vec::new(),
        ladders: Vec::new(),
        defaults: RawDefaults::default(),
        sensor: RawSensor::default(),
        lookup: LookupSettings::default(),
    };
    if let Some(node) = fields.get("services") {
        for (name, node) in named(report, node, "services") {
            site.services.extend(read_service(report, name, node));
        }
    }
    if let Some(node) = fields.get("proxies") {
        for (name, node) in named(report, node, "proxies") {
            site.proxies.extend(read_proxy(report, name, node));
        }
    }
    if let Some(node) = fields.get("signals") {
        for (name, node) in named(report, node, "signals") {
            site.signals.extend(read_signal(report, name, node));
        }
    }
    if let Some(node) = fields.get("logs") {
        for (name, node) in named(report, node, "logs") {
            site.logs.extend(read_log(report, name, node));
        }
    }
    if let Some(node) = fields.get("groups") {
        for (name, node) in named(report, node, "groups") {
            site.groups.extend(read_group(report, name, node));
        }
    }
    if let Some(node) = fields.get("ladders") {
        for (name, node) in named(report, node, "ladders") {
            let steps = list(report, node, "steps");
            let steps = steps.iter().filter_map(|step| read_step(report, step)).collect();
            site.ladders.push(RawLadder { name, steps });
        }
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
    Some(site)
}

fn read_service(report: &mut Report<'_>, called: Typed<String>, node: &Node) -> Option<RawService> {
    const FIELDS: &[&str] =
        &["tcp", "udp", "syn_guard", "sni", "unknown_sni", "behind", "audience"];
    let fields = Fields::read(report, node, "a service", FIELDS)?;
    let mut ports = |field: &str| {
        TypedList::read(report, fields.get(field), "ports", |report, item| {
            let port = integer(report, item, "a port", 1..=65535)?;
            Some(Typed { value: u16::try_from(port.value).ok()?, at: port.at })
        })
    };
    let tcp = ports("tcp");
    let udp = ports("udp");
    let syn_guard = fields.get("syn_guard").and_then(|node| {
        read_rate(report, node, "a SYN guard").map(|value| Typed { value, at: node.at })
    });
    let sni = fields.get("sni").map(|node| {
        TypedList::read(report, Some(node), "names", |report, item| text(report, item, "a name"))
    });
    let unknown_sni = fields
        .get("unknown_sni")
        .and_then(|node| keyword(report, node, "`include` or `exclude`", UNKNOWN_SNI));
    let behind = TypedList::read(report, fields.get("behind"), "proxies", |report, item| {
        name(report, item, "the name of a proxy")
    });
    let audience =
        fields.get("audience").and_then(|node| keyword(report, node, "an audience", AUDIENCES));
    Some(RawService { name: called, tcp, udp, syn_guard, sni, unknown_sni, audience, behind })
}

fn read_proxy(report: &mut Report<'_>, name: Typed<String>, node: &Node) -> Option<RawProxy> {
    let fields = Fields::read(report, node, "a proxy", &["from", "client"])?;
    let from = fields.require(report, "from", "a proxy", "from: [10.0.0.0/24]").map(|node| {
        TypedList::read(report, Some(node), "addresses and files", |report, item| {
            if !matches!(item.value, Value::Map(_)) {
                return quantity(report, item, "an address or prefix", prefix).map(RawFrom::Prefix);
            }
            let fields = Fields::read(report, item, "a list in a file", &["file"])?;
            let file = fields.require(report, "file", "a list in a file", "{file: lb.netset}")?;
            text(report, file, "the name of a file").map(RawFrom::File)
        })
    });
    let client = fields
        .require(report, "client", "a proxy", "client: proxy-protocol, or signals")
        .and_then(|node| keyword(report, node, "who names the client", CLIENTS));
    Some(RawProxy { name, from: from?, client: client? })
}

fn read_group(report: &mut Report<'_>, name: Typed<String>, node: &Node) -> Option<RawGroup> {
    let fields = Fields::read(report, node, "a group", &["addresses", "file", "why", "expires"])?;
    let addresses =
        TypedList::read(report, fields.get("addresses"), "addresses", |report, item| {
            quantity(report, item, "an address or prefix", prefix)
        });
    let file = fields.get("file").and_then(|node| text(report, node, "the name of a file"));
    let why = fields.get("why").and_then(|node| text(report, node, "a text"));
    let expires = fields.get("expires").and_then(|node| quantity(report, node, "a date", date));
    Some(RawGroup { name, addresses, file, why: why.map(|why| why.value), expires })
}

fn read_defaults(report: &mut Report<'_>, node: &Node) -> Option<RawDefaults> {
    let fields = Fields::read(report, node, "defaults", &["ladder", "mode", "stage_max"])?;
    let ladder = fields.get("ladder").and_then(|node| name(report, node, "the name of a ladder"));
    let mode = fields.get("mode").and_then(|node| keyword(report, node, "a mode", MODES));
    let stage_max = fields.get("stage_max").and_then(|node| stage(report, node));
    Some(RawDefaults { ladder, mode, stage_max })
}

fn read_sensor(report: &mut Report<'_>, node: &Node) -> Option<RawSensor> {
    const FIELDS: &[&str] =
        &["mode", "stall", "heartbeat", "lane", "profiles", "connections_per_source", "capacities"];
    let fields = Fields::read(report, node, "sensor", FIELDS)?;
    let mut sensor = RawSensor {
        mode: fields.get("mode").and_then(|node| keyword(report, node, "a mode", MODES)),
        ..RawSensor::default()
    };
    let mut duration = |field: &str| {
        let node = fields.get(field)?;
        quantity(report, node, "a duration", duration_ns)
    };
    sensor.stall_ns = duration("stall");
    sensor.heartbeat_ns = duration("heartbeat");
    sensor.lane = fields.get("lane").and_then(|node| read_rate(report, node, "the lane"));
    sensor.profiles = fields
        .get("profiles")
        .and_then(|node| integer(report, node, "a number of sources", 16..=4_194_304));
    sensor.connections_per_source = fields
        .get("connections_per_source")
        .and_then(|node| integer(report, node, "a number of connections", 64..=65_536));
    if let Some(node) = fields.get("capacities") {
        for (table, node) in named(report, node, "capacities") {
            let entries = integer(report, node, "a number of entries", 1..=67_108_864);
            let entries = entries.and_then(|entries| u32::try_from(entries.value).ok());
            sensor.capacities.extend(entries.map(|entries| RawCapacity { table, entries }));
        }
    }
    Some(sensor)
}
