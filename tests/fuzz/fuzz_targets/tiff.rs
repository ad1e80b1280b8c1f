//! Fuzzes `fovea::decode::fuzz::tiff`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fovea::decode::fuzz::tiff(data));
