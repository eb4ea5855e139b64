//! `feeds` and `geo` of a Site, as typed.

use super::{Fields, Node, Report, Typed, duration_ns};
use crate::{
    policy::form::{FEED, GEO},
    reputation::{fetch, list::Format},
};

/// How lists are written.
pub(in crate::policy) const FORMATS: &[(&str, Format)] = &[
    ("auto", Format::Auto),
    ("plain", Format::Plain),
    ("netset", Format::Netset),
    ("spamhaus-drop", Format::SpamhausDrop),
];

/// One feed.
#[derive(Debug)]
pub(in crate::policy) struct RawFeed {
    pub(in crate::policy) name: Typed<String>,
    pub(in crate::policy) file: Option<Typed<String>>,
    pub(in crate::policy) url: Option<Typed<String>>,
    pub(in crate::policy) format: Option<Typed<Format>>,
    pub(in crate::policy) refresh_ns: Option<Typed<u64>>,
    /// From 0 to 1.
    pub(in crate::policy) max_change: Option<Typed<f64>>,
}

/// What tells about addresses.
#[derive(Debug, Default)]
pub(in crate::policy) struct RawGeo {
    pub(in crate::policy) asn: Option<Typed<String>>,
    pub(in crate::policy) country: Option<Typed<String>>,
}

/// Reads a feed.
pub(super) fn read_feed(
    report: &mut Report<'_>,
    name: Typed<String>,
    node: &Node,
) -> Option<RawFeed> {
    let fields = Fields::read(report, node, &FEED)?;
    let file = fields.text(report, "file");
    let url = fields.quantity(report, "url", address);
    let format = fields.word(report, "format", FORMATS);
    let refresh_ns = fields.quantity(report, "refresh", duration_ns);
    let max_change = fields.quantity(report, "max_change", share);
    if fields.get("file").is_none() && fields.get("url").is_none() {
        let message = format!("the feed `{}` comes from nowhere", name.value);
        let help = "file: drop.json, or url: https://www.spamhaus.org/drop/drop_v4.json";
        report.error(name.at, message, Some(help.to_owned()));
        return None;
    }
    Some(RawFeed { name, file, url, format, refresh_ns, max_change })
}

/// Reads `geo`.
pub(super) fn read_geo(report: &mut Report<'_>, node: &Node) -> RawGeo {
    let Some(fields) = Fields::read(report, node, &GEO) else {
        return RawGeo::default();
    };
    RawGeo { asn: fields.text(report, "asn"), country: fields.text(report, "country") }
}

fn address(text: &str) -> Result<String, String> {
    fetch::check(text).map(|()| text.to_owned()).map_err(str::to_owned)
}

/// `20%`, as a number from 0 to 1.
fn share(text: &str) -> Result<f64, String> {
    let help = || "a share is written like `20%`, from 1% to 100%".to_owned();
    let percent: f64 =
        text.trim().strip_suffix('%').and_then(|n| n.trim_end().parse().ok()).ok_or_else(help)?;
    if (1.0..=100.0).contains(&percent) { Ok(percent / 100.0) } else { Err(help()) }
}
