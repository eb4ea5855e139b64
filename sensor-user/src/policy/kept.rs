//! Policies as they are kept for when their file says something else: a changed policy watches beside the
//! one before, which goes on acting, also over a restart.
//!
//! What is kept is a policy's own conduct: its document and its ladder. What the Site says of the world
//! (services, groups, proxies, signals, feeds) is always that of today, so a kept policy is compiled
//! with the Site of today, or not at all.

use std::{path::PathBuf, sync::Arc};

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    CompiledPolicy, Policy, PolicyErrors, ServiceIds, compile,
    diagnostic::Report,
    documents::Document,
    raw,
    tree::{self, Node},
};
use crate::enforce::ladder::Ladder;

/// Fields of a policy's document that are part of its conduct …
const CONDUCT: [&str; 3] = ["applies", "exempt", "rules"];

/// … and those that it cannot be read without.
const FORM: [&str; 2] = ["kind", "metadata"];

/// How many hexadecimal digits a conduct has.
const DIGITS: usize = 16;

/// A policy, to be compiled another day.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeptPolicy {
    /// Its name.
    pub name: Arc<str>,
    /// Its version when it was compiled.
    pub version: Arc<str>,
    /// See [`Policy::conduct`].
    pub conduct: Arc<str>,
    /// Its document, as JSON.
    pub document: Arc<str>,
    /// Its ladder.
    pub ladder: Ladder,
}

/// A kept policy that is not what the files say, compiled with the Site of today.
#[derive(Clone, Debug)]
pub struct Revived {
    /// Its name.
    pub name: Arc<str>,
    /// The policy, or why there can be none: what it names is gone.
    pub policy: Result<Policy, PolicyErrors>,
}

impl Policy {
    /// The policy as it is kept.
    #[must_use]
    pub fn kept(&self) -> KeptPolicy {
        KeptPolicy {
            name: Arc::clone(&self.name),
            version: Arc::clone(&self.version),
            conduct: Arc::clone(&self.conduct),
            document: Arc::clone(&self.document),
            ladder: self.ladder.clone(),
        }
    }
}

/// What of a policy's document is kept, as JSON, which is YAML too.
pub(super) fn document(node: &Node) -> String {
    let whole = node.to_json();
    let is_kept = |name: &str| CONDUCT.contains(&name) || FORM.contains(&name);
    match whole {
        Value::Object(fields) => {
            let kept: Map<String, Value> =
                fields.into_iter().filter(|(name, _)| is_kept(name)).collect();
            Value::Object(kept).to_string()
        }
        other => other.to_string(),
    }
}

/// Names what a policy does: two policies of the same conduct judge alike and have the same
/// consequences, whoever owns them and however far they may go.
pub(super) fn conduct(document: &str, ladder: &Ladder) -> String {
    let fields: Value = serde_json::from_str(document).unwrap_or_default();
    let of = |name: &&str| fields.get(*name).cloned().unwrap_or_default();
    let whole = json!({
        "document": CONDUCT.iter().map(of).collect::<Vec<Value>>(),
        "ladder": ladder.steps,
    });
    let hash = digest(&SHA256, whole.to_string().as_bytes());
    let hexadecimal: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    hexadecimal.chars().take(DIGITS).collect()
}

/// Compiles those of the kept policies that are another in `compiled`.
pub(super) fn revive(
    report: &Report<'_>,
    documents: &[Document],
    compiled: &CompiledPolicy,
    kept: &[KeptPolicy],
) -> Vec<Revived> {
    let is_other = |kept: &&KeptPolicy| {
        let same = compiled.policies.iter().find(|policy| policy.name == kept.name);
        same.is_some_and(|policy| policy.conduct != kept.conduct)
    };
    let revive = |kept: &KeptPolicy| Revived {
        name: Arc::clone(&kept.name),
        policy: one(report, documents, compiled.service_ids(), kept),
    };
    kept.iter().filter(is_other).map(revive).collect()
}

