//! Services, and who shares which port with whom.

use std::collections::{BTreeMap, BTreeSet};

use weir_common::abi::map;

use super::{place, proxies::capacity, unknown};
use crate::{
    enforce::ladder::RateLimit,
    policy::{
        Audience, Proxies, ProxyClient, Service, ServiceIds, Services, Settings,
        diagnostic::{Report, Span},
        raw::RawService,
        reader::Typed,
        server_name::ServerName,
        services::SharedPort,
    },
};

/// A port of TCP (`false`) or UDP.
type Port = (bool, u16);

/// What was typed of a service, with its names read.
struct Draft<'a> {
    typed: &'a RawService,
    sni: Vec<Typed<ServerName>>,
    takes_unknown: bool,
}

impl Draft<'_> {
    fn name(&self) -> &str {
        &self.typed.name.value
    }

    fn is_named(&self) -> bool {
        self.typed.sni.is_some()
    }

    fn behind(&self) -> BTreeSet<&str> {
        self.typed.behind.items.iter().map(|proxy| proxy.value.as_str()).collect()
    }

    fn ports(&self) -> impl Iterator<Item = (Port, Span)> {
        let tcp = self.typed.tcp.items.iter().map(|port| ((false, port.value), port.at));
        tcp.chain(self.typed.udp.items.iter().map(|port| ((true, port.value), port.at)))
    }
}

/// Compiles them; `None` if there are too many.
pub(super) fn compile(
    report: &mut Report<'_>,
    typed: &[RawService],
    settings: &Settings,
    proxies: &Proxies,
    ids: &ServiceIds,
) -> Option<(Services, ServiceIds)> {
    let drafts: Vec<Draft<'_>> = typed.iter().map(|typed| read(report, typed, proxies)).collect();
    let sharing = share(report, &drafts);
    check_names(report, &sharing);
    let remainders = remainders(report, &drafts, &sharing);
    let names = drafts.iter().map(Draft::name).chain(remainders.values().map(String::as_str));
    let Some(ids) = ids.assign(names) else {
        let at = typed.first().map(|service| service.name.at).unwrap_or_default();
        let help = "join services that are judged alike; a port that only services with `sni` \
                    declare counts as one more";
        report.error(at, "there are more than 255 services", Some(help.to_owned()));
        return None;
    };
    let mut services = Vec::with_capacity(drafts.len() + remainders.len());
    for draft in &drafts {
        services.push(service(draft, ids.get(draft.name())?));
    }
    let mut ports = Vec::with_capacity(sharing.len());
    for (port, sharers) in &sharing {
        let (is_udp, number) = *port;
        let behind = sharers.iter().next().map(|sharer| sharer.behind()).unwrap_or_default();
        let mut named = Vec::new();
        let mut own = None;
        for sharer in sharers {
            let id = ids.get(sharer.name())?;
            if sharer.is_named() {
                named.push(id);
            } else {
                own.get_or_insert(id);
            }
        }
        if let Some(name) = remainders.get(port) {
            let id = ids.get(name)?;
            own = Some(id);
            services.push(remainder(name, id, *port, &behind));
        }
        let is_proxied = !is_udp
            && behind
                .iter()
                .filter_map(|name| proxies.get(name))
                .any(|proxy| proxy.client == ProxyClient::ProxyProtocol);
        ports.push(SharedPort { is_udp, port: number, own: own?, named, is_proxied });
    }
    let services = Services::new(services, ports);
    let most = capacity(settings, &map::SNI_SERVICES);
    if services.name_table().len() > most {
        let at = drafts.iter().find(|draft| draft.is_named()).map(|draft| draft.typed.name.at);
        let help = "use wildcards, or raise `sensor.capacities.sni_services`".to_owned();
        let message = format!("there are more than {most} names");
        report.error(at.unwrap_or_default(), message, Some(help));
    }
    Some((services, ids))
}

