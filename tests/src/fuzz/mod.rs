//! What the fuzz targets do with an input: everything that hostile bytes reach, and what has to hold
//! whatever they are.
//!
//! The fuzzer (`fuzz/`, `cargo xtask fuzz`) makes inputs, and keeps those that reach new code in
//! `fuzz/corpus`. The test `fuzz_corpus` puts every one of them through the same functions, so that
//! what was found once is looked at on every change, without a fuzzer.
//!
//! A target panics where something does not hold. Inputs are read front to back (`input.rs`) and say
//! both what is sent and how: an input that ends early goes on with zeros.

mod hello;
mod hello_collect;
mod hello_walk;
mod initial;
mod input;
mod proxy_header;
mod quic_initial;
mod stream_reassembly;

use input::Input;

pub use hello_collect::hello_collect;
pub use hello_walk::hello_walk;
pub use proxy_header::proxy_header;
pub use quic_initial::quic_initial;
pub use stream_reassembly::stream_reassembly;

/// Longer inputs reach nothing that shorter ones do not.
const MAX_INPUT: usize = 20_000;

/// A target: looks at one input.
pub type Target = fn(&[u8]);

/// Every target by name: that of its folder in `fuzz/corpus`.
pub const TARGETS: [(&str, Target); 5] = [
    ("hello_walk", hello_walk),
    ("hello_collect", hello_collect),
    ("stream_reassembly", stream_reassembly),
    ("quic_initial", quic_initial),
    ("proxy_header", proxy_header),
];
