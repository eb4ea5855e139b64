//! `weir fingerprint --interface IF`

use std::{io::Write, time::Duration};

use anyhow::Context;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep_until},
};

use super::{Output, Printer, Summary};
use crate::{
    capture::{Hellos, Live},
    cli::Outcome,
};

/// Longer than anybody waits.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// When to end, besides Ctrl-C.
pub(super) struct Enough {
    /// After so many hellos.
    pub(super) count: Option<u64>,
    /// After so long.
    pub(super) duration: Option<Duration>,
}

/// Prints hellos until Ctrl-C, or until there were enough.
pub(super) fn hear(
    interface: &str,
    mut hellos: Hellos,
    enough: &Enough,
    printer: &mut Printer<impl Write>,
) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot hear Ctrl-C")?;
        let mut terminate = signal(SignalKind::terminate()).context("cannot hear SIGTERM")?;
        let mut live = Live::open(interface)?;
        let mut summary = Summary::default();
        let wait = enough.duration.unwrap_or(FOREVER).min(FOREVER);
        let end = sleep_until(Instant::now() + wait);
        tokio::pin!(end);
        let mut result = Ok(());
        while enough.count.is_none_or(|count| summary.printed() < count) {
            let frame = tokio::select! {
                biased;
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                () = &mut end => break,
                frame = live.next_frame() => frame,
            };
            match frame {
                Ok(frame) => {
                    if let Some(hello) = hellos.frame(&frame)
                        && Output::of(summary.print(interface, &hello, printer))? == Output::Closed
                    {
                        return Ok(Outcome::Done);
                    }
                }
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        eprintln!("{}", summary.text(interface, &hellos.counts()));
        match live.lost() {
            0 => {}
            lost => eprintln!("  {lost} packets passed faster than they were read"),
        }
        result?;
        Ok(Outcome::Done)
    })
}
