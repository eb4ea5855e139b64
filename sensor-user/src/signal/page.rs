//! The page on signals: every example compiles, every reason is on it.

use std::path::Path;

use super::refusal::Refusal;
use crate::policy::{self, ServiceIds};

const PAGE: &str = include_str!("../../../docs/signals.md");

/// The blocks of a language.
fn blocks(language: &str) -> Vec<&'static str> {
    let begin = format!("```{language}\n");
    let blocks = PAGE.split(begin.as_str()).skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap()).collect()
}

/// An example as a policy: what it shows of the Site, and its rules.
fn policy_of(block: &str) -> String {
    let (site, rules) = match block.split_once("---\n") {
        Some((site, rules)) => (site, rules),
        None if block.starts_with("rules:") => ("", block),
        None => (block, "rules: [{name: r, points: 60, when: source.connections_10s > 60}]\n"),
    };
    format!(
        "kind: Site\n{site}services: {{web: {{tcp: [443]}}}}\n\
         ladders: {{default: [{{at: 30, action: mark, for: 10m}}]}}\n\
         ---\nkind: Policy\nmetadata: {{name: p}}\napplies: [web]\n{rules}"
    )
}

#[test]
fn every_example_compiles_without_a_warning() {
    let blocks = blocks("yaml");
    assert_eq!(blocks.len(), 9);
    for block in blocks {
        let text = policy_of(block);
        let policy = policy::parse("page", &text, Path::new("/etc/weir"), &ServiceIds::default())
            .unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        assert!(policy.warnings.is_empty(), "{:?}\n{text}", policy.warnings);
    }
}

#[test]
fn the_message_on_the_page_is_understood() {
    let hearing = super::entry::tests::hearing();
    let [message] = blocks("json")[..] else { panic!() };
    let heard = hearing.message(message.trim().as_bytes(), &super::stamp::Now::here()).unwrap();
    assert_eq!((&*heard.name, heard.port), ("login_failed", 51_234));
    assert!(heard.entity != 0 && heard.endpoint != 0);
}

#[test]
fn every_reason_is_on_the_page() {
    for refusal in Refusal::ALL {
        let row = format!("| `{}` |", refusal.name());
        assert!(PAGE.lines().any(|line| line.starts_with(&row)), "{row}");
    }
}
