//! What is fuzzed: one module a target, each a function that takes any bytes and breaks nothing,
//! and the real encodings that a campaign begins with.
//!
//! The fuzzer runs these functions for hours (`run.sh`); `tests/fuzz.rs` includes this file and
//! runs them on stable Rust for seconds, on the same seeds and on mutations of them. A new target
//! is a module and a line in [`TARGETS`], a file in `fuzz_targets/` and a `[[bin]]`.

pub mod access;
pub mod answers;
pub mod files;
pub mod filter;
pub mod front;
pub mod golden;
pub mod input;
pub mod operations;
pub mod record;
pub mod session;
pub mod store;
pub mod tables;
pub mod text;
pub mod timestamp;
pub mod unit;
pub mod wire;

/// Something to fuzz.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What it is called.
    pub name: &'static str,
    /// Runs one input. Whatever it is, a panic is a finding.
    pub run: fn(&[u8]),
    /// Real encodings to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// How many mutations the short run tries: about a second's worth in a debug build.
    pub short: u32,
}

macro_rules! targets {
    ($($name:ident $short:literal)*) => {
        /// All of them.
        pub const TARGETS: &[Target] = &[$(Target {
            name: stringify!($name),
            run: $name::run,
            seeds: $name::seeds,
            short: $short,
        },)*];
    };
}

targets! {
    access 300
    answers 300
    files 20_000
    filter 5_000
    front 300
    operations 50
    record 20_000
    session 300
    store 50
    tables 20_000
    text 20_000
    timestamp 20_000
    unit 20_000
    wire 20_000
}

/// Writes the seeds of a target into the folder that `FUZZ_SEEDS` names, before the fuzzer reads
/// it.
pub fn write_seeds(name: &str) {
    let Ok(folder) = std::env::var("FUZZ_SEEDS") else {
        return;
    };
    let target = TARGETS.iter().find(|target| target.name == name);
    let seeds = target.expect("a target of this name").seeds;
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    for (number, seed) in seeds().iter().enumerate() {
        let path = std::path::Path::new(&folder).join(format!("seed-{number:04}"));
        std::fs::write(path, seed).expect("the seed can be written");
    }
}
