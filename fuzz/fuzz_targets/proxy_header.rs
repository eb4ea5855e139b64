//! See `weir_lab::fuzz::proxy_header`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| weir_lab::fuzz::proxy_header(data));
