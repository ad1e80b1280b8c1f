//! Fuzzes `fovea::encode::fuzz::picture`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fovea::encode::fuzz::picture(data));
