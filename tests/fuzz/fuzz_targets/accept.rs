//! Fuzzes `fovea::plan::fuzz_accept`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fovea::plan::fuzz_accept(data));
