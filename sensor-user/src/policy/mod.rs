//! Policies: what is protected, what counts against a source, and what follows from it.
//!
//! Files are read in four steps, each with a type of its own: the YAML `tree`, `documents` with what
//! they include, these as typed (`raw`), and what they mean ([`CompiledPolicy`]). A file with any mistake yields
//! [`PolicyErrors`] that name all of them, and nothing else: a mistake never starts or replaces
//! anything.

pub mod cases;
pub mod condition;
pub mod diagnostic;
pub mod netset;
pub mod schema;
pub mod signals;

mod audience;
mod brakes;
mod compile;
mod documents;
mod files;
mod form;
mod group;
mod kept;
mod lookup;
mod modes;
mod never_block;
mod proxies;
mod quantity;
mod raw;
mod reader;
mod server_name;
mod service_ids;
mod services;
mod settings;
pub(crate) mod suggest;
mod tables;
mod tree;
mod version;

use std::{path::Path, sync::Arc};

use ipnet::IpNet;
use serde::Serialize;
use weir_common::abi::{Action, ServiceSet};

pub use self::{
    audience::Audience,
    brakes::BrakeSettings,
    diagnostic::{Diagnostic, PolicyErrors, Severity},
    group::Group,
    kept::{KeptPolicy, Revived},
    lookup::LookupSettings,
    modes::{ModeSpec, NORMAL, PolicyChange},
    never_block::{MANAGEMENT, NamedRange, NeverBlock},
    proxies::{Proxies, Proxy, ProxyClient},
    server_name::ServerName,
    service_ids::ServiceIds,
    services::{Service, Services},
    settings::Settings,
    signals::{SignalSpec, Signals},
};
use self::{condition::Condition, diagnostic::Report, documents::Document};
use crate::{
    enforce::{gate::GateSet, ladder::Ladder, stage::Stage},
    journal::PrivacySettings,
    reputation::ReputationSpec,
    score::{
        feature::Evidence,
        registry::{FeatureId, Registry},
    },
};

/// A file that was checked and resolved.
#[derive(Clone, Debug)]
pub struct CompiledPolicy {
    /// Protected services.
    pub services: Services,
    /// Declared proxies.
    pub proxies: Proxies,
    /// The sensor's own settings.
    pub settings: Settings,
    /// What applications and their logs may say of clients.
    pub signals: Signals,
    /// How proxies ask about clients.
    pub lookup: LookupSettings,
    /// Who is trusted, and what brakes enforcement.
    pub brakes: BrakeSettings,
    /// What the journal keeps of whom.
    pub privacy: PrivacySettings,
    /// Feeds, and what tells networks and countries of addresses.
    pub reputation: ReputationSpec,
    /// Who is never blocked.
    pub never_block: NeverBlock,
    /// Sets of overrides for bad days.
    pub modes: Vec<ModeSpec>,
    /// The features that conditions can name.
    pub features: Registry,
    /// Policies, in the order of the file.
    pub policies: Vec<Policy>,
    /// Whether a changed policy that acts watches beside the one before until its gates hold.
    pub shadows: bool,
    /// What is allowed and probably not meant.
    pub warnings: Vec<Diagnostic>,
    // What ends, as a warning from its end on (seconds since 1970).
    later: Vec<(u64, Diagnostic)>,
    ids: ServiceIds,
}

/// One policy: scores sources by what they do to some services.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its name.
    pub name: Arc<str>,
    /// What it says, in short: the first 12 hexadecimal digits of the SHA-256 of its own document
    /// and of the site's.
    pub version: Arc<str>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// The services whose traffic it judges, and that its verdicts are for.
    pub services: ServiceSet,
    /// The highest stage that it may come to.
    pub stage_max: Stage,
    /// What moves it from stage to stage.
    pub gates: Arc<GateSet>,
    /// What follows from a score.
    pub ladder: Ladder,
    /// If set: its verdicts stop acting this long after the daemon died.
    pub heartbeat_ns: Option<u64>,
    /// How many new drops a rule of it makes in a minute; `None`: as the Site's brakes say.
    pub drops_per_minute: Option<u32>,
    /// Who is spared what.
    pub exempt: Vec<Exemption>,
    /// What counts against a source.
    pub rules: Vec<Rule>,
    /// What it does, in short: a hash of its rules, services, exemptions and ladder. Unlike the version
    /// it stays the same where something else changes.
    pub conduct: Arc<str>,
    /// What is kept of its document, as JSON.
    document: Arc<str>,
}

/// A group that some actions are never taken against.
#[derive(Clone, Debug)]
pub struct Exemption {
    /// Who.
    pub group: Arc<Group>,
    /// From what.
    pub actions: Vec<Action>,
    /// Why.
    pub why: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Until when, in seconds since 1970; `None` = as long as the group counts.
    pub expires_unix_s: Option<u64>,
}

impl Exemption {
    /// Whether it spares a source at this time.
    #[must_use]
    pub fn spares(&self, net: &IpNet, now_unix_s: u64) -> bool {
        self.expires_unix_s.is_none_or(|end| now_unix_s < end)
            && self.group.touches(net, now_unix_s)
    }
}

