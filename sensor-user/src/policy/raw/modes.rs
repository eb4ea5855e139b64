//! The Site's section `modes` as typed.

use super::{Fields, Mode, Node, RawRate, Report, Span, Typed, duration_ns, read_rate};
use crate::policy::form::{MODE, MODE_POLICY, MODE_SERVICE};

/// What is different for a service.
#[derive(Debug)]
pub(in crate::policy) struct RawModeService {
    pub(in crate::policy) name: Typed<String>,
    pub(in crate::policy) syn_guard: Option<RawRate>,
}

/// What is different for a policy.
#[derive(Debug)]
pub(in crate::policy) struct RawModePolicy {
    pub(in crate::policy) name: Typed<String>,
    pub(in crate::policy) thresholds: Option<Typed<i64>>,
    pub(in crate::policy) ladder: Option<Typed<String>>,
}

/// A mode as typed.
#[derive(Debug)]
pub(in crate::policy) struct RawMode {
    pub(in crate::policy) at: Span,
    pub(in crate::policy) name: Typed<String>,
    pub(in crate::policy) term_ns: Option<Typed<u64>>,
    pub(in crate::policy) mode: Option<Typed<Mode>>,
    pub(in crate::policy) thresholds: Option<Typed<i64>>,
    pub(in crate::policy) ladder: Option<Typed<String>>,
    pub(in crate::policy) syn_guard: Option<RawRate>,
    pub(in crate::policy) services: Vec<RawModeService>,
    pub(in crate::policy) policies: Vec<RawModePolicy>,
    /// Whether nothing was typed that makes a difference.
    pub(in crate::policy) is_empty: bool,
}

pub(super) fn read(report: &mut Report<'_>, name: Typed<String>, node: &Node) -> Option<RawMode> {
    let fields = Fields::read(report, node, &MODE)?;
    let term_ns = fields.quantity(report, "for", duration_ns);
    let mode = fields.word(report, "mode", &[("observe", Mode::Observe)]);
    let thresholds = fields.whole(report, "thresholds");
    let ladder = fields.name(report, "ladder");
    let syn_guard = fields.get("syn_guard").and_then(|node| read_rate(report, node));
    let mut services = Vec::new();
    for (name, node) in fields.named(report, "services") {
        let Some(fields) = Fields::read(report, node, &MODE_SERVICE) else { continue };
        let syn_guard = fields.get("syn_guard").and_then(|node| read_rate(report, node));
        services.push(RawModeService { name, syn_guard });
    }
    let mut policies = Vec::new();
    for (name, node) in fields.named(report, "policies") {
        let Some(fields) = Fields::read(report, node, &MODE_POLICY) else { continue };
        let thresholds = fields.whole(report, "thresholds");
        let ladder = fields.name(report, "ladder");
        policies.push(RawModePolicy { name, thresholds, ladder });
    }
    let different = ["mode", "thresholds", "ladder", "syn_guard", "services", "policies"];
    let is_empty = different.iter().all(|field| fields.get(field).is_none());
    let at = node.at;
    Some(RawMode {
        at,
        name,
        term_ns,
        mode,
        thresholds,
        ladder,
        syn_guard,
        services,
        policies,
        is_empty,
    })
}
