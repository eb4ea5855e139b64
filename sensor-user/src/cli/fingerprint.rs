//! `weir fingerprint`

mod live;
mod print;
mod record;
mod summary;

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::anyhow;
use clap::{Args, ValueEnum};

use super::Outcome;
use crate::capture::{Capture, CaptureError, Hellos};
use print::Printer;
use summary::Summary;

/// Show the fingerprints of clients in captures, or on an interface.
///
/// One line for every ClientHello of TLS, QUIC and DTLS: who, to whom, for which name, JA4 and JA3.
/// Captures are pcap or pcapng, also in gzip or zstd; reading them needs no privileges. A connection
/// counts once, with its first hello. What was read, and what was not and why, is summed up on
/// standard error. Checksums are not verified: a host's own captures have unfinished ones.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    weir fingerprint visits.pcap monday.pcapng.zst\n  \
    weir fingerprint --format json visits.pcap | jq -r .ja4 | sort | uniq -c | sort -rn\n  \
    tcpdump -w - 'port 443' | weir fingerprint -\n  \
    weir fingerprint --interface eth0 --count 100")]
pub(super) struct Fingerprint {
    /// Captures; `-` reads standard input.
    #[arg(value_name = "FILE", required_unless_present = "interface")]
    files: Vec<PathBuf>,
    /// Hear this interface instead, until Ctrl-C. Needs CAP_NET_RAW.
    #[arg(short, long, value_name = "IF", conflicts_with = "files")]
    interface: Option<String>,
    /// With an interface: end after this many hellos.
    #[arg(long, value_name = "N", conflicts_with = "files")]
    count: Option<u64>,
    /// With an interface: end after this time ("90s", "10m").
    #[arg(long, value_name = "TIME", conflicts_with = "files", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// Connections come from a proxy and begin with a PROXY protocol header; the client is who it
    /// names.
    #[arg(long)]
    proxy_protocol: bool,
    /// How to print.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// How to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: one JSON object a line.
    Json,
}

/// Whether to go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Output {
    Open,
    /// Nobody reads it any more: `weir fingerprint … | head`.
    Closed,
}

impl Output {
    /// What printing led to; a closed pipe is no failure.
    fn of(printed: io::Result<()>) -> anyhow::Result<Self> {
        match printed {
            Ok(()) => Ok(Self::Open),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Self::Closed),
            Err(error) => Err(anyhow!(error).context("cannot write to standard output")),
        }
    }
}

impl Fingerprint {
    pub(super) fn execute(self) -> anyhow::Result<Outcome> {
        let mut printer = Printer::new(io::stdout().lock(), self.format);
        if let Some(interface) = &self.interface {
            let enough = live::Enough { count: self.count, duration: self.duration };
            return live::hear(interface, self.hellos(), &enough, &mut printer);
        }
        let mut outcome = Outcome::Done;
        for file in &self.files {
            match self.read(file, &mut printer)? {
                Ok(Output::Open) => {}
                Ok(Output::Closed) => break,
                Err(error) => {
                    eprintln!("weir: {error}");
                    outcome = Outcome::Unfit;
                }
            }
        }
        Ok(outcome)
    }

    fn hellos(&self) -> Hellos {
        let hellos = Hellos::new();
        if self.proxy_protocol { hellos.behind_proxy() } else { hellos }
    }

    /// Prints the hellos of one capture, as far as it can be read. The outer result is about the
    /// output, the inner about the capture.
    fn read(
        &self,
        file: &Path,
        printer: &mut Printer<impl io::Write>,
    ) -> anyhow::Result<Result<Output, CaptureError>> {
        let name = file.display().to_string();
        let opened = if file == Path::new("-") {
            Capture::read("standard input".to_owned(), io::stdin())
        } else {
            Capture::open(file)
        };
        let mut capture = match opened {
            Ok(capture) => capture,
            Err(error) => return Ok(Err(error)),
        };
        if self.files.len() > 1 && Output::of(printer.title(&name))? == Output::Closed {
            return Ok(Ok(Output::Closed));
        }
        let mut hellos = self.hellos();
        let mut summary = Summary::default();
        let end = loop {
            let frame = match capture.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break Ok(Output::Open),
                Err(error) => break Err(error),
            };
            if let Some(hello) = hellos.frame(&frame)
                && Output::of(summary.print(&name, &hello, printer))? == Output::Closed
            {
                return Ok(Ok(Output::Closed));
            }
        };
        eprintln!("{}", summary.text(&name, &hellos.counts()));
        Ok(end)
    }
}
