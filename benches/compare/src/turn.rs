//! One store's turn in one round: started in an empty folder, given the works of a group, looked
//! at, and ended. What was acknowledged is read back at the end, or nothing of it counts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use crate::options::Options;
use crate::payload::Digest;
use crate::peer::Peer;
use crate::process::disk_bytes;
use crate::sample::{Figures, Machine, Sample, Watch};
use crate::tally::Tally;
use crate::work::append::{STREAM_EVENTS, digest_of_all, load, load_apart, to_new_streams};
use crate::work::start::{Ports, Running, runtime};
use crate::work::{Load, Work, live, mixed, read};

/// Before an append work counts.
const WARM_UP: Duration = Duration::from_millis(200);
/// The works that append, in their order.
const APPENDS: [Work; 5] = [Work::A1, Work::A64, Work::Ap, Work::B1, Work::B8];
/// The numbers of clients of the plot.
pub const CLIENTS: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/// One turn.
pub struct Turn<'a> {
    /// What was asked for.
    pub options: &'a Options,
    /// Where servers listen.
    pub ports: &'a Ports,
    /// An empty folder.
    pub folder: PathBuf,
    /// Whose turn it is.
    pub peer: &'static str,
    /// Which round.
    pub round: u32,
    /// How the machine is.
    pub machine: Machine,
    /// What came out.
    pub samples: Vec<Sample>,
}

