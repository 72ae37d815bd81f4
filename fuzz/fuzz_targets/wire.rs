//! Runs the target of `src/wire.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: annal_fuzz::write_seeds("wire"),
    |input: &[u8]| annal_fuzz::wire::run(input)
);
