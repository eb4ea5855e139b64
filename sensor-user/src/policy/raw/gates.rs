//! The Site's section `gates` as typed. What is not typed stays as in the standard set.

use super::{Fields, Node, Report, Typed, Value, duration_ns, keyword};
use crate::{
    enforce::gate::{Auto, GateSet, Promote, Rollback},
    policy::{
        form::{GATES, PROMOTE, ROLLBACK},
        quantity::share_ppm,
    },
};

/// What `auto` can be beside `true` and `false`.
pub(in crate::policy) const AUTO: &[(&str, Auto)] = &[("back", Auto::Back)];

/// A set of gates by its name.
#[derive(Debug)]
pub(in crate::policy) struct RawGates {
    pub(in crate::policy) name: Typed<String>,
    pub(in crate::policy) set: GateSet,
}

/// Whether a changed policy that acts watches beside the old one first.
pub(in crate::policy) const CHANGES: &[(&str, bool)] = &[("shadow", true), ("at-once", false)];

pub(super) fn read(report: &mut Report<'_>, name: Typed<String>, node: &Node) -> Option<RawGates> {
    let fields = Fields::read(report, node, &GATES)?;
    let mut set = GateSet { name: name.value.as_str().into(), ..GateSet::default() };
    put(&mut set.canary_ppm, fields.quantity(report, "canary", share_ppm));
    put(&mut set.auto, fields.get("auto").and_then(|node| auto(report, node)));
    put(&mut set.retry_after_ns, fields.quantity(report, "retry_after", duration_ns));
    if let Some(node) = fields.get("promote") {
        read_promote(report, node, &mut set.promote);
    }
    if let Some(node) = fields.get("rollback") {
        read_rollback(report, node, &mut set.rollback);
    }
    Some(RawGates { name, set })
}

fn read_promote(report: &mut Report<'_>, node: &Node, promote: &mut Promote) {
    let Some(fields) = Fields::read(report, node, &PROMOTE) else { return };
    put(&mut promote.after_ns, fields.quantity(report, "after", duration_ns));
    put(&mut promote.min_connections, count(&fields, report, "min_connections"));
    put(&mut promote.min_trusted_sources, count(&fields, report, "min_trusted_sources"));
    put(
        &mut promote.trusted_would_drop_max_ppm,
        fields.quantity(report, "trusted_would_drop_max", share_ppm),
    );
    put(&mut promote.coverage_min_ppm, fields.quantity(report, "coverage_min", share_ppm));
    put(
        &mut promote.labelled_human_would_drop_max,
        count(&fields, report, "labelled_human_would_drop_max"),
    );
}

fn read_rollback(report: &mut Report<'_>, node: &Node, rollback: &mut Rollback) {
    let Some(fields) = Fields::read(report, node, &ROLLBACK) else { return };
    put(&mut rollback.min_connections, count(&fields, report, "min_connections"));
    put(&mut rollback.min_trusted_sources, count(&fields, report, "min_trusted_sources"));
    put(&mut rollback.min_trusted_dropped, count(&fields, report, "min_trusted_dropped"));
    put(
        &mut rollback.trusted_dropped_max_ppm,
        fields.quantity(report, "trusted_dropped_max", share_ppm),
    );
    put(
        &mut rollback.labelled_human_dropped_max,
        count(&fields, report, "labelled_human_dropped_max"),
    );
    put(&mut rollback.coverage_min_ppm, fields.quantity(report, "coverage_min", share_ppm));
}

fn count(fields: &Fields<'_>, report: &mut Report<'_>, name: &str) -> Option<Typed<u64>> {
    let typed = fields.whole(report, name)?;
    Some(Typed { value: u64::try_from(typed.value).ok()?, at: typed.at })
}

fn put<T>(field: &mut T, typed: Option<Typed<T>>) {
    if let Some(typed) = typed {
        *field = typed.value;
    }
}

fn auto(report: &mut Report<'_>, node: &Node) -> Option<Typed<Auto>> {
    match node.value {
        Value::Bool(true) => Some(Typed { value: Auto::Both, at: node.at }),
        Value::Bool(false) => Some(Typed { value: Auto::Off, at: node.at }),
        _ => keyword(report, node, "`true`, `false` or `back`", AUTO),
    }
}
