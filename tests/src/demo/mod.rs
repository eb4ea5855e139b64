//! The demo: people and attackers arrive at the same server, through a kernel with Weir attached.

mod cast;
mod checks;
mod interrupt;
mod observation;
mod screen;
mod table;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use self::{observation::Observation, screen::Screen};
use crate::{clock::sleep, net::Lab, server::Server, weir::Weir};

/// How often the screen and the observation are renewed.
const LOOK: Duration = Duration::from_millis(200);

/// How much longer than planned the actors may take to finish.
const GRACE: Duration = Duration::from_secs(15);

/// How much of Weir's log is shown when something is not as it must be.
const LOG_LINES: usize = 20;

/// What the demo may be told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Policy file.
    pub policy: PathBuf,
    /// How long the actors play.
    pub lasting: Duration,
}

/// Runs the demo. Returns whether everything was as it must be.
pub fn run(options: &Options) -> Result<bool> {
    interrupt::listen()?;
    let mut screen = Screen::of_stdout();
    screen.title("Weir demo");
    screen.step("two namespaces, one veth pair, a TLS server on ports 443 and 8443")?;
    let lab = Lab::new()?;
    let server = Server::start(&lab)?;
    let weir = Weir::in_lab(&lab)?;
    let interface = lab.link().edge_interface;
    let began = Instant::now();
    let daemon = weir.run(&[interface], &options.policy).context("Weir did not start")?;
    let status = weir.status()?;
    screen.step(&table::attached(&status, began.elapsed()))?;
    let seconds = options.lasting.as_secs();
    screen.step(&format!("everyone arrives at once and stays for {seconds} s:"))?;
    screen.detail(cast::HONEST)?;
    screen.detail(cast::ATTACKERS)?;

    let playing = cast::troupe(&lab, options.lasting).play(&lab, &server)?;
    let mut observation = Observation::default();
    let started = Instant::now();
    while !playing.is_over() {
        if interrupt::came() {
            bail!("interrupted");
        }
        if started.elapsed() > options.lasting + GRACE {
            bail!("the actors did not finish; weir said:\n{}", daemon.log());
        }
        observation.look(&weir, playing.reports())?;
        screen
            .live(|width| table::live(&observation, started.elapsed(), options.lasting, width))?;
        sleep(LOOK);
    }
    let reports = playing.finish()?;
    // A verdict of the last moment is judged a second later, too.
    let settled = Instant::now() + Duration::from_millis(1200);
    while Instant::now() < settled {
        observation.look(&weir, reports.clone())?;
        sleep(LOOK);
    }
    screen.clear_live()?;
    let status = weir.status()?;
    screen.block(|paint| table::result(&observation, &status, paint))?;
    let checks = checks::all(&observation, &status);
    screen.block(|paint| checks.iter().map(|check| check.line(paint)).collect())?;
    let passed = checks.iter().all(|check| check.holds);
    screen.block(|paint| vec![checks::verdict(passed, paint)])?;
    if !passed {
        let log = daemon.log();
        let last = log.lines().count().saturating_sub(LOG_LINES);
        let lines = status.warnings.iter().map(String::as_str).chain(log.lines().skip(last));
        screen.block(|paint| lines.map(|line| paint.faint(&format!("  {line}"))).collect())?;
    }
    Ok(passed)
}
