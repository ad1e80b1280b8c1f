//! Fuzzes `fovea::decode::fuzz::gif`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fovea::decode::fuzz::gif(data));
