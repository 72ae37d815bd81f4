//! Runs the target of `src/tables.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: annal_fuzz::write_seeds("tables"),
    |input: &[u8]| annal_fuzz::tables::run(input)
);
