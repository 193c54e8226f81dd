#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| daemun_proto::fuzz::http2_frames(data));
