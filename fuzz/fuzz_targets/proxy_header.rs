#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| daemun_proto::fuzz::proxy_header(data));
