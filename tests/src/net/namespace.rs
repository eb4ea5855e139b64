//! One network namespace, and ways to do something inside it.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, AsRawFd},
        unix::process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns};

use super::command::run;

/// Where `ip netns` keeps its names.
pub(super) const DIRECTORY: &str = "/run/netns";

/// A network namespace with a name that `ip netns` knows. Dropping it removes it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    file: Arc<File>,
}

impl Namespace {
    /// Makes a namespace with its loopback up.
    pub fn create(name: &str) -> Result<Self> {
        run(Command::new("ip").args(["netns", "add", name]), "")?;
        let path = Path::new(DIRECTORY).join(name);
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        let namespace = Self { name: name.to_owned(), file: Arc::new(file) };
        namespace.ip("link set lo up\n")?;
        Ok(namespace)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is bound, for tools that take a path.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        Path::new(DIRECTORY).join(&self.name)
    }

    /// Runs `action` on a thread inside the namespace and waits for it.
    pub fn run<T: Send>(&self, action: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    enter(&self.file)?;
                    Ok(action())
                })
                .join()
                .map_err(|_| anyhow!("a thread inside {} panicked", self.name))?
        })
    }

    /// Starts a thread inside the namespace.
    pub fn spawn<T: Send + 'static>(
        &self,
        thread_name: &str,
        action: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<Result<T>>> {
        let file = Arc::clone(&self.file);
        thread::Builder::new()
            .name(thread_name.to_owned())
            .spawn(move || {
                enter(&file)?;
                Ok(action())
            })
            .with_context(|| format!("cannot start thread {thread_name}"))
    }

    /// Runs a future inside the namespace, on a single-threaded runtime of its own.
    pub fn block_on<F>(&self, action: impl FnOnce() -> F + Send) -> Result<F::Output>
    where
        F: Future,
        F::Output: Send,
    {
        self.run(|| Ok(runtime()?.block_on(action())))?
    }

    /// A command that will run inside the namespace.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let file = Arc::clone(&self.file);
        let mut command = Command::new(program);
        // SAFETY: between fork and exec only async-signal-safe calls are allowed; setns is a
        // plain system call, and turning its errno into an io::Error allocates nothing.
        unsafe {
            command.pre_exec(move || {
                if libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) == 0 {
                    Ok(())
                } else {
                    Err(io::Error::last_os_error())
                }
            });
        }
        command
    }

    /// Runs `ip` with a batch of commands, one a line, inside the namespace.
    pub fn ip(&self, batch: &str) -> Result<()> {
        run(self.command("ip").args(["-force", "-batch", "-"]), batch)
            .with_context(|| format!("while configuring {}", self.name))
            .map(drop)
    }

    /// Sets a variable under `/proc/sys`, such as `net/ipv4/tcp_syncookies`, which shows every
    /// thread those of its own namespace.
    pub fn sysctl(&self, variable: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys").join(variable);
        self.run(|| {
            fs::write(&path, value)
                .with_context(|| format!("cannot set {variable} to {value} in {}", self.name))
        })?
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Nobody is left to tell; `weir-lab clean` removes what stays.
        let _ = run(Command::new("ip").args(["netns", "del", &self.name]), "");
    }
}

/// Moves the calling thread, and no other, into a namespace.
fn enter(file: &File) -> Result<()> {
    setns(file.as_fd(), CloneFlags::CLONE_NEWNET).context("cannot enter the network namespace")
}

/// A runtime whose sockets belong to the namespace of the thread that builds it.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot build a tokio runtime")
}
