#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| daemun_tls::fuzz::pem(data));
