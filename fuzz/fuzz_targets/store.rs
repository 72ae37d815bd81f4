//! Runs the target of `src/store.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: annal_fuzz::write_seeds("store"),
    |input: &[u8]| annal_fuzz::store::run(input)
);
