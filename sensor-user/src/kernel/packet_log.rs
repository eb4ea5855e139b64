//! Logs of single packets from the kernel programs, in debug builds only: objects built without
//! them have neither the ring buffer nor the load-time constant.

use aya::Ebpf;
use aya_log::EbpfLogger;
use tokio::io::{Interest, unix::AsyncFd};

/// The load-time constant that turns them on.
pub(super) const SWITCH: &str = "LOG";

/// Whether somebody reads them.
pub(super) fn wanted() -> bool {
    tracing::enabled!(target: "packets", tracing::Level::DEBUG)
}

/// Passes records on to the daemon's log. Needs a tokio runtime.
pub(super) fn start(ebpf: &mut Ebpf) {
    let logger = match EbpfLogger::init_with_logger(ebpf, Lines) {
        Ok(logger) => logger,
        Err(error) => return tracing::debug!("the kernel programs log no packets: {error}"),
    };
    tokio::spawn(async move {
        // SAFETY: the logger owns its ring buffer's descriptor and gives out the same one until it
        // is dropped, which the AsyncFd does.
        let ring = unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) };
        let Ok(mut ring) = ring else { return };
        while let Ok(mut ready) = ring.readable_mut().await {
            ready.get_inner_mut().flush();
            ready.clear_ready();
        }
    });
}

/// aya-log speaks to the `log` crate; the daemon's lines are tracing's.
struct Lines;

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        tracing::debug!(target: "packets", "{}", record.args());
    }

    fn flush(&self) {}
}