/// One rule: points for a condition.
#[derive(Clone, PartialEq, Debug)]
pub struct Rule {
    /// Its name, unique within its policy.
    pub name: Arc<str>,
    /// Ids of the threats that it speaks of, see [`crate::score::owasp`].
    pub owasp: Arc<[String]>,
    /// Points, -100..=100 and not 0. Negative points are trust.
    pub points: i8,
    /// When it is met; `after` is part of it.
    pub when: Condition,
    /// If set, it counts only for services of exactly this audience.
    pub audience: Option<Audience>,
    /// If set, its points go on when it is no longer met, and fall evenly to nothing over this
    /// time.
    pub decay_ns: Option<u64>,
    /// How many new drops it makes in a minute; `None`: as its policy says.
    pub drops_per_minute: Option<u32>,
    /// Authentic only if all of the condition's features are.
    pub evidence: Evidence,
    /// The condition's features, in the order of their first mention.
    pub features: Vec<FeatureId>,
}

impl Rule {
    /// Whether it counts for a service.
    #[must_use]
    pub fn counts_for(&self, service: &Service) -> bool {
        self.audience.is_none_or(|audience| audience == service.audience)
    }
}

/// A policy in brief, for status output.
#[derive(Clone, Debug, Serialize)]
pub struct PolicySummary {
    /// Its name.
    pub name: String,
    /// Names of its services.
    pub services: Vec<String>,
    /// Number of its rules.
    pub rules: usize,
}

impl CompiledPolicy {
    /// The ids of services, to be kept and given to the next [`load`], so that verdicts in the
    /// kernel keep meaning the same services.
    #[must_use]
    pub const fn service_ids(&self) -> &ServiceIds {
        &self.ids
    }

    /// What has ended at a time (seconds since 1970) and is still named: groups and exemptions.
    pub fn ended(&self, now_unix_s: u64) -> impl Iterator<Item = &Diagnostic> {
        let ended = self.later.iter().filter(move |(end, _)| *end <= now_unix_s);
        ended.map(|(_, diagnostic)| diagnostic)
    }

    /// The name of a service.
    #[must_use]
    pub fn service_name(&self, id: u8) -> Option<&str> {
        self.services.iter().find(|service| service.id == id).map(|service| service.name.as_str())
    }

    /// The policies in brief.
    #[must_use]
    pub fn summary(&self) -> Vec<PolicySummary> {
        let name = |service: &&Service| service.name.clone();
        self.policies
            .iter()
            .map(|policy| PolicySummary {
                name: policy.name.to_string(),
                services: self
                    .services
                    .iter()
                    .filter(|service| policy.services.contains(service.id))
                    .map(|service| name(&service))
                    .collect(),
                rules: policy.rules.len(),
            })
            .collect()
    }
}

/// Reads and compiles a policy file, or all policy files of a folder, with what they include. Files
/// that they name are found beside them.
///
/// # Errors
/// Every mistake of the files, each with its place and what would be right.
pub fn load(path: &Path, ids: &ServiceIds) -> Result<CompiledPolicy, PolicyErrors> {
    load_beside(path, ids, &[]).map(|(compiled, _)| compiled)
}

/// The same, and those of the `kept` policies that are another there.
///
/// # Errors
/// See [`load`]. A kept policy that cannot be compiled any more is no error of the files.
pub fn load_beside(
    path: &Path,
    ids: &ServiceIds,
    kept: &[KeptPolicy],
) -> Result<(CompiledPolicy, Vec<Revived>), PolicyErrors> {
    let name = path.display().to_string();
    let mut report = Report::empty(&name);
    let documents = documents::read(&mut report, path);
    finish(report, documents, &name, ids, kept)
}

/// Compiles a policy from text. `name` is what errors call it, `directory` is where the files that
/// it names are found.
///
/// # Errors
/// Every mistake of the text, each with its place and what would be right.
pub fn parse(
    name: &str,
    text: &str,
    directory: &Path,
    ids: &ServiceIds,
) -> Result<CompiledPolicy, PolicyErrors> {
    parse_beside(name, text, directory, ids, &[]).map(|(compiled, _)| compiled)
}

fn parse_beside(
    name: &str,
    text: &str,
    directory: &Path,
    ids: &ServiceIds,
    kept: &[KeptPolicy],
) -> Result<(CompiledPolicy, Vec<Revived>), PolicyErrors> {
    let mut report = Report::empty(name);
    let documents = documents::of_text(&mut report, name, text, directory);
    finish(report, documents, name, ids, kept)
}

fn finish(
    mut report: Report<'_>,
    documents: Option<Vec<Document>>,
    name: &str,
    ids: &ServiceIds,
    kept: &[KeptPolicy],
) -> Result<(CompiledPolicy, Vec<Revived>), PolicyErrors> {
    let both = documents.and_then(|documents| {
        let raw = raw::read(&mut report, &documents);
        let compiled = compile::compile(&mut report, raw, ids)?;
        let revived = kept::revive(&report, &documents, &compiled, kept);
        Some((compiled, revived))
    });
    let later = report.take_later();
    let warnings = report.finish()?;
    let whole = |compiled| CompiledPolicy { warnings, later, ..compiled };
    both.map(|(compiled, revived)| (whole(compiled), revived)).ok_or_else(|| {
        PolicyErrors::of_file(name, "nothing could be compiled".into(), "this is a bug: report it")
    })
}

#[cfg(test)]
mod tests;
