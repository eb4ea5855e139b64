//! See `weir_lab::fuzz::hello_collect`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| weir_lab::fuzz::hello_collect(data));
