//! The folder that holds the release, and how a program from it is run.

use std::{
    env, fs,
    io::{Write, stdout},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::net::{Lab, Namespace, run};

/// The folder's place in the target directory; xtask's setup puts it there.
const PLACE: &str = "clients/trixie";

/// Where programs are: the release's, and on any Linux `unshare`.
const SEARCH_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// What a program gets beyond its time before it is killed.
const GRACE: &str = "--kill-after=2";

/// An unpacked release with clients and tools.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The folder in the target directory of this program, if setup put it there.
    #[must_use]
    pub fn find() -> Option<Self> {
        let this = env::current_exe().ok()?;
        let root = this.ancestors().map(|folder| folder.join(PLACE)).find(|root| root.is_dir())?;
        Some(Self { root })
    }

    /// Says what was skipped and how to have it, past the test harness, which would keep a passing
    /// test's output to itself.
    pub fn say_missing(test: &str) {
        let line = "no clients to run; `cargo xtask setup --clients` fetches them";
        // Without a standard output there is nobody to tell.
        let _ = writeln!(stdout(), "SKIPPED-OPTIONAL: {test}: {line}");
    }

    /// A directory inside the folder for one lab's files.
    pub fn workplace(&self, lab: &Lab) -> Result<Workplace> {
        let inside = Path::new("/tmp").join(format!("weir-lab-{}", lab.id()));
        let outside = self.outside(&inside);
        fs::create_dir_all(&outside)
            .with_context(|| format!("cannot make {}", outside.display()))?;
        Ok(Workplace { inside, outside })
    }

    /// Runs a program inside the folder and a namespace; what it printed, if it succeeded in time.
    pub fn run(
        &self,
        namespace: &Namespace,
        patience: Duration,
        words: &[impl AsRef<str>],
        input: &str,
    ) -> Result<String> {
        run(&mut self.command(namespace, patience, words), input)
    }

    /// Lets a program try for a while what nobody answers. How it ends says nothing.
    pub fn attempt(
        &self,
        namespace: &Namespace,
        patience: Duration,
        words: &[impl AsRef<str>],
    ) -> Result<()> {
        let mut command = self.command(namespace, patience, words);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
        // Those of `timeout` that it could not do its own part.
        ensure!(!matches!(status.code(), Some(125..=127)), "{command:?} ended with {status}");
        Ok(())
    }

    /// The version in a program's answer: the first word with a digit and a dot.
    pub fn version(&self, namespace: &Namespace, words: &[&str]) -> Result<String> {
        let text = self.run(namespace, Duration::from_secs(30), words, "")?;
        text.split_whitespace()
            .find(|word| word.contains('.') && word.contains(|c: char| c.is_ascii_digit()))
            .map(str::to_owned)
            .with_context(|| format!("{} printed no version: {text}", words.join(" ")))
    }

    /// `unshare` makes the program the first of its own processes, which end with it, and gives it
    /// the folder as root and a `/proc` that nobody else sees.
    fn command(
        &self,
        namespace: &Namespace,
        patience: Duration,
        words: &[impl AsRef<str>],
    ) -> Command {
        let mut command = namespace.command("unshare");
        command
            .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--wd=/tmp"])
            .arg(format!("--root={}", self.root.display()))
            .args(["timeout", GRACE, &patience.as_secs().to_string()])
            .args(words.iter().map(AsRef::as_ref))
            .env_clear()
            .env("PATH", SEARCH_PATH)
            .env("HOME", "/root")
            .env("LC_ALL", "C.UTF-8");
        command
    }

    fn outside(&self, inside: &Path) -> PathBuf {
        self.root.join(inside.strip_prefix("/").unwrap_or(inside))
    }
}

/// A directory that programs in the folder and the test both see. Dropping it removes it.
#[derive(Debug)]
pub struct Workplace {
    inside: PathBuf,
    outside: PathBuf,
}

impl Workplace {
    /// A file's path as the programs see it.
    #[must_use]
    pub fn inside(&self, name: &str) -> String {
        self.inside.join(name).display().to_string()
    }

    /// The same file's path as the test sees it.
    #[must_use]
    pub fn outside(&self, name: &str) -> PathBuf {
        self.outside.join(name)
    }

    /// Puts a text there.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.outside(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        // Nobody is left to tell, and what stays is in the target directory.
        let _ = fs::remove_dir_all(&self.outside);
    }
}
