//! Feeds and MMDB files of a Site: what they mean, the features that they make, and whether their
//! files can be read. Nothing is asked over the network.

use std::path::{Path, PathBuf};

use weir_common::abi::time::SECOND_NS;

use crate::{
    policy::{
        diagnostic::Report,
        raw::{RawFeed, RawGeo},
        reader::Typed,
    },
    reputation::{
        FeedSpec, MOST_FEEDS, ReputationSpec, USUAL_MAX_CHANGE, USUAL_REFRESH_S, feed,
        geo::{self, Tells},
    },
    score::{
        feature::{Evidence, FeatureInfo, Unit},
        registry::{Declared, FeatureId, Registry},
    },
};

/// Asking more often is asking for trouble: publishers ban who does.
const SOONEST_REFRESH_S: u64 = 60;

/// Compiles them, and declares their features.
pub(super) fn compile(
    report: &mut Report<'_>,
    feeds: &[RawFeed],
    geo: &RawGeo,
    features: &mut Registry,
) -> ReputationSpec {
    if let Some(extra) = feeds.get(MOST_FEEDS) {
        let message = format!("there are more than {MOST_FEEDS} feeds");
        let help = "join lists that count the same into one file";
        report.error(extra.name.at, message, Some(help.to_owned()));
    }
    let mut specs = Vec::with_capacity(feeds.len());
    for (number, raw) in (0u16..).zip(feeds) {
        check_name(report, &raw.name);
        let spec = compile_feed(report, raw);
        features.declare(describe(&spec), Declared::Feed(number));
        specs.push(spec);
    }
    let mut file = |typed: &Option<Typed<String>>, tells| {
        typed.as_ref().map(|typed| compile_geo(report, typed, tells))
    };
    let asn = file(&geo.asn, Tells::Asn);
    let country = file(&geo.country, Tells::Country);
    ReputationSpec { feeds: specs, asn, country }
}

fn check_name(report: &mut Report<'_>, name: &Typed<String>) {
    let starts_well = name.value.starts_with(|c: char| c.is_ascii_lowercase());
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !starts_well || !name.value.chars().all(is_word) {
        let message = format!("`{}` cannot be the name of a feed", name.value);
        let help = "it becomes the name of a feature: small letters, digits and `_`, a letter \
                    first, like `spamhaus_drop`";
        report.error(name.at, message, Some(help.to_owned()));
    }
}

fn compile_feed(report: &mut Report<'_>, raw: &RawFeed) -> FeedSpec {
    let refresh_s =
        raw.refresh_ns.as_ref().map_or(USUAL_REFRESH_S, |typed| typed.value / SECOND_NS);
    if let Some(refresh) = &raw.refresh_ns {
        if raw.url.is_none() {
            let message = "nothing is asked that often: the feed has no `url`";
            let help = "leave it out: a file is read again when it changes";
            report.error(refresh.at, message, Some(help.to_owned()));
        } else if refresh_s < SOONEST_REFRESH_S {
            let help = "at least 1m; lists change a few times a day".to_owned();
            report.error(refresh.at, "this is too often", Some(help));
        }
    }
    let spec = FeedSpec {
        name: raw.name.value.as_str().into(),
        file: raw.file.as_ref().map(|file| report.beside(file.at, &file.value)),
        url: raw.url.as_ref().map(|url| url.value.clone()),
        format: raw.format.as_ref().map(|format| format.value).unwrap_or_default(),
        refresh_s,
        max_change: raw.max_change.as_ref().map_or(USUAL_MAX_CHANGE, |typed| typed.value),
    };
    if let (Some(typed), Some(path)) = (&raw.file, &spec.file) {
        check_file(report, typed, &spec, path);
    }
    spec
}

/// A file that is not there is a mistake of the policy. What is in it is somebody else's doing, and
/// comes and goes: the daemon refuses it and goes on.
fn check_file(report: &mut Report<'_>, typed: &Typed<String>, spec: &FeedSpec, path: &Path) {
    if !path.is_file() {
        let message = format!("there is no file {}", path.display());
        let help = "files are found beside the policy; create it, or correct the name";
        report.error(typed.at, message, Some(help.to_owned()));
    } else if let Err(why) = feed::read_file(spec, path) {
        let help = "the feed is not in use until its file is right".to_owned();
        report.warn(typed.at, why, Some(help));
    }
}

fn compile_geo(report: &mut Report<'_>, typed: &Typed<String>, tells: Tells) -> PathBuf {
    let path = report.beside(typed.at, &typed.value);
    if !path.is_file() {
        let message = format!("there is no file {}", path.display());
        let help = "files are found beside the policy; download it from its publisher, or correct \
                    the name";
        report.error(typed.at, message, Some(help.to_owned()));
    } else if let Err(why) = geo::read_file(&path, tells) {
        let help = "it is not in use until it is right".to_owned();
        report.warn(typed.at, why, Some(help));
    }
    path
}

/// Whoever proved a connection has the address that the feed lists.
fn describe(spec: &FeedSpec) -> FeatureInfo {
    FeatureInfo {
        // `declare` numbers it.
        id: FeatureId::declared(0),
        name: format!("feed.{}", spec.name).into(),
        unit: Unit::Count,
        window: "now".into(),
        evidence: Evidence::Authentic,
        most: 1.0,
        meaning: format!("listing in the feed `{}`", spec.name).into(),
    }
}
