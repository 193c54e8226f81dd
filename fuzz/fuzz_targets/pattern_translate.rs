#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| daemun_pattern::fuzz::pattern_translate(data));
