//! Runs the target of `src/operations.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: annal_fuzz::write_seeds("operations"),
    |input: &[u8]| annal_fuzz::operations::run(input)
);
