#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| daemun_process::fuzz::handover_record(data));