impl Turn<'_> {
    /// Whether a work is to be done.
    pub fn wants(&self, work: Work) -> bool {
        self.options.works.contains(&work)
    }

    /// Keeps what a work came to.
    pub fn keep(&mut self, work: Work, figures: Figures, tally: &Tally) {
        let failed = tally.first_error.as_ref();
        self.samples.push(Sample {
            round: self.round,
            peer: self.peer,
            work,
            figures,
            failed: failed.map(|first| format!("{} errors, the first: {first}", tally.errors)),
            machine: self.machine,
        });
    }

    /// Keeps figures that are not of a tally.
    pub fn keep_figures(&mut self, work: Work, figures: Figures) {
        self.keep(work, figures, &Tally::default());
    }

    /// Compares what was acknowledged with what is there. If that is not the same, nothing counts.
    pub fn verify<P: Peer>(&mut self, running: &Running<'_, P>, written: Digest) -> Result<()> {
        let found = runtime(1)?.block_on(async {
            let session = running.session().await?;
            digest_of_all(&session).await
        })?;
        if found != written {
            let (asked, found) = (written.count, found.count);
            let why = format!("{asked} events were acknowledged, {found} read back, not the same");
            for sample in &mut self.samples {
                sample.failed.get_or_insert_with(|| why.clone());
            }
        }
        Ok(())
    }

    /// The appends to new streams.
    pub fn appends<P: Peer>(&mut self, peer: &P) -> Result<()> {
        let running = Running::first(peer, &self.folder, self.ports)?;
        let mut written = Digest::default();
        for work in APPENDS
            .into_iter()
            .filter(|work| self.options.works.contains(work))
        {
            let Some(load) = work.load() else { continue };
            let time = self.options.time();
            let (figures, tally) = append(&running, load, time, &mut written)?;
            self.keep(work, figures, &tally);
        }
        self.verify(&running, written)
    }

    /// One event a request, by more and more clients.
    pub fn clients<P: Peer>(&mut self, peer: &P) -> Result<()> {
        let running = Running::first(peer, &self.folder, self.ports)?;
        let mut written = Digest::default();
        for connections in CLIENTS {
            let load = Load {
                connections,
                in_flight: 1,
                batch: 1,
            };
            let time = self.options.time() / 2;
            let (mut figures, tally) = append(&running, load, time, &mut written)?;
            figures.insert("clients", connections as f64);
            self.keep(Work::Clients, figures, &tally);
        }
        self.verify(&running, written)
    }

    /// A million events: loading, reading, memory, disk, starting; then live and mixed work.
    pub fn loaded<P: Peer>(&mut self, peer: &P) -> Result<()> {
        let mut running = Running::first(peer, &self.folder, self.ports)?;
        let (files, from_empty) = peer.files(&self.folder);
        let empty_bytes = if from_empty { disk_bytes(&files) } else { 0 };
        let mut written = Digest::default();
        self.load(&running, &mut written)?;
        self.reads(&running)?;
        if self.wants(Work::G) || self.wants(Work::F2) {
            let bytes = || disk_bytes(&files).saturating_sub(empty_bytes);
            running = self.restarts(running, &mut written, bytes)?;
        }
        self.live(&running, &mut written)?;
        self.mixed(&running, &mut written)?;
        self.verify(&running, written)
    }

    fn load<P: Peer>(&mut self, running: &Running<'_, P>, written: &mut Digest) -> Result<()> {
        let Some(shape) = Work::L.load() else {
            return Ok(());
        };
        let events = self.options.events;
        let (figures, tally) = runtime(shape.threads())?.block_on(async {
            let sessions = running.sessions(shape.connections).await?;
            let watch = Watch::start(Some(&running.process));
            let tally = load(&sessions, shape.batch, events).await?;
            anyhow::Ok((watch.stop(&tally, Some(&running.process)), tally))
        })?;
        written.merge(tally.digest);
        if self.wants(Work::F1) {
            let memory = Figures::from([("memory_bytes_100", figures["memory_bytes"])]);
            self.keep_figures(Work::F1, memory);
        }
        if self.wants(Work::L) {
            self.keep(Work::L, figures, &tally);
        }
        Ok(())
    }

    fn reads<P: Peer>(&mut self, running: &Running<'_, P>) -> Result<()> {
        let (time, events) = (self.options.time(), self.options.events);
        for work in [Work::C, Work::D]
            .into_iter()
            .filter(|work| self.options.works.contains(work))
        {
            let (figures, tally) = runtime(1)?.block_on(async {
                let session = running.session().await?;
                let watch = Watch::start(Some(&running.process));
                let tally = match work {
                    Work::C => read::streams(&session, events / STREAM_EVENTS, time).await?,
                    _ => read::all(&session, events, time).await?,
                };
                anyhow::Ok((watch.stop(&tally, Some(&running.process)), tally))
            })?;
            self.keep(work, figures, &tally);
        }
        Ok(())
    }

    /// Stops it in order and starts it, kills it and starts it.
    fn restarts<'p, P: Peer>(
        &mut self,
        running: Running<'p, P>,
        written: &mut Digest,
        bytes: impl Fn() -> u64,
    ) -> Result<Running<'p, P>> {
        let peer = running.peer;
        let folder = running.folder;
        running.process.stop(peer.stop_signal())?;
        if self.wants(Work::F2) {
            let bytes = bytes() as f64 / written.count as f64;
            self.keep_figures(Work::F2, Figures::from([("bytes_per_event", bytes)]));
        }
        let (running, clean, one) = Running::timed(peer, &folder, self.ports)?;
        written.merge(one);
        running.process.kill();
        let (running, killed, one) = Running::timed(peer, &folder, self.ports)?;
        written.merge(one);
        if self.wants(Work::G) {
            let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
            let figures = Figures::from([("clean_ms", ms(clean)), ("killed_ms", ms(killed))]);
            self.keep_figures(Work::G, figures);
        }
        Ok(running)
    }

    fn live<P: Peer>(&mut self, running: &Running<'_, P>, written: &mut Digest) -> Result<()> {
        if !self.wants(Work::E) {
            return Ok(());
        }
        let (figures, tally) = runtime(1)?.block_on(async {
            let sessions = running.sessions(2).await?;
            let watch = Watch::start(Some(&running.process));
            let tally = live::run(&sessions[0], &sessions[1], self.options.time()).await?;
            anyhow::Ok((watch.stop(&tally, Some(&running.process)), tally))
        })?;
        written.merge(tally.digest);
        self.keep(Work::E, figures, &tally);
        Ok(())
    }

    fn mixed<P: Peer>(&mut self, running: &Running<'_, P>, written: &mut Digest) -> Result<()> {
        let Some(load) = Work::A64.load().filter(|_| self.wants(Work::M)) else {
            return Ok(());
        };
        let time = self.options.time();
        let (_, alone) = append(running, load, time, written)?;
        let (mut figures, tally) = runtime(load.threads())?.block_on(async {
            let writers = running.sessions(load.connections).await?;
            let readers = running.sessions(mixed::READERS).await?;
            let watch = Watch::start(Some(&running.process));
            let (tally, read) = mixed::run(&writers, readers, load, time).await?;
            let mut figures = watch.stop(&tally, Some(&running.process));
            figures.insert("read_events_per_second", read);
            anyhow::Ok((figures, tally))
        })?;
        written.merge(tally.digest);
        let kept = tally.events_per_second() / alone.events_per_second();
        figures.insert("kept_share", kept);
        self.keep(Work::M, figures, &tally);
        Ok(())
    }

    /// As many streams as events: what that takes in memory.
    pub fn many<P: Peer>(&mut self, peer: &P) -> Result<()> {
        let running = Running::first(peer, &self.folder, self.ports)?;
        let events = self.options.events;
        let tally = runtime(2)?.block_on(async {
            let session = running.session().await?;
            load_apart(&session, events).await
        })?;
        let memory = running.process.memory_bytes() as f64;
        self.keep_figures(Work::F1, Figures::from([("memory_bytes_many", memory)]));
        self.verify(&running, tally.digest)
    }
}

/// Appends to new streams; the time before it counts is not counted, the events are.
fn append<P: Peer>(
    running: &Running<'_, P>,
    load: Load,
    time: Duration,
    written: &mut Digest,
) -> Result<(Figures, Tally)> {
    runtime(load.threads())?.block_on(async {
        let sessions = running.sessions(load.connections).await?;
        let warm = to_new_streams(&sessions, load, WARM_UP).await?;
        let watch = Watch::start(Some(&running.process));
        let mut tally = to_new_streams(&sessions, load, time).await?;
        let figures = watch.stop(&tally, Some(&running.process));
        written.merge(tally.digest);
        written.merge(warm.digest);
        if let Some(error) = warm.first_error {
            tally.errors += warm.errors;
            tally.first_error.get_or_insert(error);
        }
        Ok((figures, tally))
    })
}

/// An empty folder that other users may pass through.
pub fn empty_folder(base: &Path) -> Result<tempfile::TempDir> {
    let folder = tempfile::Builder::new().prefix("turn-").tempdir_in(base)?;
    std::fs::set_permissions(
        folder.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )?;
    Ok(folder)
}
