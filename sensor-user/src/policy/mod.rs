//! Policies: what is protected, what counts against a source, and what follows from it.
//!
//! A file is read in three steps, each with a type of its own: the YAML `tree`, the documents as
//! typed (`raw`), and what they mean ([`CompiledPolicy`]). A file with any mistake yields
//! [`PolicyErrors`] that name all of them, and nothing else: a mistake never starts or replaces
//! anything.

pub mod condition;
pub mod diagnostic;
pub mod netset;
pub mod signals;

mod compile;
mod group;
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

use std::{fs, io::Read, path::Path, sync::Arc};

use serde::Serialize;
use weir_common::abi::{Action, Mode, ServiceSet};

use self::{condition::Condition, diagnostic::Report};
pub use self::{
    diagnostic::{Diagnostic, PolicyErrors},
    group::Group,
    proxies::{Proxies, Proxy, ProxyClient},
    server_name::ServerName,
    service_ids::ServiceIds,
    services::{Service, Services},
    settings::Settings,
    signals::{SignalSpec, Signals},
};
use crate::{
    enforce::{ladder::Ladder, names},
    score::{
        feature::Evidence,
        registry::{FeatureId, Registry},
    },
};

/// Largest policy file that is read. Lists of addresses have files of their own.
const LARGEST_BYTES: u64 = 4 << 20;

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
    /// The features that conditions can name.
    pub features: Registry,
    /// Policies, in the order of the file.
    pub policies: Vec<Policy>,
    /// What is allowed and probably not meant.
    pub warnings: Vec<Diagnostic>,
    ids: ServiceIds,
}

/// One policy: scores sources by what they do to some services.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its name.
    pub name: Arc<str>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// The services whose traffic it judges, and that its verdicts are for.
    pub services: ServiceSet,
    /// Whether its verdicts act.
    pub mode: Mode,
    /// What follows from a score.
    pub ladder: Ladder,
    /// Who is spared what.
    pub exempt: Vec<Exemption>,
    /// What counts against a source.
    pub rules: Vec<Rule>,
}

/// A group that some actions are never taken against.
#[derive(Clone, Debug)]
pub struct Exemption {
    /// Who.
    pub group: Arc<Group>,
    /// From what.
    pub actions: Vec<Action>,
}

/// One rule: points for a condition.
#[derive(Clone, PartialEq, Debug)]
pub struct Rule {
    /// Its name, unique within its policy.
    pub name: Arc<str>,
    /// OWASP Automated Threat ids.
    pub owasp: Arc<[String]>,
    /// Points, 1..=100.
    pub points: u8,
    /// When it is met.
    pub when: Condition,
    /// Authentic only if all of the condition's features are.
    pub evidence: Evidence,
    /// The condition's features, in the order of their first mention.
    pub features: Vec<FeatureId>,
}

/// A policy in brief, for status output.
#[derive(Clone, Debug, Serialize)]
pub struct PolicySummary {
    /// Its name.
    pub name: String,
    /// Whether its verdicts act.
    #[serde(serialize_with = "names::mode")]
    pub mode: Mode,
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
                mode: policy.mode,
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

/// Reads and compiles a policy file. Files that it names are found beside it.
///
/// # Errors
/// Every mistake of the file, each with its place and what would be right.
pub fn load(path: &Path, ids: &ServiceIds) -> Result<CompiledPolicy, PolicyErrors> {
    let name = path.display().to_string();
    let mut text = String::new();
    fs::File::open(path)
        .and_then(|file| file.take(LARGEST_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| {
            let help = "name a policy file that this user can read";
            PolicyErrors::of_file(&name, format!("cannot read: {error}"), help)
        })?;
    if text.len() as u64 > LARGEST_BYTES {
        let help = "put lists of addresses into files of their own: `{file: partners.netset}`";
        return Err(PolicyErrors::of_file(&name, "larger than 4 MiB".into(), help));
    }
    parse(&name, &text, path.parent().unwrap_or(Path::new("")), ids)
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
    let mut report = Report::new(name, text);
    let compiled = tree::parse(&mut report).and_then(|documents| {
        let file = raw::read(&mut report, &documents);
        compile::compile(&mut report, file, directory, ids)
    });
    let warnings = report.finish()?;
    compiled.map(|compiled| CompiledPolicy { warnings, ..compiled }).ok_or_else(|| {
        PolicyErrors::of_file(name, "nothing could be compiled".into(), "this is a bug: report it")
    })
}

#[cfg(test)]
mod tests;
