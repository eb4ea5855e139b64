//! How far a replay is: a line on standard error, where that is a terminal.

use std::{
    fs,
    io::{self, IsTerminal},
    path::PathBuf,
    sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{cli::format::bytes, replay::Meter};

/// How often it is drawn.
const EVERY: Duration = Duration::from_millis(200);
/// Its characters.
const WIDTH: u64 = 40;

/// The line; it goes when this is dropped.
pub(super) struct Bar {
    drawing: Option<(SyncSender<()>, JoinHandle<()>)>,
}

impl Bar {
    /// Shows how much of these files was read. Where nobody would see it, nothing is done.
    pub(super) fn start(files: &[PathBuf], meter: &Meter) -> Self {
        let sizes = files.iter().map(|file| fs::metadata(file).map(|it| it.len()));
        let total: u64 = sizes.map(Result::unwrap_or_default).sum();
        if total == 0 || !io::stderr().is_terminal() {
            return Self { drawing: None };
        }
        let (stop, stopped) = sync_channel(1);
        let meter = meter.clone();
        let drawing = thread::spawn(move || {
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                eprint!("\r{}", line(meter.bytes(), total));
            }
            eprint!("\r\x1b[K");
        });
        Self { drawing: Some((stop, drawing)) }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some((stop, drawing)) = self.drawing.take() {
            drop(stop);
            // It only draws.
            let _ = drawing.join();
        }
    }
}

fn line(read: u64, total: u64) -> String {
    let share = read.saturating_mul(100).checked_div(total).unwrap_or(100).min(100);
    let done = (share * WIDTH / 100) as usize;
    let left = (WIDTH as usize).saturating_sub(done);
    format!("[{}{}] {share:3} % of {}", "#".repeat(done), " ".repeat(left), bytes(total))
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_never_runs_over() {
        assert_eq!(
            super::line(1, 2),
            format!("[{}{}]  50 % of 2 B", "#".repeat(20), " ".repeat(20))
        );
        assert!(super::line(9, 2).contains("] 100 %"));
    }
}
