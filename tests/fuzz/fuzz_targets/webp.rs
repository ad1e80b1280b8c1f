//! Fuzzes `fovea::decode::fuzz::webp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fovea::decode::fuzz::webp(data));
