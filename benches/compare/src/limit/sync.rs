//! How fast the disk syncs: a small write and `fdatasync`, into a file that grows, and into one
//! that was filled with zeros before. The calibration beside every turn, and a row of the limits.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::tally::Latencies;

/// What one write has: an event with what a log adds to it.
pub const RECORD_LEN_BYTES: usize = 300;
const FILE_LEN_BYTES: u64 = 64 << 20;

/// Writes zeros to the whole of a file, and makes them durable.
pub fn zeroed(path: &Path, len_bytes: u64) -> Result<File> {
    let mut file = File::options()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(path)?;
    let zeros = vec![0; 1 << 20];
    for _ in 0..len_bytes >> 20 {
        file.write_all(&zeros)?;
    }
    file.sync_all()?;
    Ok(file)
}

/// Two ways to write a log.
#[derive(Debug)]
pub struct Calibration {
    /// Into a file that grows.
    pub growing: Latencies,
    /// Into one that was filled with zeros before.
    pub zeroed: Latencies,
    /// How long the second took as a whole.
    pub took: Duration,
}

/// Measures both, for so long each.
pub fn calibrate(folder: &Path, time: Duration) -> Result<Calibration> {
    let path = folder.join("calibration");
    let file = File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .open(&path)?;
    let growing = run(&file, time)?;
    drop(file);
    let file = zeroed(&path, FILE_LEN_BYTES)?;
    let began = Instant::now();
    let zeroed = run(&file, time)?;
    let took = began.elapsed();
    std::fs::remove_file(path)?;
    Ok(Calibration {
        growing,
        zeroed,
        took,
    })
}

fn run(file: &File, time: Duration) -> Result<Latencies> {
    let mut latencies = Latencies::default();
    let record = [0x5a; RECORD_LEN_BYTES];
    let (began, mut at) = (Instant::now(), 0);
    while began.elapsed() < time && at + RECORD_LEN_BYTES as u64 <= FILE_LEN_BYTES {
        let asked = Instant::now();
        file.write_all_at(&record, at)?;
        file.sync_data()?;
        latencies.add(asked.elapsed());
        at += RECORD_LEN_BYTES as u64;
    }
    Ok(latencies)
}
