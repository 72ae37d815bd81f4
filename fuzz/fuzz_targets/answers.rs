//! Runs the target of `src/answers.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: annal_fuzz::write_seeds("answers"),
    |input: &[u8]| annal_fuzz::answers::run(input)
);