/// Reads the names of a service, and checks what can be checked of it alone.
fn read<'a>(report: &mut Report<'_>, typed: &'a RawService, proxies: &Proxies) -> Draft<'a> {
    let name = &typed.name;
    if typed.tcp.is_empty && typed.udp.is_empty {
        let message = format!("the service `{}` has no port", name.value);
        report.error(name.at, message, Some("tcp: [443]".to_owned()));
    }
    let mut sni: Vec<Typed<ServerName>> = Vec::new();
    for text in typed.sni.iter().flat_map(|list| &list.items) {
        match ServerName::parse(&text.value) {
            Ok(value) if sni.iter().any(|known| known.value == value) => {
                report.error(text.at, format!("`{value}` is given twice"), None);
            }
            Ok(value) => sni.push(Typed { value, at: text.at }),
            Err(bad) => {
                let at = place::within(report, text, bad.offset);
                report.error(at, bad.message, Some(bad.help));
            }
        }
    }
    match &typed.sni {
        Some(list) if list.is_empty => {
            let message = format!("the service `{}` has no name in `sni`", name.value);
            let help = "sni: [login.example.com]; without `sni`, a service has everything at its \
                        ports that no other is asked by";
            report.error(name.at, message, Some(help.to_owned()));
        }
        Some(_) => {
            if let Some(guard) = &typed.syn_guard {
                let help = "give the guard to the service without `sni` of this port";
                let message = "a SYN asks for no name: this guard would never see one";
                report.error(guard.at, message, Some(help.to_owned()));
            }
        }
        None => {
            if let Some(unknown) = &typed.unknown_sni {
                let help = "without `sni`, a service has what no other one claims";
                let message = "`unknown_sni` is for services with `sni`";
                report.error(unknown.at, message, Some(help.to_owned()));
            }
        }
    }
    for behind in &typed.behind.items {
        if proxies.get(&behind.value).is_none() {
            let known: Vec<&str> = proxies.iter().map(|proxy| proxy.name.as_str()).collect();
            unknown(report, behind, "proxy", &known);
        }
    }
    let takes_unknown = typed.unknown_sni.as_ref().is_some_and(|unknown| unknown.value);
    Draft { typed, sni, takes_unknown }
}

/// The services of every port, and whether they go together.
fn share<'a>(
    report: &mut Report<'_>,
    drafts: &'a [Draft<'a>],
) -> BTreeMap<Port, Vec<&'a Draft<'a>>> {
    let mut sharing: BTreeMap<Port, Vec<&Draft<'_>>> = BTreeMap::new();
    for draft in drafts {
        for (port, at) in draft.ports() {
            let sharers = sharing.entry(port).or_default();
            if sharers.iter().any(|other| other.name() == draft.name()) {
                report.error(at, format!("port {} is given twice", port.1), None);
                continue;
            }
            let rival = sharers.iter().find(|other| !other.is_named() && !draft.is_named());
            if let Some(rival) = rival {
                let message = format!("port {} already belongs to `{}`", port.1, rival.name());
                let help = "a port belongs to one service, and several policies can apply to it; \
                            services that clients ask by name share it with `sni`";
                report.error(at, message, Some(help.to_owned()));
                continue;
            }
            if let Some(other) = sharers.first()
                && !port.0
                && other.behind() != draft.behind()
            {
                let message = format!(
                    "`{}` and `{}` share port {} and are not behind the same proxies",
                    other.name(),
                    draft.name(),
                    port.1
                );
                let help = "give both the same `behind`: who connects is known before the name is";
                report.error(at, message, Some(help.to_owned()));
            }
            sharers.push(draft);
        }
    }
    sharing
}

