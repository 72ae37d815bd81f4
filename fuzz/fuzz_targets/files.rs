//! Runs the target of `src/files.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: annal_fuzz::write_seeds("files"),
    |input: &[u8]| annal_fuzz::files::run(input)
);
