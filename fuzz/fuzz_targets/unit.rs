//! Runs the target of `src/unit.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: annal_fuzz::write_seeds("unit"),
    |input: &[u8]| annal_fuzz::unit::run(input)
);
