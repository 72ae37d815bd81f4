//! Runs the target of `src/text.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: annal_fuzz::write_seeds("text"),
    |input: &[u8]| annal_fuzz::text::run(input)
);
