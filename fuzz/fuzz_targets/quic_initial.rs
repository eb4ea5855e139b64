//! See `weir_lab::fuzz::quic_initial`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| weir_lab::fuzz::quic_initial(data));
