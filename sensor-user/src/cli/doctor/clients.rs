//! Can clients be told apart here, or are they hidden behind a gateway's address?

use super::finding::{Finding, Findings};
use crate::system::fan_in::{self, FanIn};

/// Looks at the connections that are open.
pub(super) fn examine() -> Vec<Finding> {
    const CHECK: &str = "clients";
    let mut findings = Findings::about("host");
    match fan_in::look() {
        Ok(None) => findings
            .ok(CHECK, "not hidden behind a neighbour's address, as far as connections tell"),
        Ok(Some(found)) => findings.warn(CHECK, found.sentence(), FanIn::ADVICE),
        Err(error) => findings.warn(CHECK, error.to_string(), "run this as root"),
    }
    findings.into_list()
}
