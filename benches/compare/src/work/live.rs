//! Live delivery: 500 appends a second, and how long each event takes from there to a reader that
//! follows the log.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::append::lane;
use crate::payload::{Payloads, made_ns, now_ns};
use crate::peer::{Feed, Session};
use crate::tally::Tally;

const EVERY: Duration = Duration::from_millis(2);
/// How long the last events may take.
const LATE_MAX: Duration = Duration::from_secs(10);

/// Appends by one session, and follows by another, for so long.
pub async fn run<S: Session>(writer: &S, reader: &S, time: Duration) -> Result<Tally> {
    let feed = reader.follow().await?;
    let began = Instant::now();
    let writing = tokio::spawn(write(writer.clone(), time));
    let reading = tokio::spawn(read(feed, time));
    let written = writing.await??;
    let mut tally = timeout(LATE_MAX, reading)
        .await
        .context("events are missing")???;
    tally.took = began.elapsed();
    ensure!(
        tally.digest == written.digest,
        "other events were delivered than were appended"
    );
    Ok(tally)
}

/// How many events that is.
fn events(time: Duration) -> u64 {
    u64::try_from(time.as_millis() / EVERY.as_millis()).unwrap_or(u64::MAX)
}

/// Appends so many a second, each to a new stream. Every one has to succeed.
pub async fn write<S: Session>(session: S, time: Duration) -> Result<Tally> {
    let lane = lane();
    let mut payloads = Payloads::new(lane);
    let mut tally = Tally::default();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0..events(time) {
        ticks.tick().await;
        let event = payloads.take(1);
        let asked = Instant::now();
        session
            .append_live(&format!("live-{lane}-{number}"), &event)
            .await?;
        tally.latencies.add(asked.elapsed());
        tally.digest.add(&event[0]);
    }
    Ok(tally)
}

/// Takes what is delivered, until as much has come as is written in that time.
pub async fn read<F: Feed>(mut feed: F, time: Duration) -> Result<Tally> {
    let mut tally = Tally::default();
    while tally.digest.count < events(time) {
        let mut each = |data: &[u8]| {
            let took = now_ns().saturating_sub(made_ns(data));
            tally.latencies.add(Duration::from_nanos(took));
            tally.digest.add(data);
        };
        feed.next(&mut each).await?;
    }
    Ok(tally)
}
