//! What is never blocked, as a Site declares it.

use ipnet::IpNet;
use serde::Serialize;

/// Peers of sessions that count at most, unless the Site says otherwise.
const SESSIONS: usize = 64;

/// The number of the service that stands for management ports which no service declares: the last one,
/// which no name is given while another is free.
pub const MANAGEMENT: u8 = u8::MAX;

/// A range by its name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct NamedRange {
    /// Its name.
    pub name: String,
    /// Its prefixes.
    pub nets: Vec<IpNet>,
}

/// The Site's section `never_block`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct NeverBlock {
    /// TCP ports that the host is managed by; `None`: where sshd listens.
    pub management: Option<Vec<u16>>,
    /// Most peers of sessions that count; 0 = none.
    pub max_sessions: usize,
    /// Ranges in which nobody is blocked.
    pub ranges: Vec<NamedRange>,
}

impl Default for NeverBlock {
    fn default() -> Self {
        Self { management: None, max_sessions: SESSIONS, ranges: Vec::new() }
    }
}
