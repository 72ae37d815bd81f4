//! Runs the target of `src/timestamp.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: annal_fuzz::write_seeds("timestamp"),
    |input: &[u8]| annal_fuzz::timestamp::run(input)
);
