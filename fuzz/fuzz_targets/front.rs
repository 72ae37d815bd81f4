//! Runs the target of `src/front.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: annal_fuzz::write_seeds("front"),
    |input: &[u8]| annal_fuzz::front::run(input)
);
