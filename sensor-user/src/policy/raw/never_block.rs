//! The Site's section `never_block` as typed.

use super::{Fields, IpNet, Node, Report, Typed, TypedList, list, prefix, quantity, whole};
use crate::policy::form::NEVER_BLOCK;

/// A range as typed.
#[derive(Debug)]
pub(in crate::policy) struct RawRange {
    pub(in crate::policy) name: Typed<String>,
    pub(in crate::policy) nets: Vec<Typed<IpNet>>,
    /// Whether nothing was typed.
    pub(in crate::policy) is_empty: bool,
}

/// `never_block` as typed.
#[derive(Debug, Default)]
pub(in crate::policy) struct RawNeverBlock {
    pub(in crate::policy) management: Option<TypedList<Typed<u16>>>,
    pub(in crate::policy) max_sessions: Option<Typed<i64>>,
    pub(in crate::policy) ranges: Vec<RawRange>,
}

pub(super) fn read(report: &mut Report<'_>, node: &Node) -> RawNeverBlock {
    let Some(fields) = Fields::read(report, node, &NEVER_BLOCK) else {
        return RawNeverBlock::default();
    };
    let management = fields.get("management").map(|_| {
        fields.list(report, "management", |report, node, shape| {
            let port = whole(report, node, shape)?;
            Some(Typed { value: u16::try_from(port.value).ok()?, at: port.at })
        })
    });
    let max_sessions = fields.whole(report, "max_sessions");
    let mut ranges = Vec::new();
    for (name, node) in fields.named(report, "ranges") {
        let items = list(report, node, "addresses");
        let is_empty = items.is_empty();
        let what = "an address or prefix";
        let nets = items.iter().filter_map(|item| quantity(report, item, what, prefix)).collect();
        ranges.push(RawRange { name, nets, is_empty });
    }
    RawNeverBlock { management, max_sessions, ranges }
}
