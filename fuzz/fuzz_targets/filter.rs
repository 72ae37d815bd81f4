//! Runs the target of `src/filter.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: annal_fuzz::write_seeds("filter"),
    |input: &[u8]| annal_fuzz::filter::run(input)
);
