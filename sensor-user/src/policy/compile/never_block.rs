//! Checks `never_block`: ports are of no other use, and a range is not everybody.

use super::Report;
use crate::policy::{
    NamedRange, NeverBlock,
    raw::{RawNeverBlock, RawRange},
};

/// A range this wide is more than anybody owns.
const WIDEST_V4: u8 = 8;
/// The same for IPv6: unique local addresses are an /7 (RFC 4193).
const WIDEST_V6: u8 = 7;

pub(super) fn compile(report: &mut Report<'_>, raw: &RawNeverBlock) -> NeverBlock {
    let mut never = NeverBlock::default();
    if let Some(ports) = &raw.management {
        let mut known: Vec<u16> = Vec::new();
        for port in &ports.items {
            if known.contains(&port.value) {
                report.error(port.at, format!("port {} is there twice", port.value), None);
            }
            known.push(port.value);
        }
        never.management = Some(known);
    }
    if let Some(most) = raw.max_sessions.as_ref().and_then(|typed| typed.value.try_into().ok()) {
        never.max_sessions = most;
    }
    never.ranges = raw.ranges.iter().map(|range| compile_range(report, range)).collect();
    never
}

fn compile_range(report: &mut Report<'_>, raw: &RawRange) -> NamedRange {
    let name = &raw.name;
    if raw.is_empty {
        let message = format!("the range `{}` has no member", name.value);
        let help = format!("{}: [10.0.0.0/8]", name.value);
        report.error(name.at, message, Some(help));
    }
    for net in &raw.nets {
        let widest = if net.value.addr().is_ipv4() { WIDEST_V4 } else { WIDEST_V6 };
        if net.value.prefix_len() < widest {
            let message = format!("{} is wider than anybody's own range", net.value);
            let help = format!(
                "nothing wider than /{widest} is spared; to block nobody, set \
                                `sensor: {{mode: observe}}`"
            );
            report.error(net.at, message, Some(help));
        }
    }
    NamedRange {
        name: name.value.clone(),
        nets: raw.nets.iter().map(|net| net.value.trunc()).collect(),
    }
}
