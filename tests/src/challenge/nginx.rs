//! nginx in the edge, with the configuration that the documentation shows.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::PORT;
use crate::{
    clock::wait_until,
    net::{Family, Lab},
};

/// How long it may take to start.
const START: Duration = Duration::from_secs(5);

/// The page of the documentation that has the configuration.
const PAGE: &str = "docs/lookup.md";

/// A running nginx. Dropping it ends it.
#[derive(Debug)]
pub struct Nginx {
    child: Child,
    log: PathBuf,
}

impl Nginx {
    /// Starts it, and waits until it listens.
    pub fn start(lab: &Lab) -> Result<Self> {
        let folder = lab.directory().join("nginx");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let configuration = folder.join("nginx.conf");
        fs::write(&configuration, whole(&folder, &documented()?))
            .with_context(|| format!("cannot write {}", configuration.display()))?;
        let log = folder.join("error.log");
        let errors =
            File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        let child = command(lab)
            .arg("-p")
            .arg(&folder)
            .arg("-c")
            .arg(&configuration)
            .stdin(Stdio::null())
            .stderr(errors)
            .spawn()
            .context("cannot start nginx: `cargo xtask setup` installs it")?;
        let mut nginx = Self { child, log };
        let address = SocketAddr::new(lab.link().server(Family::V4), PORT);
        let waited = wait_until("nginx listens", START, || {
            if let Some(status) = nginx.child.try_wait()? {
                bail!("nginx ended with {status}");
            }
            lab.edge().run(|| TcpStream::connect(address).is_ok())
        });
        waited.with_context(|| format!("nginx said:\n{}", nginx.log()))?;
        Ok(nginx)
    }

    /// What it complained of.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Nobody is left to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Debian installs it where only root's PATH leads.
fn command(lab: &Lab) -> Command {
    let place = Path::new("/usr/sbin/nginx");
    lab.edge().command(if place.is_file() { place } else { Path::new("nginx") })
}

/// The configuration as the documentation has it.
fn documented() -> Result<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(PAGE);
    let text =
        fs::read_to_string(&page).with_context(|| format!("cannot read {}", page.display()))?;
    let (_, rest) = text.split_once("\n```nginx\n").context("the page has no such block")?;
    let (block, _) = rest.split_once("\n```").context("the block has no end")?;
    Ok(block.to_owned())
}

/// With what stands around it in every nginx.conf: one process, and all files in the lab's folder.
fn whole(folder: &Path, block: &str) -> String {
    let folder = folder.display();
    format!(
        "daemon off;\nmaster_process off;\nuser root;\npid {folder}/nginx.pid;\nerror_log stderr warn;\n\
         events {{}}\n\
         http {{\naccess_log off;\n\
         client_body_temp_path {folder}/body;\nproxy_temp_path {folder}/proxy;\n\
         fastcgi_temp_path {folder}/fastcgi;\nuwsgi_temp_path {folder}/uwsgi;\n\
         scgi_temp_path {folder}/scgi;\n{block}\n}}\n"
    )
}
