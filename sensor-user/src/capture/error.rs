//! What can be wrong with a capture file.

use std::io;

/// Why a capture could not be read, or not to its end. Offsets are of the uncompressed capture.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// It cannot be opened.
    #[error("cannot open {file}: {source}")]
    Open {
        /// Which file.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// Reading or decompressing it failed.
    #[error("cannot read {file} from byte {offset} on: {source}")]
    Read {
        /// Which file.
        file: String,
        /// Where.
        offset: u64,
        /// What the system or the decompressor said.
        source: io::Error,
    },
    /// It is no capture.
    #[error("{file} is neither pcap nor pcapng (nor one of them in gzip or zstd): {found}")]
    Unknown {
        /// Which file.
        file: String,
        /// What it begins with.
        found: String,
    },
    /// It ends inside a packet or block. What came before it was read.
    #[error("{file} is cut off: it ends inside the {what} that begins at byte {offset}")]
    CutOff {
        /// Which file.
        file: String,
        /// Where the unfinished part begins.
        offset: u64,
        /// What it is.
        what: &'static str,
    },
    /// It contradicts itself. What came before was read.
    #[error("{file} is damaged: the {what} at byte {offset} {problem}")]
    Damaged {
        /// Which file.
        file: String,
        /// Where the damaged part begins.
        offset: u64,
        /// What it is.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}
