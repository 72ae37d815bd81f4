//! Appends: each to a new stream for so long, or a load of streams of 10,000 events.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinSet;

use super::Load;
use crate::payload::{Digest, Payloads};
use crate::peer::Session;
use crate::tally::Tally;

/// Events of each stream of a load.
pub const STREAM_EVENTS: u64 = 10_000;

/// The stream of a load.
pub fn loaded_stream(number: u64) -> String {
    format!("load-{number}")
}

/// A number that no other writer of this process has.
pub fn lane() -> u64 {
    static LANES: AtomicU64 = AtomicU64::new(1);
    LANES.fetch_add(1, Ordering::Relaxed)
}

/// One request after the other until the time is over, each to a new stream.
pub async fn to_new_streams<S: Session>(
    sessions: &[S],
    load: Load,
    time: Duration,
) -> Result<Tally> {
    let mut lanes = JoinSet::new();
    let began = Instant::now();
    for session in sessions {
        for _ in 0..load.in_flight {
            let session = session.clone();
            lanes.spawn(async move {
                let lane = lane();
                let mut payloads = Payloads::new(lane);
                let mut tally = Tally::default();
                let mut number = 0;
                while began.elapsed() < time {
                    number += 1;
                    let stream = format!("new-{lane}-{number}");
                    append(&session, &stream, 0, &mut payloads, load.batch, &mut tally).await;
                }
                tally
            });
        }
    }
    gather(lanes, began).await
}

/// Streams of 10,000 events, each of the sessions writing its own, so many events in all.
pub async fn load<S: Session>(sessions: &[S], batch: usize, events: u64) -> Result<Tally> {
    load_from(sessions, batch, 0, events).await
}

/// The same, behind so many streams that are there.
pub async fn load_from<S: Session>(
    sessions: &[S],
    batch: usize,
    streams: u64,
    events: u64,
) -> Result<Tally> {
    let mut lanes = JoinSet::new();
    let next = Arc::new(AtomicU64::new(streams));
    let began = Instant::now();
    for session in sessions {
        let (session, next) = (session.clone(), Arc::clone(&next));
        lanes.spawn(async move {
            let mut payloads = Payloads::new(lane());
            let mut tally = Tally::default();
            loop {
                let stream = next.fetch_add(1, Ordering::Relaxed);
                if stream * STREAM_EVENTS >= events {
                    return tally;
                }
                let name = loaded_stream(stream);
                for at in (0..STREAM_EVENTS).step_by(batch) {
                    append(&session, &name, at, &mut payloads, batch, &mut tally).await;
                }
            }
        });
    }
    gather(lanes, began).await
}

/// So many events, each in a stream of its own.
pub async fn load_apart<S: Session>(session: &S, events: u64) -> Result<Tally> {
    const TOGETHER: u64 = 1_000;
    let mut payloads = Payloads::new(lane());
    let mut tally = Tally::default();
    let began = Instant::now();
    for at in 0..events / TOGETHER {
        let events = payloads.take(TOGETHER as usize);
        session
            .append_apart(&format!("apart-{at}"), &events)
            .await?;
        events.iter().for_each(|event| tally.digest.add(event));
    }
    tally.took = began.elapsed();
    Ok(tally)
}

async fn append<S: Session>(
    session: &S,
    stream: &str,
    expected: u64,
    payloads: &mut Payloads,
    batch: usize,
    tally: &mut Tally,
) {
    let events = payloads.take(batch);
    let asked = Instant::now();
    match session.append(stream, expected, &events).await {
        Ok(()) => {
            tally.latencies.add(asked.elapsed());
            events.iter().for_each(|event| tally.digest.add(event));
        }
        Err(error) => tally.failed(&error),
    }
}

/// What all lanes did together.
pub async fn gather(mut lanes: JoinSet<Tally>, began: Instant) -> Result<Tally> {
    let mut whole = Tally::default();
    while let Some(tally) = lanes.join_next().await {
        whole.merge(tally?);
    }
    whole.took = began.elapsed();
    Ok(whole)
}

/// What the whole log holds, by reading it.
pub async fn digest_of_all<S: Session>(session: &S) -> Result<Digest> {
    let mut digest = Digest::default();
    session.read_all(&mut |data| digest.add(data)).await?;
    Ok(digest)
}
