//! The ClientHello that is read: one of the project's own recordings, of the size that fills a
//! record to 517 bytes, as several libraries do.

use std::{path::Path, sync::OnceLock};

use anyhow::{Result, anyhow};
use weir_common::tls::{KeyBuilder, Keys, Seed, keys::Transport, walk};
use weir_sensor::capture::{Capture, Hellos};

/// Bytes of the handshake message.
const LEN: usize = 512;

/// The handshake message.
pub(super) fn message() -> &'static [u8] {
    static MESSAGE: OnceLock<Vec<u8>> = OnceLock::new();
    MESSAGE.get_or_init(|| recorded().unwrap_or_default())
}

/// Its keys under a seed.
pub(super) fn keys(seed: Seed) -> Result<Keys> {
    let mut builder = KeyBuilder::new(seed);
    walk(message(), &mut builder).map_err(|_| anyhow!("there is no recorded hello to read"))?;
    Ok(builder.finish(Transport::Tcp))
}

fn recorded() -> Option<Vec<u8>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/clients.pcap");
    let mut capture = Capture::open(&file).ok()?;
    let mut hellos = Hellos::new();
    while let Ok(Some(frame)) = capture.next_frame() {
        if let Some(hello) = hellos.frame(&frame)
            && hello.segments == 1
            && hello.message.len() == LEN
        {
            return Some(hello.message);
        }
    }
    None
}
