//! Fuzzes `fovea::decode::fuzz::svg`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fovea::decode::fuzz::svg(data));
