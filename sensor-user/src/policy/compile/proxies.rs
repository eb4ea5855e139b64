//! Declared proxies.

use ipnet::IpNet;
use weir_common::abi::map::{self, MapSpec};

use crate::policy::{
    Proxies, Proxy, ProxyClient, Settings,
    diagnostic::{Report, Span},
    group, netset,
    raw::{RawFrom, RawProxy, RawSite},
};

/// Compiles them.
pub(super) fn compile(report: &mut Report<'_>, typed: &[RawProxy], settings: &Settings) -> Proxies {
    let mut proxies: Vec<Proxy> = Vec::with_capacity(typed.len());
    for proxy in typed {
        let name = &proxy.name.value;
        if proxy.from.is_empty {
            let message = format!("the proxy `{name}` has no address");
            let help = Some("from: [10.0.0.0/24], or from: [{file: lb.netset}]".to_owned());
            report.error(proxy.name.at, message, help);
        }
        let mut from = Vec::new();
        for item in &proxy.from.items {
            for (net, at) in members(report, item) {
                if let Some((message, help)) = complaint(&net) {
                    report.error(at, message, Some(help.to_owned()));
                    continue;
                }
                let rival = proxies.iter().find(|rival| {
                    rival.client != proxy.client.value
                        && group::touching(&rival.from, &net).is_some()
                });
                if let Some(rival) = rival {
                    let message = format!("{net} belongs to the proxy `{}` too", rival.name);
                    let help = "an address names its clients in one way: take it out of one";
                    report.error(at, message, Some(help.to_owned()));
                }
                from.push(net);
            }
        }
        let from = IpNet::aggregate(&from);
        proxies.push(Proxy { name: name.clone(), from, client: proxy.client.value });
    }
    let proxies = Proxies::new(proxies);
    let most = capacity(settings, &map::PROXIES);
    if proxies.speaking().len() > most {
        let at = typed.first().map(|proxy| proxy.name.at).unwrap_or_default();
        let message =
            format!("proxies with `client: proxy-protocol` have more than {most} prefixes");
        let help = Some("merge prefixes, or raise `sensor.capacities.proxies`".to_owned());
        report.error(at, message, help);
    }
    proxies
}

/// How many entries of a table there will be room for.
pub(super) fn capacity(settings: &Settings, spec: &MapSpec) -> usize {
    settings.capacities.get(spec.name).map_or(spec.max_entries, |entries| *entries) as usize
}

/// The prefixes of an item, with the place to complain about them at.
fn members(report: &mut Report<'_>, item: &RawFrom) -> Vec<(IpNet, Span)> {
    match item {
        RawFrom::Prefix(net) => vec![(net.value, net.at)],
        RawFrom::File(file) => match netset::read(&report.beside(file.at, &file.value)) {
            Ok(nets) => nets.into_iter().map(|net| (net, file.at)).collect(),
            Err(error) => {
                report.error(file.at, error.to_string(), None);
                Vec::new()
            }
        },
    }
}

/// Why a prefix can be no proxy's.
fn complaint(net: &IpNet) -> Option<(String, &'static str)> {
    let is_part_of_64 = matches!(net, IpNet::V6(v6) if (65..=127).contains(&v6.prefix_len()));
    if net.prefix_len() == 0 {
        Some(("this is everybody".to_owned(), "name the addresses that proxies connect from"))
    } else if is_part_of_64 {
        let message = format!("{net} is part of a /64, and sources are judged by /64");
        Some((message, "take the /64, or single addresses"))
    } else {
        None
    }
}

/// A proxy that says whom it stands for, and that no service listens to.
pub(super) fn warn_if_unused(report: &mut Report<'_>, site: &RawSite) {
    for proxy in site.proxies.iter().filter(|p| p.client.value == ProxyClient::ProxyProtocol) {
        let name = &proxy.name.value;
        let mut behind = site.services.iter().flat_map(|service| &service.behind.items);
        if !behind.any(|typed| typed.value == *name) {
            let message =
                format!("no service is behind the proxy `{name}`: its headers are not read");
            report.warn(proxy.name.at, message, Some(format!("behind: [{name}]")));
        }
    }
}
