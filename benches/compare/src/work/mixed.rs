//! Appends by 64 clients while readers catch up with the log again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinSet;

use super::{Load, append};
use crate::peer::Session;
use crate::tally::Tally;

/// How many readers there are.
pub const READERS: usize = 4;

/// Appends for so long; returns that, and how many events a second the readers got.
pub async fn run<S: Session>(
    writers: &[S],
    readers: Vec<S>,
    load: Load,
    time: Duration,
) -> Result<(Tally, f64)> {
    let over = Arc::new(AtomicBool::new(false));
    let read = Arc::new(AtomicU64::new(0));
    let mut reading = JoinSet::new();
    for reader in readers {
        let (over, read) = (Arc::clone(&over), Arc::clone(&read));
        reading.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                let mut each = |_: &[u8]| {
                    read.fetch_add(1, Ordering::Relaxed);
                };
                reader.read_all(&mut each).await?;
            }
            anyhow::Ok(())
        });
    }
    let began = Instant::now();
    let tally = append::to_new_streams(writers, load, time).await?;
    let read = read.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    over.store(true, Ordering::Relaxed);
    // Readers in the middle of the log need not go on.
    while let Some(ended) = reading.try_join_next() {
        ended??;
    }
    reading.shutdown().await;
    Ok((tally, read))
}
