//! Fuzzes `fovea::decode::fuzz::avif`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fovea::decode::fuzz::avif(data));