fn one(
    report: &Report<'_>,
    documents: &[Document],
    ids: &ServiceIds,
    kept: &KeptPolicy,
) -> Result<Policy, PolicyErrors> {
    let name = format!("{} ({}, kept)", kept.name, kept.version);
    let mut report = report.fork(&name);
    let file = report.add(&name, kept.document.to_string().into(), PathBuf::new());
    let own: Vec<Document> = tree::parse(&mut report, file)
        .unwrap_or_default()
        .into_iter()
        .map(|node| Document { parts: vec![node.at], node })
        .collect();
    let sites = documents.iter().filter(|document| raw::is_site(document));
    let mut file = raw::read(&mut report, sites.chain(&own));
    for policy in &mut file.policies {
        policy.kept_ladder = Some(kept.ladder.clone());
    }
    let compiled = compile::compile(&mut report, file, ids);
    report.finish()?;
    let policy = compiled.and_then(|compiled| compiled.policies.into_iter().next());
    let policy = policy.ok_or_else(|| {
        let help = "it is as if it had never been; the one in the file counts";
        PolicyErrors::of_file(&name, "what was kept of it cannot be read".into(), help)
    })?;
    Ok(Policy {
        version: Arc::clone(&kept.version),
        conduct: Arc::clone(&kept.conduct),
        document: Arc::clone(&kept.document),
        ..policy
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::policy::{load_beside, parse_beside};

    const SITE: &str = "\
kind: Site
services: {login: {tcp: [443]}, api: {tcp: [8443]}}
signals: {login_failed: {per: source, windows: [10m]}}
ladders: {careful: [{at: 50, action: drop, for: 10m}]}
defaults: {ladder: careful}
";

    const LOGIN: &str = "\
---
kind: Policy
metadata: {name: login, owner: edge-team, description: 'it says \"no\" \\ and \u{e9}'}
applies: [login]
rules:
  - name: failing
    points: 60
    when: |
      source.login_failed_10m >= 8
        && source.age < 10
";

    fn beside(text: &str, kept: &[KeptPolicy]) -> (CompiledPolicy, Vec<Revived>) {
        let ids = ServiceIds::default();
        parse_beside("x.yaml", text, Path::new("."), &ids, kept)
            .unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn policy(text: &str) -> Policy {
        beside(text, &[]).0.policies.remove(0)
    }

    #[test]
    fn a_kept_policy_is_itself_again_under_todays_site() {
        let before = policy(&format!("{SITE}{LOGIN}"));
        let changed = LOGIN.replace("points: 60", "points: 70");
        let site = SITE.replace("[443]", "[443, 444]").replace("at: 50", "at: 60");
        let (compiled, revived) = beside(&format!("{site}{changed}"), &[before.kept()]);
        assert_eq!(revived.len(), 1);
        let again = revived[0].policy.as_ref().unwrap();
        assert_eq!(again.rules, before.rules);
        assert_eq!(again.ladder, before.ladder, "its ladder is part of what it does");
        assert_eq!(again.version, before.version);
        assert_ne!(compiled.policies[0].conduct, before.conduct);
        assert_eq!(compiled.policies[0].ladder.steps[0].at, 60);
    }

    #[test]
    fn only_what_a_policy_does_is_its_conduct() {
        let before = policy(&format!("{SITE}{LOGIN}"));
        for (from, to) in [
            ("edge-team", "other-team"),
            ("applies", "stage_max: canary\napplies"),
            ("[8443]", "[8444]"),
            ("kind: Site", "# a comment\nkind: Site"),
        ] {
            let text = format!("{SITE}{LOGIN}").replacen(from, to, 1);
            assert_eq!(policy(&text).conduct, before.conduct, "{from} -> {to}");
            assert!(beside(&text, &[before.kept()]).1.is_empty());
        }
        for (from, to) in [
            ("at: 50", "at: 55"),
            ("for: 10m", "for: 20m"),
            ("applies: [login]", "applies: [api]"),
            (">= 8", ">= 9"),
            ("rules:", "exempt: []\nrules:"),
        ] {
            let text = format!("{SITE}{LOGIN}").replacen(from, to, 1);
            assert_ne!(policy(&text).conduct, before.conduct, "{from} -> {to}");
        }
    }

    #[test]
    fn a_kept_policy_of_a_service_that_is_gone_says_so_and_harms_nothing() {
        let before = policy(&format!("{SITE}{LOGIN}"));
        let text =
            format!("{SITE}{LOGIN}").replace("login:", "portal:").replace("[login]", "[portal]");
        let (compiled, revived) = beside(&text, &[before.kept()]);
        assert_eq!(compiled.policies.len(), 1);
        let said = revived[0].policy.as_ref().unwrap_err().to_string();
        assert!(said.contains("there is no service `login`"), "{said}");
    }

    #[test]
    fn every_shipped_policy_can_be_kept() {
        for file in ["default", "demo.yaml"] {
            let path = format!("{}/../policies/{file}", env!("CARGO_MANIFEST_DIR"));
            let ids = ServiceIds::default();
            let (compiled, _) = load_beside(Path::new(&path), &ids, &[]).unwrap();
            let other = |policy: &Policy| KeptPolicy { conduct: "other".into(), ..policy.kept() };
            let kept: Vec<KeptPolicy> = compiled.policies.iter().map(other).collect();
            let (_, revived) = load_beside(Path::new(&path), &ids, &kept).unwrap();
            assert_eq!(revived.len(), compiled.policies.len());
            for (revived, policy) in revived.iter().zip(&compiled.policies) {
                let again = revived.policy.as_ref().unwrap_or_else(|errors| panic!("{errors}"));
                assert_eq!(again.rules, policy.rules, "{}", policy.name);
                assert_eq!(again.services, policy.services);
            }
        }
    }
}
