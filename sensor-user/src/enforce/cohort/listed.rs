//! Who is allow-listed: members of groups that policies spare, and of operators' allows.

use std::sync::Arc;

use ipnet::IpNet;
use weir_common::abi::SourceKey;

use crate::{
    policy::{CompiledPolicy, Group},
    profile::source,
};

/// Who is allow-listed now.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    groups: Vec<Arc<Group>>,
    allowed: Option<Group>,
}

impl Listed {
    /// The groups that a policy's exemptions name, and what operators allow.
    #[must_use]
    pub fn new(policy: &CompiledPolicy, allowed: &Vec<IpNet>) -> Self {
        let mut groups: Vec<Arc<Group>> = Vec::new();
        for exemption in policy.policies.iter().flat_map(|policy| &policy.exempt) {
            if !groups.iter().any(|known| Arc::ptr_eq(known, &exemption.group)) {
                groups.push(Arc::clone(&exemption.group));
            }
        }
        let is_any = !allowed.is_empty();
        let allowed = is_any.then(|| Group::new("allowed".into(), None, None, allowed));
        Self { groups, allowed }
    }

    /// Whether a source is, at a time (seconds since 1970).
    pub(super) fn contains(&self, source: &SourceKey, unix_s: u64) -> bool {
        if self.groups.is_empty() && self.allowed.is_none() {
            return false;
        }
        let net = source::net(source);
        self.groups
            .iter()
            .map(AsRef::as_ref)
            .chain(&self.allowed)
            .any(|it| it.touches(&net, unix_s))
    }
}
