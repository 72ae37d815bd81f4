//! The works as far as the limits can do them: the bare server at the same concurrency, and what
//! the disk, the loopback and the memory allow.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{Load, Work};
use crate::limit::{bare_client, loopback, sync};
use crate::process::{self, Process};
use crate::sample::{Figures, PERCENTILES, Watch};
use crate::turn::{CLIENTS, Turn};

/// How long each of the small ones is measured.
const SHORT: Duration = Duration::from_millis(1_000);

impl Turn<'_> {
    /// Syncs, loopback, copy.
    pub fn limits(&mut self) -> Result<()> {
        let time = self.options.time().min(SHORT);
        let calibration = sync::calibrate(&self.folder, time)?;
        let syncs = calibration.zeroed.count() as f64 / calibration.took.as_secs_f64();
        let mut figures = Figures::from([("syncs_per_second", syncs)]);
        for (name, percent) in PERCENTILES {
            figures.insert(name, calibration.zeroed.percentile_us(percent));
        }
        figures.insert("growing_p50_us", calibration.growing.percentile_us(50.0));
        figures.insert("growing_p99_us", calibration.growing.percentile_us(99.0));
        let loopback = loopback::loopback(time)?;
        figures.insert("loopback_bytes_per_second", loopback);
        figures.insert("copy_bytes_per_second", loopback::copy(time));
        self.keep_figures(Work::Limits, figures);
        let events = loopback / sync::RECORD_LEN_BYTES as f64;
        for work in [Work::C, Work::D]
            .into_iter()
            .filter(|work| self.options.works.contains(work))
        {
            self.keep_figures(work, Figures::from([("events_per_second", events)]));
        }
        Ok(())
    }

    /// The bare server at the works that append.
    pub fn bare_appends(&mut self) -> Result<()> {
        let works = [Work::A1, Work::A64, Work::Ap, Work::B1, Work::B8];
        let works = works
            .into_iter()
            .filter(|work| self.options.works.contains(work));
        for work in works {
            if let Some(load) = work.load() {
                self.bare(work, load, self.options.time(), u64::MAX)?;
            }
        }
        Ok(())
    }

    /// The bare server at a load, and what it takes of the time of a live delivery.
    pub fn bare_loaded(&mut self) -> Result<()> {
        if let Some(load) = Work::L.load().filter(|_| self.wants(Work::L)) {
            self.bare(Work::L, load, Duration::from_secs(60), self.options.events)?;
        }
        if let Some(load) = Work::A1.load().filter(|_| self.wants(Work::E)) {
            self.bare(Work::E, load, self.options.time(), u64::MAX)?;
        }
        Ok(())
    }

    /// The bare server by more and more clients.
    pub fn bare_clients(&mut self) -> Result<()> {
        for connections in CLIENTS {
            let load = Load {
                connections,
                in_flight: 1,
                batch: 1,
            };
            self.bare(Work::Clients, load, self.options.time() / 2, u64::MAX)?;
            if let Some(sample) = self.samples.last_mut() {
                sample.figures.insert("clients", connections as f64);
            }
        }
        Ok(())
    }

    fn bare(&mut self, work: Work, load: Load, time: Duration, events_max: u64) -> Result<()> {
        let port = self.ports.take();
        let own = std::env::current_exe().context("the harness does not know where it is")?;
        let mut command = process::command(&own.to_string_lossy(), None);
        command
            .arg("bare-server")
            .arg(&self.folder)
            .arg(port.to_string());
        let process = Process::start(&mut command, &self.folder.join("server.log"))?;
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let watch = Watch::start(Some(&process));
        let tally = bare_client::run(port, load, time, events_max)?;
        let figures = watch.stop(&tally, Some(&process));
        self.keep(work, figures, &tally);
        Ok(())
    }
}
