//! Runs the target of `src/access.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: annal_fuzz::write_seeds("access"),
    |input: &[u8]| annal_fuzz::access::run(input)
);