/// A name, or hellos without a known one, lead to one service: on a port, and on all ports that
/// have the same service of their own, because the kernel keeps names by it.
fn check_names(report: &mut Report<'_>, sharing: &BTreeMap<Port, Vec<&Draft<'_>>>) {
    let mut told: BTreeSet<usize> = BTreeSet::new();
    for (port, sharers) in sharing {
        let mut owners: BTreeMap<&ServerName, &Draft<'_>> = BTreeMap::new();
        let mut unknown: Option<&Draft<'_>> = None;
        for sharer in sharers {
            for name in &sharer.sni {
                if let Some(owner) = owners.insert(&name.value, sharer)
                    && told.insert(name.at.start)
                {
                    let message = format!(
                        "`{}` already belongs to `{}` on port {}",
                        name.value,
                        owner.name(),
                        port.1
                    );
                    let help = "a name leads to one service; several policies can apply to it";
                    report.error(name.at, message, Some(help.to_owned()));
                }
            }
            let Some(typed) = sharer.typed.unknown_sni.as_ref().filter(|typed| typed.value) else {
                continue;
            };
            if let Some(first) = unknown.replace(sharer)
                && told.insert(typed.at.start)
            {
                let message = format!(
                    "hellos at port {} without a known name already go to `{}`",
                    port.1,
                    first.name()
                );
                let help = "one service of a port has `unknown_sni: include`".to_owned();
                report.error(typed.at, message, Some(help));
            }
        }
    }
    let mut by_own: BTreeMap<&str, Vec<(Port, &[&Draft<'_>])>> = BTreeMap::new();
    for (port, sharers) in sharing {
        let own = sharers.iter().find(|sharer| !sharer.is_named());
        if let Some(own) = own.filter(|_| sharers.len() > 1) {
            by_own.entry(own.name()).or_default().push((*port, sharers));
        }
    }
    for ports in by_own.values() {
        check_ports_of_one(report, ports);
    }
}

/// Ports that have the same service of their own: TCP ports are shared by the same others, and no
/// name leads elsewhere at UDP ports than at TCP ports.
fn check_ports_of_one(report: &mut Report<'_>, ports: &[(Port, &[&Draft<'_>])]) {
    let Some(((first, sharers), rest)) = ports.split_first() else { return };
    let Some(own) = sharers.iter().find(|sharer| !sharer.is_named()) else { return };
    let names = |sharers: &[&Draft<'_>]| -> BTreeSet<String> {
        sharers.iter().map(|sharer| sharer.name().to_owned()).collect()
    };
    for (port, others) in rest {
        let differ = if port.0 == first.0 {
            names(sharers) != names(others)
        } else {
            others.iter().any(|other| {
                let is_elsewhere = |sharer: &&&Draft<'_>| {
                    sharer.name() != other.name()
                        && (sharer.takes_unknown && other.takes_unknown
                            || sharer
                                .sni
                                .iter()
                                .any(|name| other.sni.iter().any(|twin| twin.value == name.value)))
                };
                sharers.iter().any(|sharer| is_elsewhere(&sharer))
            })
        };
        if differ {
            let message = format!(
                "`{}` shares its ports {} and {} with different services",
                own.name(),
                shown(*first),
                shown(*port)
            );
            let help = "a name leads to one service at all ports of a service: share both ports \
                        with the same, or give each port a service of its own";
            report.error(own.typed.name.at, message, Some(help.to_owned()));
            return;
        }
    }
}

fn shown((is_udp, port): Port) -> String {
    format!("{port}/{}", if is_udp { "udp" } else { "tcp" })
}

/// Names of services for what named services leave over of a port.
fn remainders(
    report: &mut Report<'_>,
    drafts: &[Draft<'_>],
    sharing: &BTreeMap<Port, Vec<&Draft<'_>>>,
) -> BTreeMap<Port, String> {
    let needed = sharing.iter().filter(|(_, sharers)| sharers.iter().all(|s| s.is_named()));
    let remainders: BTreeMap<Port, String> = needed
        .map(|((is_udp, port), _)| {
            let protocol = if *is_udp { "udp" } else { "tcp" };
            ((*is_udp, *port), format!("{protocol}-{port}"))
        })
        .collect();
    for name in remainders.values() {
        if let Some(draft) = drafts.iter().find(|draft| draft.name() == name) {
            let message = format!("`{name}` stands for what services with `sni` leave over there");
            let help = Some("choose another name".to_owned());
            report.error(draft.typed.name.at, message, help);
        }
    }
    remainders
}

fn service(draft: &Draft<'_>, id: u8) -> Service {
    let values = |ports: &[Typed<u16>]| ports.iter().map(|port| port.value).collect();
    let typed = draft.typed;
    Service {
        id,
        name: typed.name.value.clone(),
        tcp: values(&typed.tcp.items),
        udp: values(&typed.udp.items),
        syn_guard: typed
            .syn_guard
            .as_ref()
            .map(|guard| RateLimit::new(guard.value.interval_ns, guard.value.burst)),
        sni: draft.sni.iter().map(|name| name.value.clone()).collect(),
        takes_unknown: draft.takes_unknown,
        audience: typed.audience.as_ref().map(|audience| audience.value).unwrap_or_default(),
        behind: typed.behind.items.iter().map(|proxy| proxy.value.clone()).collect(),
        is_remainder: false,
    }
}

fn remainder(name: &str, id: u8, (is_udp, port): Port, behind: &BTreeSet<&str>) -> Service {
    let (tcp, udp) = if is_udp { (Vec::new(), vec![port]) } else { (vec![port], Vec::new()) };
    Service {
        id,
        name: name.to_owned(),
        tcp,
        udp,
        syn_guard: None,
        sni: Vec::new(),
        takes_unknown: false,
        audience: Audience::Both,
        behind: behind.iter().map(|proxy| (*proxy).to_owned()).collect(),
        is_remainder: true,
    }
}
