//! See `weir_lab::fuzz::hello_walk`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| weir_lab::fuzz::hello_walk(data));
