#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| daemun_proto::fuzz::request_head(data));
