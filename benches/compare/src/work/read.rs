//! Reads: one stream of 10,000 events again and again, and the whole log.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::append::{STREAM_EVENTS, loaded_stream};
use crate::peer::Session;
use crate::tally::Tally;

/// How far one stream is from the next one that is read: a prime number.
const APART: u64 = 7_919;

/// Reads streams of the load, one after the other, until the time is over.
pub async fn streams<S: Session>(session: &S, streams: u64, time: Duration) -> Result<Tally> {
    let mut tally = Tally::default();
    let began = Instant::now();
    let mut number = 0;
    while began.elapsed() < time {
        let asked = Instant::now();
        let mut count = 0;
        // Not in the order in which they were written.
        let stream = loaded_stream(number * APART % streams);
        session.read_stream(&stream, &mut |_| count += 1).await?;
        tally.latencies.add(asked.elapsed());
        ensure!(
            count == STREAM_EVENTS,
            "{count} events instead of {STREAM_EVENTS}"
        );
        tally.digest.count += count;
        number += 1;
    }
    tally.took = began.elapsed();
    Ok(tally)
}

/// Reads the whole log, at least once, until the time is over.
pub async fn all<S: Session>(session: &S, events: u64, time: Duration) -> Result<Tally> {
    let mut tally = Tally::default();
    let began = Instant::now();
    while tally.digest.count == 0 || began.elapsed() < time {
        let asked = Instant::now();
        let mut count = 0;
        session.read_all(&mut |_| count += 1).await?;
        tally.latencies.add(asked.elapsed());
        ensure!(count >= events, "{count} events instead of {events}");
        tally.digest.count += count;
    }
    tally.took = began.elapsed();
    Ok(tally)
}
