//! See `weir_lab::fuzz::stream_reassembly`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| weir_lab::fuzz::stream_reassembly(data));
