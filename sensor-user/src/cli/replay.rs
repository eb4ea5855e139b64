//! `weir replay`

use std::{
    io::{self, BufWriter, Write},
    path::PathBuf,
    sync::Arc,
    time::Instant,
};

use anyhow::{anyhow, bail};
use clap::{Args, ValueEnum};
use ipnet::IpNet;

use super::Outcome;
use crate::{
    capture::CaptureError,
    event::Event,
    policy::{self, CompiledPolicy, ServiceIds},
    replay::{DecisionRecord, Features, Files, Outcomes, Player, Servers, Summary, Witness},
    score::{Clock, Decision, Engine},
};

/// Judge captures by a policy, as the daemon would have.
///
/// The packets go through the same stages, and their events through the same engine, as on a host
/// that runs Weir; nothing is attached, and no privileges are needed. Every decision is a line, and
/// what was read is summed up on standard error. The action is what the ladder gives, whatever the
/// policy's mode. Captures are pcap or pcapng, also in gzip or zstd; each is judged on its own.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    weir replay --policy policy.yaml monday.pcapng.zst\n  \
    weir replay --policy policies/ --server 198.51.100.0/24 --join a.pcap b.pcap\n  \
    weir replay --policy policy.yaml --format json visits.pcap | jq -r 'select(.action == \"drop\").source'\n  \
    weir replay --policy policy.yaml --features visits.pcap | jq .peak")]
pub(super) struct Replay {
    /// Policy file.
    #[arg(short, long, value_name = "PATH")]
    policy: PathBuf,
    /// Captures; `-` reads standard input, and needs --server.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Address or prefix of the protected host; repeat it for several. Without it, who is asked is the
    /// host.
    #[arg(long, value_name = "ADDR", value_parser = prefix)]
    server: Vec<IpNet>,
    /// Judge all captures as one, by their packets' times.
    #[arg(long)]
    join: bool,
    /// Print what is known of each source at the end instead of decisions, one JSON object a line.
    #[arg(long)]
    features: bool,
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
        if self.server.is_empty() && self.files.iter().any(|file| file.as_os_str() == "-") {
            bail!("standard input is read once: say who the protected host is with --server");
        }
        let mut outcome = Outcome::Done;
        let groups: Vec<&[PathBuf]> =
            if self.join { vec![&self.files] } else { self.files.chunks(1).collect() };
        for files in groups {
            match self.play(&policy, files) {
                Ok(true) => {}
                Ok(false) => outcome = Outcome::Unfit,
                Err(error) if is_closed_pipe(&error) => break,
                Err(error) => return Err(anyhow!(error).context("cannot write to standard output")),
            }
        }
        Ok(outcome)
    }

    /// Plays captures as one. Says whether all could be read to their end.
    fn play(&self, policy: &Arc<CompiledPolicy>, files: &[PathBuf]) -> io::Result<bool> {
        let begun = Instant::now();
        let mut whole = true;
        let mut trouble = |error: CaptureError| {
            eprintln!("weir: {error}");
            whole = false;
        };
        let servers = if self.server.is_empty() {
            Files::servers(files, policy)
        } else {
            Servers::Named(self.server.clone())
        };
        let mut captures = Files::open(files, &mut trouble);
        let Some(first_ns) = captures.first_ns() else { return Ok(whole) };
        let hosts = servers.names();
        let mut player = Player::new(Arc::clone(policy), servers, first_ns);
        let mut printer = Printer {
            format: self.format,
            out: BufWriter::new(io::stdout().lock()),
            policy: Arc::clone(policy),
            clock: player.clock(),
            features: self.features.then(|| Features::new(Arc::clone(policy))),
            outcomes: Outcomes::default(),
            result: Ok(()),
        };
        while let Some(frame) = captures.next_frame(&mut trouble) {
            player.frame(&frame, &mut printer);
            if printer.result.is_err() {
                break;
            }
        }
        player.finish(&mut printer);
        let outcomes = printer.finish()?;
        let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        report(&names.join(", "), &hosts, &player.summary(), &outcomes, begun);
        Ok(whole)
    }
}

/// Prints decisions as they are made.
struct Printer<W: Write> {
    format: Format,
    out: W,
    policy: Arc<CompiledPolicy>,
    clock: Clock,
    features: Option<Features>,
    outcomes: Outcomes,
    result: io::Result<()>,
}

impl<W: Write> Printer<W> {
    fn print(&mut self, decision: &Decision) -> io::Result<()> {
        let record = DecisionRecord::of(decision, &self.policy, self.clock);
        self.outcomes.add(&record);
        if self.features.is_some() {
            return Ok(());
        }
        match self.format {
            Format::Json => {
                serde_json::to_writer(&mut self.out, &record)?;
                writeln!(self.out)
            }
            Format::Text => writeln!(self.out, "{}", line(&record)),
        }
    }

    fn finish(mut self) -> io::Result<Outcomes> {
        self.result?;
        if let Some(features) = &self.features {
            for known in features.known() {
                serde_json::to_writer(&mut self.out, &known)?;
                writeln!(self.out)?;
            }
        }
        self.out.flush()?;
        Ok(self.outcomes)
    }
}

impl<W: Write> Witness for Printer<W> {
    fn event(&mut self, _event: &Event) {}

    fn judged(&mut self, event: &Event, decisions: Vec<Decision>, engine: &mut Engine) {
        for decision in &decisions {
            let printed = self.print(decision);
            if self.result.is_ok() {
                self.result = printed;
            }
        }
        if let Some(features) = &mut self.features {
            features.judged(event, decisions, engine);
        }
    }
}

/// A decision as a line.
fn line(record: &DecisionRecord) -> String {
    let factors: Vec<String> = record
        .factors
        .iter()
        .map(|factor| format!("{:+} {} ({})", factor.points, factor.name, factor.text))
        .collect();
    let DecisionRecord { time, action, source, service, policy, score, owasp, .. } = record;
    let threats = if owasp.is_empty() { "-".to_owned() } else { owasp.join(" ") };
    let factors = factors.join("; ");
    format!(
        "{time} {action} {source} at {service}: {score} points by {policy}, {threats}: {factors}"
    )
}

/// What was read, on standard error.
fn report(name: &str, hosts: &[String], summary: &Summary, outcomes: &Outcomes, begun: Instant) {
    let took = begun.elapsed().as_secs_f64().max(1e-9);
    let span = summary.span.length().as_secs_f64();
    let hosts = if hosts.is_empty() { "nobody".to_owned() } else { hosts.join(" ") };
    eprintln!(
        "{name}: {} packets in {span:.3} s to {hosts} ({} unread, {} between others), {} \
         connections, {} sources; decisions: {outcomes}; {:.0} packets/s, {:.0} times as fast",
        summary.packets,
        summary.unread,
        summary.between_others,
        summary.connections,
        summary.sources,
        summary.packets as f64 / took,
        span / took,
    );
}

fn prefix(text: &str) -> Result<IpNet, String> {
    let net = text.parse::<IpNet>();
    let net = net.or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from));
    net.map_err(|_| format!("`{text}` is no address and no prefix: 198.51.100.10, 198.51.100.0/24"))
}

fn is_closed_pipe(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}
