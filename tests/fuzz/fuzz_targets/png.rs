//! Fuzzes `fovea::decode::fuzz::png`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fovea::decode::fuzz::png(data));
