//! Fuzzes `fovea::decode::fuzz::bmp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fovea::decode::fuzz::bmp(data));
