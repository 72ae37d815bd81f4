//! What things cost as the log grows: an append to a stream, one to a new stream, a read of a
//! stream, a start. Annal alone: it is compared with itself. Beside them stands what the disk does
//! to them, so that it is told apart from what the index does: how long a sync takes that Annal has
//! no part in, how much of a stream comes from the disk, and what a read takes that needs no disk.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::append::{STREAM_EVENTS, load_from, to_new_streams};
use super::start::{Running, runtime};
use super::{Work, read};
use crate::limit::sync;
use crate::payload::{Digest, Payloads};
use crate::peer::Session;
use crate::peer::annal::Annal;
use crate::process::{Process, disk_bytes};
use crate::sample::Figures;
use crate::tally::Tally;
use crate::turn::Turn;

/// So many streams are read again and again, whatever the size of the log: they stay in memory.
pub const STREAMS_IN_MEMORY: u64 = 20;

impl Turn<'_> {
    /// All sizes, from the smallest to the largest, of one store that grows.
    pub fn sizes(&mut self, peer: &Annal) -> Result<()> {
        let mut running = Running::first(peer, &self.folder, self.ports)?;
        let mut written = Digest::default();
        let mut sizes = self.options.sizes.clone();
        sizes.sort_unstable();
        let mut loaded = 0;
        for size in sizes {
            let mut figures = Figures::new();
            let time = self.options.time();
            let (tally, streams) = runtime(2)?.block_on(async {
                let sessions = running.sessions(4).await?;
                let mut tally = load_from(&sessions, 1_000, loaded, size).await?;
                let rate = tally.events_per_second();
                let streams = size / STREAM_EVENTS;
                let syncs = sync::calibrate(&self.folder, time)?.zeroed;
                figures.insert("sync_p50_us", syncs.percentile_us(50.0));
                appends(&sessions[0], time, &mut figures, &mut tally).await?;
                reads(&sessions[0], &running.process, streams, time, &mut figures).await?;
                figures.insert("load_events_per_second", rate);
                anyhow::Ok((tally, streams))
            })?;
            loaded = streams;
            written.merge(tally.digest);
            figures.insert("log_events", size as f64);
            figures.insert("memory_mb", running.process.memory_bytes() as f64 / 1e6);
            let folder = running.folder;
            running.process.stop(crate::peer::Peer::stop_signal(peer))?;
            figures.insert(
                "bytes_per_event",
                disk_bytes(&folder) as f64 / written.count as f64,
            );
            let (clean, took, one) = Running::timed(peer, &folder, self.ports)?;
            written.merge(one);
            figures.insert("clean_ms", took.as_secs_f64() * 1e3);
            figures.insert("clean_us", took.as_secs_f64() * 1e6);
            clean.process.kill();
            let (killed, took, one) = Running::timed(peer, &folder, self.ports)?;
            written.merge(one);
            figures.insert("killed_ms", took.as_secs_f64() * 1e3);
            running = killed;
            self.keep(Work::Z, figures, &tally);
        }
        self.verify(&running, written)
    }
}

/// One client: what an append takes, to new streams and to one that grows, and what was appended.
async fn appends<S: Session>(
    session: &S,
    time: Duration,
    figures: &mut Figures,
    tally: &mut Tally,
) -> Result<()> {
    let alone = Work::A1.load().into_iter().next();
    if let Some(alone) = alone {
        let new = to_new_streams(std::slice::from_ref(session), alone, time).await?;
        figures.insert("new_stream_p50_us", new.latencies.percentile_us(50.0));
        figures.insert("new_stream_p99_us", new.latencies.percentile_us(99.0));
        tally.merge(new);
    }
    let lane = super::append::lane();
    let (stream, mut payloads) = (format!("grows-{lane}"), Payloads::new(lane));
    let mut same = Tally::default();
    let began = Instant::now();
    while began.elapsed() < time {
        let event = payloads.take(1);
        let asked = Instant::now();
        session.append(&stream, same.digest.count, &event).await?;
        same.latencies.add(asked.elapsed());
        same.digest.add(&event[0]);
    }
    figures.insert("append_p50_us", same.latencies.percentile_us(50.0));
    figures.insert("append_p99_us", same.latencies.percentile_us(99.0));
    tally.merge(same);
    Ok(())
}

/// One client: what it takes to read a stream, of all of them and of a few that stay in memory, and
/// how much of each the disk has to read.
async fn reads<S: Session>(
    session: &S,
    process: &Process,
    streams: u64,
    time: Duration,
    figures: &mut Figures,
) -> Result<()> {
    let sets = [
        (streams, "read_p50_us", "read_disk_mb"),
        (STREAMS_IN_MEMORY, "read_again_p50_us", "read_again_disk_mb"),
    ];
    for (streams, took, disk) in sets {
        let before = process.disk_read_bytes();
        let reads = read::streams(session, streams, time).await?;
        let count = (reads.digest.count / STREAM_EVENTS).max(1);
        let disk_bytes = process.disk_read_bytes() - before;
        figures.insert(took, reads.latencies.percentile_us(50.0));
        figures.insert(disk, disk_bytes as f64 / 1e6 / count as f64);
    }
    Ok(())
}
