//! What this process may do (capabilities(7)).

use std::{fs, io};

/// A capability that Weir needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Attach to interfaces, end sockets.
    NetAdmin,
    /// Load tracing-grade programs: pointer arithmetic that the verifier otherwise refuses.
    Perfmon,
    /// Load programs and make maps.
    Bpf,
    /// Everything above on kernels that know it only by this name; look up programs by id.
    SysAdmin,
}

impl Capability {
    /// The three that the daemon runs with.
    pub const DAEMON: [Self; 3] = [Self::Bpf, Self::NetAdmin, Self::Perfmon];

    const fn bit(self) -> u32 {
        match self {
            Self::NetAdmin => 12,
            Self::SysAdmin => 21,
            Self::Perfmon => 38,
            Self::Bpf => 39,
        }
    }

    /// What does not work without it, in a sentence that begins with its name.
    #[must_use]
    pub fn without(self) -> String {
        let fails = match self {
            Self::NetAdmin => {
                "Weir cannot attach to interfaces, nor end connections of those it drops"
            }
            Self::Perfmon => {
                "the kernel refuses Weir's programs, whose arithmetic on packets needs it"
            }
            Self::Bpf => "Weir cannot load programs, make maps or write verdicts",
            Self::SysAdmin => "a foreign program is named by its number only",
        };
        format!("without {} {fails}", self.name())
    }

    /// As systemd and the kernel's documentation write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::Perfmon => "CAP_PERFMON",
            Self::Bpf => "CAP_BPF",
        }
    }
}

/// A set of capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// The effective set of this thread.
    pub fn effective() -> io::Result<Self> {
        let status = fs::read_to_string("/proc/thread-self/status")?;
        Self::parse(&status).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "no CapEff in /proc/thread-self/status")
        })
    }

    fn parse(status: &str) -> Option<Self> {
        let hex = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
        u64::from_str_radix(hex.trim(), 16).ok().map(Self)
    }

    /// Whether `capability` is held; `CAP_SYS_ADMIN` stands in for BPF and PERFMON
    /// (`bpf_capable()` in include/linux/capability.h).
    #[must_use]
    pub const fn holds(self, capability: Capability) -> bool {
        self.0 >> capability.bit() & 1 == 1
            || (matches!(capability, Capability::Bpf | Capability::Perfmon)
                && self.0 >> Capability::SysAdmin.bit() & 1 == 1)
    }

    /// Those of [`Capability::DAEMON`] that are missing.
    #[must_use]
    pub fn missing(self) -> Vec<Capability> {
        Capability::DAEMON.into_iter().filter(|capability| !self.holds(*capability)).collect()
    }
}

/// Whether this process is in a user namespace of its own, where capabilities do not reach BPF.
#[must_use]
pub fn in_user_namespace() -> bool {
    fs::read_to_string("/proc/self/uid_map")
        .is_ok_and(|map| map.split_whitespace().collect::<Vec<_>>() != ["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sys_admin_stands_in_for_bpf_but_not_for_net_admin() {
        let only =
            |bit: u32| Capabilities::parse(&format!("CapEff:\t{:016x}", 1u64 << bit)).unwrap();
        assert_eq!(only(21).missing(), [Capability::NetAdmin]);
        assert_eq!(only(12).missing(), [Capability::Bpf, Capability::Perfmon]);
        assert!(Capabilities::parse("CapEff:\t000000c000001000").unwrap().missing().is_empty());
    }
}
