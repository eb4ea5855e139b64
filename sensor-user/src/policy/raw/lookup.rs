//! The Site's section `lookup`.

use super::{Fields, Node, Report, Typed};
use crate::policy::{
    form::LOOKUP,
    lookup::{LookupSettings, header, loopback},
};

/// Reads it: what each field says does not depend on anything else.
pub(super) fn read(report: &mut Report<'_>, node: &Node) -> LookupSettings {
    let Some(fields) = Fields::read(report, node, &LOOKUP) else {
        return LookupSettings::default();
    };
    let listen = fields.quantity(report, "listen", loopback);
    let header = fields.quantity(report, "header", header);
    let value = |typed: Option<Typed<_>>| typed.map(|typed| typed.value);
    LookupSettings { listen: value(listen), header: header.map(|typed| typed.value) }
}
