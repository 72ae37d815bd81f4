//! Runs the target of `src/session.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: annal_fuzz::write_seeds("session"),
    |input: &[u8]| annal_fuzz::session::run(input)
);
