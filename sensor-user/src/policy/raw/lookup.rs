//! The Site's section `lookup`.

use super::{Fields, Node, Report, Typed, quantity};
use crate::policy::lookup::{LookupSettings, header, loopback};

/// Reads it: what each field says does not depend on anything else.
pub(super) fn read(report: &mut Report<'_>, node: &Node) -> LookupSettings {
    let Some(fields) = Fields::read(report, node, "lookup", &["listen", "header"]) else {
        return LookupSettings::default();
    };
    let listen = fields
        .get("listen")
        .and_then(|node| quantity(report, node, "a loopback address and port", loopback));
    let header = fields
        .get("header")
        .and_then(|node| quantity(report, node, "the name of a header", header));
    let value = |typed: Option<Typed<_>>| typed.map(|typed| typed.value);
    LookupSettings { listen: value(listen), header: header.map(|typed| typed.value) }
}
