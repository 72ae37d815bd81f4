//! Many live subscribers of Annal: of one stream each while 64 clients append to these streams, and
//! of the whole log at 500 appends a second. Every event has to come to everybody it is for.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use annal::{Source, StreamName};
use anyhow::{Context, Result, anyhow};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::start::{Running, runtime};
use super::{Load, Work, append, live};
use crate::payload::{Payloads, made_ns, now_ns};
use crate::peer::annal::{Annal, AnnalFeed};
use crate::peer::{Feed, Session};
use crate::sample::{Figures, PERCENTILES, Watch};
use crate::tally::Tally;
use crate::turn::Turn;

/// Connections that share the subscriptions.
const CONNECTIONS: usize = 16;
/// How long the last deliveries may take.
const LATE_MAX: Duration = Duration::from_secs(10);
/// How often it is looked at whether everything has come.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What the subscribers of one connection got.
type Got = Arc<Mutex<Tally>>;

fn of_got(got: &[Got]) -> Tally {
    let mut whole = Tally::default();
    for one in got {
        whole.merge(one.lock().unwrap_or_else(PoisonError::into_inner).clone());
    }
    whole
}

/// Subscribes, and counts what comes until it is dropped.
async fn follow<S: Session>(
    sessions: &[S],
    sources: impl Iterator<Item = Source>,
    open: impl AsyncFn(&S, Source) -> Result<AnnalFeed>,
) -> Result<(JoinSet<()>, Vec<Got>)> {
    let got: Vec<Got> = sessions.iter().map(|_| Got::default()).collect();
    let mut following = JoinSet::new();
    for (at, source) in sources.enumerate() {
        let mut feed = open(&sessions[at % sessions.len()], source).await?;
        let got = Arc::clone(&got[at % sessions.len()]);
        following.spawn(async move {
            let mut each = |data: &[u8]| {
                let took = now_ns().saturating_sub(made_ns(data));
                let mut got = got.lock().unwrap_or_else(PoisonError::into_inner);
                got.latencies.add(Duration::from_nanos(took));
                got.digest.add(data);
            };
            // One that ends early is seen by what it does not deliver.
            while feed.next(&mut each).await.is_ok() {}
        });
    }
    Ok((following, got))
}

