//! The name of a lab, which says who made it: what a crash leaves behind can be told from what a
//! living process uses.

use std::{
    fmt, fs,
    str::FromStr,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result};

/// What every namespace of a lab begins with.
pub(super) const PREFIX: &str = "weir-lab-";

/// Where labs keep their files, one directory each.
pub(super) const ROOT: &str = "/run/weir-lab";

/// A lab's name: `<pid>-<start time of that process>-<count>`. The start time tells the maker from
/// a later process that got the same pid.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LabId {
    pid: u32,
    started: u64,
    count: u32,
}

impl LabId {
    /// A name that no lab of this boot had before.
    pub fn fresh() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let pid = std::process::id();
        let started = start_time(pid).context("cannot read the start time of this process")?;
        Ok(Self { pid, started, count: COUNT.fetch_add(1, Ordering::Relaxed) })
    }

    /// Whether the process that made the lab is still there.
    #[must_use]
    pub fn maker_lives(&self) -> bool {
        start_time(self.pid) == Some(self.started)
    }

    /// The name of one of the lab's namespaces.
    pub(super) fn namespace(&self, role: &str) -> String {
        format!("{PREFIX}{self}-{role}")
    }

    /// The lab that a namespace of this name belongs to.
    pub(super) fn of_namespace(name: &str) -> Option<Self> {
        let (id, _role) = name.strip_prefix(PREFIX)?.rsplit_once('-')?;
        id.parse().ok()
    }
}

impl fmt::Display for LabId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.pid, self.started, self.count)
    }
}

impl FromStr for LabId {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.split('-');
        let mut next = || parts.next().with_context(|| format!("{text:?} is not a lab's name"));
        let id = Self { pid: next()?.parse()?, started: next()?.parse()?, count: next()?.parse()? };
        anyhow::ensure!(parts.next().is_none(), "{text:?} is not a lab's name");
        Ok(id)
    }
}

/// When a living process started, in clock ticks since boot: field 22 of `/proc/<pid>/stat`,
/// counted after the command name, which may hold spaces and parentheses (proc_pid_stat(5)). A
/// process that ended and was not yet reaped does not live.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_back_to_its_lab() {
        let id = LabId::fresh().unwrap();
        assert_eq!(LabId::of_namespace(&id.namespace("edge")), Some(id));
        assert!(id.maker_lives());
        assert_ne!(LabId::fresh().unwrap(), id);
    }

    #[test]
    fn another_process_with_the_same_pid_is_not_the_maker() {
        let id = LabId::fresh().unwrap();
        assert!(!LabId { started: id.started + 1, ..id }.maker_lives());
    }

    #[test]
    fn a_process_that_only_waits_to_be_reaped_does_not_live() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(start_time(child.id()).is_some());
        child.kill().unwrap();
        crate::clock::wait_until("it ended", std::time::Duration::from_secs(5), || {
            Ok(start_time(child.id()).is_none())
        })
        .unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn other_names_are_nobodys_lab() {
        for name in ["weir-lab-edge", "weir-lab-1-2-edge", "weir-lab-1-2-3-4-edge", "other"] {
            assert_eq!(LabId::of_namespace(name), None, "{name}");
        }
    }
}
