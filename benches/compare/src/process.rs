//! The servers that are measured: started in a folder of their own, watched through `/proc`, ended
//! by their process ids, whatever happens to the harness.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// How long a server may take to stop in order.
const STOP_MAX: Duration = Duration::from_secs(60);
/// Processor time is told in these.
const TICK: Duration = Duration::from_millis(10);

/// A command that ends with the harness, under another user if one is named.
pub fn command(program: &str, user: Option<&str>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if let Some(user) = user {
        command.args(["--reuid", user, "--regid", user, "--init-groups"]);
    }
    command.arg("--").arg(program);
    command
}

/// A running server with all its processes.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts a server; what it says goes to a file.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let log = File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?);
        let child = command.stderr(log).spawn();
        let child = child.with_context(|| format!("{command:?} cannot be started"))?;
        Ok(Self { child })
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Its processes: the one that was started, and all that it started.
    pub fn tree(&self) -> BTreeSet<u32> {
        let parents: BTreeMap<u32, u32> = processes()
            .filter_map(|pid| Some((pid, stat(pid)?.parent)))
            .collect();
        let mut tree = BTreeSet::from([self.child.id()]);
        loop {
            let before = tree.len();
            for (pid, parent) in &parents {
                if tree.contains(parent) {
                    tree.insert(*pid);
                }
            }
            if tree.len() == before {
                return tree;
            }
        }
    }

    /// The processor time of all of them so far.
    pub fn cpu(&self) -> Duration {
        let stats = self.tree().into_iter().filter_map(stat);
        stats.map(|stat| stat.cpu_with_ended).sum()
    }

    /// The memory of all of them, pages that they share counted once.
    pub fn memory_bytes(&self) -> u64 {
        let of = |pid| {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        self.tree().into_iter().filter_map(of).sum::<u64>() * 1024
    }

    /// How much all of them had the disk read so far, in bytes: what the system had in memory does
    /// not count.
    pub fn disk_read_bytes(&self) -> u64 {
        let of = |pid| {
            let text = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("read_bytes: "))?;
            line.parse::<u64>().ok()
        };
        self.tree().into_iter().filter_map(of).sum()
    }

    /// Gives those that left the harness's scheduling group the weight that the group has.
    pub fn weigh(&self) {
        if let Ok(weight) = std::env::var("ANNAL_COMPARE_WEIGHT") {
            for pid in self.tree() {
                // Where this is not allowed, the others do not have it either.
                let _refused = fs::write(format!("/proc/{pid}/autogroup"), &weight);
            }
        }
    }

    /// Stops it in order, by a signal, and waits for its end.
    pub fn stop(mut self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal)?;
        let asked = Instant::now();
        while asked.elapsed() < STOP_MAX {
            if self.has_ended() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        bail!("a server did not stop within {STOP_MAX:?}")
    }

    /// Ends all its processes at once, without a chance to write anything.
    pub fn kill(mut self) {
        self.kill_all();
    }

    fn kill_all(&mut self) {
        if self.has_ended() {
            return;
        }
        let tree = self.tree();
        for pid in &tree {
            if let Some(pid) = i32::try_from(*pid).ok().and_then(Pid::from_raw) {
                // It may have ended meanwhile.
                let _gone = kill_process(pid, Signal::KILL);
            }
        }
        let _status = self.child.wait();
        while tree
            .iter()
            .any(|pid| stat(*pid).is_some_and(|stat| !stat.zombie))
        {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_all();
    }
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

struct Stat {
    parent: u32,
    zombie: bool,
    cpu: Duration,
    cpu_with_ended: Duration,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Behind the name, which may hold anything.
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = |from: usize, count: usize| {
        let fields = fields.get(from..from + count).unwrap_or_default();
        TICK * fields
            .iter()
            .filter_map(|text| text.parse::<u32>().ok())
            .sum()
    };
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        zombie: matches!(fields.first(), Some(&"Z" | &"X")),
        cpu: ticks(11, 2),
        cpu_with_ended: ticks(11, 4),
    })
}

/// The processor time of the harness itself so far.
pub fn own_cpu() -> Duration {
    stat(std::process::id()).map_or(Duration::ZERO, |stat| stat.cpu)
}

/// How many processes wanted to run in the last minute, on average.
pub fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = text.split(' ').next().unwrap_or_default();
    first.parse().unwrap_or(f64::NAN)
}

/// The bytes that the files below a folder take on the disk.
pub fn disk_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => disk_bytes(&entry.path()),
        Ok(meta) => meta.blocks() * 512,
        Err(_) => 0,
    });
    sizes.sum()
}
