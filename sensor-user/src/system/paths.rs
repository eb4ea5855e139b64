//! Where things live, so that two instances with different paths never meet.

use std::path::PathBuf;

use weir_common::abi::{ABI_VERSION, map};

/// The ABI version that names the pin directory: [`ABI_VERSION`]. A debug build obeys
/// `WEIR_TEST_ABI`, so that a test has two versions of one program.
#[must_use]
pub fn abi_version() -> u32 {
    #[cfg(debug_assertions)]
    if let Some(version) = std::env::var("WEIR_TEST_ABI").ok().and_then(|it| it.parse().ok()) {
        return version;
    }
    ABI_VERSION
}

/// The three directories that everything else is derived from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// Mount point of a BPF file system (`--bpffs`).
    pub bpffs: PathBuf,
    /// What must survive a reboot (`--state-dir`).
    pub state_dir: PathBuf,
    /// Socket and lock (`--run-dir`).
    pub run_dir: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            bpffs: "/sys/fs/bpf".into(),
            state_dir: "/var/lib/weir".into(),
            run_dir: "/run/weir".into(),
        }
    }
}

impl Paths {
    /// Everything that Weir pins is below this directory.
    #[must_use]
    pub fn pins(&self) -> PathBuf {
        self.bpffs.join("weir")
    }

    /// The pinned kill switch: outside the versioned directory, so that it holds for every version.
    #[must_use]
    pub fn kill_map(&self) -> PathBuf {
        self.pins().join(map::KILL.name)
    }

    /// The folder of this ABI version.
    #[must_use]
    pub fn version(&self) -> PathBuf {
        self.pins().join(format!("v{}", abi_version()))
    }

    /// A pinned map of this ABI version.
    #[must_use]
    pub fn map(&self, name: &str) -> PathBuf {
        self.maps().join(name)
    }

    /// Pinned maps of this ABI version.
    #[must_use]
    pub fn maps(&self) -> PathBuf {
        self.version().join("maps")
    }

    /// Pinned programs of this ABI version.
    #[must_use]
    pub fn programs(&self) -> PathBuf {
        self.version().join("programs")
    }

    /// Pinned links: outside the versioned directory, because the next version must find them.
    #[must_use]
    pub fn links(&self) -> PathBuf {
        self.pins().join("links")
    }

    /// The kill switch as it must survive a reboot: a file that exists while the switch is on.
    #[must_use]
    pub fn kill_file(&self) -> PathBuf {
        self.state_dir.join("kill")
    }

    /// The store: what must survive the daemon, and the boot.
    #[must_use]
    pub fn store_file(&self) -> PathBuf {
        self.state_dir.join("weir.db")
    }

    /// The mode that is on, while one is.
    #[must_use]
    pub fn mode_file(&self) -> PathBuf {
        self.state_dir.join("mode.json")
    }

    /// Who turned the kill switch last.
    #[must_use]
    pub fn kill_note(&self) -> PathBuf {
        self.state_dir.join("kill.by")
    }

    /// The numbers of services.
    #[must_use]
    pub fn services_file(&self) -> PathBuf {
        self.state_dir.join("services.json")
    }

    /// Which hellos stand behind JA4s.
    #[must_use]
    pub fn fingerprints_file(&self) -> PathBuf {
        self.state_dir.join("fingerprints.json")
    }

    /// The key of pseudonyms.
    #[must_use]
    pub fn entity_key(&self) -> PathBuf {
        self.state_dir.join("entity.key")
    }

    /// Where applications send signals, a datagram each.
    #[must_use]
    pub fn signal_datagrams(&self) -> PathBuf {
        self.run_dir.join("signals.sock")
    }

    /// Where applications send signals, a line each.
    #[must_use]
    pub fn signal_streams(&self) -> PathBuf {
        self.run_dir.join("signals.stream")
    }

    /// What is usual at services.
    #[must_use]
    pub fn baselines_file(&self) -> PathBuf {
        self.state_dir.join("baselines.json")
    }

    /// The last good copies of feeds.
    #[must_use]
    pub fn feeds_folder(&self) -> PathBuf {
        self.state_dir.join("feeds")
    }

    /// The daemon's control socket.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.run_dir.join("control.sock")
    }

    /// Where proxies ask about clients, and nothing else can be asked.
    #[must_use]
    pub fn lookup_socket(&self) -> PathBuf {
        self.run_dir.join("lookup.sock")
    }

    /// Held by the one daemon of this run directory.
    #[must_use]
    pub fn daemon_lock(&self) -> PathBuf {
        self.run_dir.join("daemon.lock")
    }
}
