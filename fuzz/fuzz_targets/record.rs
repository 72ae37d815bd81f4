//! Runs the target of `src/record.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: annal_fuzz::write_seeds("record"),
    |input: &[u8]| annal_fuzz::record::run(input)
);
