//! `weir replay`

mod bar;

use std::{
    io::{self, BufWriter, Write},
    num::NonZeroUsize,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use anyhow::bail;
use clap::{Args, ValueEnum};
use ipnet::IpNet;

use super::Outcome;
use crate::{
    enforce::stage::Stage,
    policy::{self, ServiceIds},
    replay::{Done, Form, Job, JobError, Meter},
};

/// Judge captures and recordings by a policy, as the daemon would have.
///
/// The packets go through the same stages, and their events through the same engine, as on a host
/// that runs Weir; nothing is attached, and no privileges are needed. Every decision is a line, and
/// what was read is summed up on standard error. The action is what the ladder gives, whatever the
/// policy's stage. Captures are pcap or pcapng, also in gzip or zstd; recordings are what `weir run
/// --record` writes. Each file is judged on its own.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    weir replay --policy policy.yaml monday.pcapng.zst\n  \
    weir replay --policy policies/ --server 198.51.100.0/24 --join a.pcap b.pcap\n  \
    weir replay --policy policy.yaml --format json visits.pcap | jq -r 'select(.action == \"drop\").source'\n  \
    weir replay --policy policy.yaml --features visits.pcap | jq .peak\n  \
    weir replay --policy policy.yaml --join events.weir.1 events.weir")]
pub(super) struct Replay {
    /// Policy file.
    #[arg(short, long, value_name = "PATH")]
    policy: PathBuf,
    /// Captures and recordings; `-` reads standard input, and needs --server for a capture.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Address or prefix of the protected host; repeat it for several. Without it, who is asked is the
    /// host.
    #[arg(long, value_name = "ADDR", value_parser = prefix)]
    server: Vec<IpNet>,
    /// How far policies go, as `weir run` would have it; in canary, lots are drawn without the secret
    /// that each host has.
    #[arg(long, value_enum, default_value_t, value_name = "STAGE")]
    stage: Stage,
    /// Judge all files as one: captures by their packets' times, recordings one after the other.
    #[arg(long)]
    join: bool,
    /// Print what is known of each source at the end instead of decisions, one JSON object a line.
    #[arg(long)]
    features: bool,
    /// Threads. What is decided, and its order, does not depend on it.
    #[arg(long, value_name = "N", default_value = "1")]
    threads: NonZeroUsize,
    /// How to print decisions.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// How to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON object a line.
    Json,
}

impl Replay {
    pub(super) fn execute(self) -> anyhow::Result<Outcome> {
        let policy = Arc::new(policy::load(&self.policy, &ServiceIds::default())?);
        for warning in &policy.warnings {
            eprintln!("{warning}");
        }
        let has_input = self.files.iter().any(|file| file.as_os_str() == "-");
        if has_input && self.server.is_empty() {
            bail!("standard input is read once: say who the protected host is with --server");
        }
        let meter = Meter::default();
        let form = match self.format {
            _ if self.features => Form::Features,
            Format::Text => Form::Text,
            Format::Json => Form::Json,
        };
        let groups: Vec<&[PathBuf]> =
            if self.join { vec![&self.files] } else { self.files.chunks(1).collect() };
        let jobs: Vec<Job<'_>> = groups
            .into_iter()
            .map(|files| Job {
                policy_path: &self.policy,
                policy: &policy,
                servers: &self.server,
                files,
                form,
                stage: self.stage,
                threads: self.threads.get(),
                meter: &meter,
            })
            .collect();
        let bar = bar::Bar::start(&self.files, &meter);
        let ended = if jobs.len() > 1 && self.threads.get() > 1 {
            side_by_side(&jobs, self.threads.get())
        } else {
            one_by_one(&jobs)
        };
        drop(bar);
        ended
    }
}

/// Does one job after the other, and prints decisions as they are made.
fn one_by_one(jobs: &[Job<'_>]) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::Done;
    for job in jobs {
        match job.run(BufWriter::new(io::stdout().lock())) {
            Ok(done) => outcome = tell(&done, outcome),
            Err(JobError::Write(error)) if is_closed_pipe(&error) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(outcome)
}

/// Does several jobs at a time, and prints what they came to in their order.
fn side_by_side(jobs: &[Job<'_>], threads: usize) -> anyhow::Result<Outcome> {
    let next = AtomicUsize::new(0);
    let (results, ended) = mpsc::sync_channel(threads);
    thread::scope(|scope| {
        for _ in 0..threads.min(jobs.len()) {
            let (next, results) = (&next, results.clone());
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(number) else { return };
                    let mut printed = Vec::new();
                    let done = Job { threads: 1, ..*job }.run(&mut printed);
                    if results.send((number, done, printed)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(results);
        let mut outcome = Outcome::Done;
        let mut waiting = std::collections::BTreeMap::new();
        let mut turn = 0;
        for (number, done, printed) in ended {
            waiting.insert(number, (done, printed));
            while let Some((done, printed)) = waiting.remove(&turn) {
                turn += 1;
                match io::stdout().lock().write_all(&printed) {
                    Err(error) if is_closed_pipe(&error) => return Ok(outcome),
                    other => other?,
                }
                outcome = tell(&done?, outcome);
            }
        }
        Ok(outcome)
    })
}

/// Says what a job came to, and what that makes of the whole.
fn tell(done: &Done, outcome: Outcome) -> Outcome {
    for note in &done.notes {
        eprintln!("weir: {note}");
    }
    if done.whole { outcome } else { Outcome::Unfit }
}

fn prefix(text: &str) -> Result<IpNet, String> {
    let net = text.parse::<IpNet>();
    let net = net.or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from));
    net.map_err(|_| format!("`{text}` is no address and no prefix: 198.51.100.10, 198.51.100.0/24"))
}

fn is_closed_pipe(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}