/// Waits until so many deliveries have come, or no longer.
async fn wait(got: &[Got], deliveries: u64) {
    let all = async {
        while of_got(got).digest.count < deliveries {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    // What has not come by then is reported as missing.
    let _late = timeout(LATE_MAX, all).await;
}

fn stream(number: usize) -> String {
    format!("followed-{number}")
}

/// Appends to the streams in turn, each writer to its own; `from` events are in each already.
async fn write<S: Session>(
    sessions: &[S],
    streams: usize,
    time: Duration,
    heads: &mut Vec<u64>,
) -> Result<Tally> {
    heads.resize(streams, 0);
    let began = Instant::now();
    let mut lanes = JoinSet::new();
    let count = sessions.len();
    for (at, session) in sessions.iter().enumerate() {
        let session = session.clone();
        let mut own: Vec<(usize, u64)> = (at..streams)
            .step_by(count)
            .map(|number| (number, heads[number]))
            .collect();
        lanes.spawn(async move {
            let mut payloads = Payloads::new(append::lane());
            let mut tally = Tally::default();
            'time: loop {
                for (number, head) in &mut own {
                    if began.elapsed() >= time {
                        break 'time;
                    }
                    let event = payloads.take(1);
                    let asked = Instant::now();
                    match session.append(&stream(*number), *head, &event).await {
                        Ok(()) => {
                            tally.latencies.add(asked.elapsed());
                            tally.digest.add(&event[0]);
                            *head += 1;
                        }
                        Err(error) => tally.failed(&error),
                    }
                }
                if own.is_empty() {
                    break;
                }
            }
            (tally, own)
        });
    }
    let mut whole = Tally::default();
    while let Some(ended) = lanes.join_next().await {
        let (tally, own) = ended?;
        whole.merge(tally);
        own.into_iter()
            .for_each(|(number, head)| heads[number] = head);
    }
    whole.took = began.elapsed();
    Ok(whole)
}

impl Turn<'_> {
    /// Both kinds of subscribers.
    pub fn subscribers(&mut self, peer: &Annal) -> Result<()> {
        let running = Running::first(peer, &self.folder, self.ports)?;
        let load = Work::A64.load().context("A64 appends")?;
        let (figures, tally) = runtime(2)?.block_on(self.of_streams(&running, load))?;
        self.keep(Work::S, figures, &tally);
        let (figures, tally) = runtime(2)?.block_on(self.of_all(&running))?;
        self.keep(Work::S, figures, &tally);
        Ok(())
    }

    async fn of_streams(
        &self,
        running: &Running<'_, Annal>,
        load: Load,
    ) -> Result<(Figures, Tally)> {
        let (streams, time) = (self.options.subscribers, self.options.time());
        let writers = running.sessions(load.connections).await?;
        let readers = running.sessions(CONNECTIONS).await?;
        let mut heads = Vec::new();
        let alone = write(&writers, streams, time, &mut heads).await?;
        let sources = (0..streams).map(stream).map(StreamName::new);
        let sources: Vec<_> = sources.collect::<Result<_, _>>()?;
        let sources = sources.into_iter().map(Source::Stream);
        let (following, got) = follow(&readers, sources, async |session, source| {
            AnnalFeed::open(session.client(), source).await
        })
        .await?;
        let watch = Watch::start(Some(&running.process));
        let mut tally = write(&writers, streams, time, &mut heads).await?;
        let mut figures = watch.stop(&tally, Some(&running.process));
        wait(&got, tally.digest.count).await;
        figures.insert("append_p99_us", tally.latencies.percentile_us(99.0));
        let kept = tally.events_per_second() / alone.events_per_second();
        figures.insert("kept_share", kept);
        drop(following);
        let got = of_got(&got);
        missing(&mut figures, "missing_streams", &mut tally, &got, 1);
        delivered(&mut figures, &got, streams, time);
        Ok((figures, tally))
    }

    async fn of_all(&self, running: &Running<'_, Annal>) -> Result<(Figures, Tally)> {
        let (count, time) = (self.options.subscribers / 10, self.options.time());
        let writer = running.session().await?;
        let readers = running.sessions(CONNECTIONS).await?;
        let sources = std::iter::repeat_n(Source::All, count);
        let (following, got) = follow(&readers, sources, async |session, source| {
            AnnalFeed::open(session.client(), source).await
        })
        .await?;
        let watch = Watch::start(Some(&running.process));
        let began = Instant::now();
        let mut tally = live::write(writer, time).await?;
        tally.took = began.elapsed();
        let mut figures = watch.stop(&tally, Some(&running.process));
        let each = count as u64;
        wait(&got, tally.digest.count * each).await;
        figures.insert("append_p99_us", tally.latencies.percentile_us(99.0));
        drop(following);
        let got = of_got(&got);
        missing(&mut figures, "missing_all", &mut tally, &got, each);
        delivered(&mut figures, &got, count, time);
        Ok((figures, tally))
    }
}

/// How many deliveries did not come; if not all came, and nothing else, the work has failed.
fn missing(figures: &mut Figures, name: &'static str, tally: &mut Tally, got: &Tally, each: u64) {
    let due = tally.digest.times(each);
    figures.insert(name, due.count as f64 - got.digest.count as f64);
    if got.digest != due {
        let (came, due) = (got.digest.count, due.count);
        tally.failed(&anyhow!("{came} events were delivered, {due} were due"));
    }
}

/// The figures of deliveries take the place of those of appends.
fn delivered(figures: &mut Figures, got: &Tally, subscribers: usize, time: Duration) {
    for (name, percent) in PERCENTILES {
        figures.insert(name, got.latencies.percentile_us(percent));
    }
    figures.insert("subscribers", subscribers as f64);
    let rate = got.digest.count as f64 / time.as_secs_f64();
    figures.insert("delivered_per_second", rate);
}
