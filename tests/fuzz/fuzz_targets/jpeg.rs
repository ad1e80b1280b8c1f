//! Fuzzes `fovea::decode::fuzz::jpeg`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fovea::decode::fuzz::jpeg(data));
