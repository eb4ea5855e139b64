//! Logs of single packets, for debug builds only.
//!
//! They exist in objects built with the feature `log`, and even there the verifier removes them
//! unless the load-time constant `LOG` is set.

#[cfg(feature = "log")]
use aya_ebpf::Global;

/// Set by the loader to log every packet's fate.
#[cfg(feature = "log")]
#[unsafe(no_mangle)]
static LOG: Global<u8> = Global::new(0);

/// Logs what became of a packet.
#[cfg(feature = "log")]
macro_rules! fate {
    ($ctx:expr, $text:literal) => {
        if crate::log::enabled() {
            aya_log_ebpf::debug!($ctx, $text);
        }
    };
}

#[cfg(not(feature = "log"))]
macro_rules! fate {
    ($ctx:expr, $text:literal) => {};
}

#[cfg(feature = "log")]
#[inline(always)]
pub(crate) fn enabled() -> bool {
    LOG.load() != 0
}

pub(crate) use fate;
