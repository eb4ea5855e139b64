//! Who a service is made for.

use serde::Serialize;

/// Who uses a service: what is suspicious of one is usual of the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Audience {
    /// People with browsers.
    Browsers,
    /// Programs: interfaces, agents, other hosts.
    Programs,
    /// Both, or nobody said.
    #[default]
    Both,
}
