//! A store on a file system that is mounted for reading only, as a backup or a snapshot is: it is
//! served, read and verified, whatever it was when it was mounted, and not a byte of the file
//! system changes. Nobody writes there, so nothing here is judged by the history of clients.

use std::fs;
use std::path::Path;

use annal::client::{AppendError, Client, Read};
use annal::protocol::StorageKind;
use annal::{Append, EventType, ExpectedRevision, NewEvent};
use tokio::runtime::Runtime;

use super::campaign::Place;
use super::load::shared;
use super::server::{Ports, Process, Program, verify};
use super::settings::{Need, lacking};
use super::volume::{Kind, Volume};

const VOLUME_BYTES: u64 = 64 << 20;
const EVENTS: usize = 300;

const NEEDS: &[Need] = &[Need::Root, Need::LoopDevices, Need::Program("mkfs.ext4")];

/// Runs it; what the machine lacks, if it cannot.
pub(crate) fn run() -> Result<Option<String>, String> {
    if let Some(lacks) = lacking(NEEDS) {
        return Ok(Some(lacks));
    }
    // Stopped in order, and killed: then the end of the log is still to be found.
    for in_order in [true, false] {
        let place = Place::new("mounted");
        let volume = Volume::make(Kind::Ext4, place.path(), VOLUME_BYTES)?;
        let (store, log) = (volume.path().join("store"), place.path().join("log"));
        fill(&store, &log, in_order)?;
        let volume = volume.for_reading_only()?;
        let before = fs::read(volume.image()).map_err(|error| error.to_string())?;
        let refused = fs::write(volume.path().join("x"), "x");
        assert!(refused.is_err(), "it can be written");
        read(&store, &log)?;
        let mut writes = Process::spawn(&Program::Binary, &store, Ports::free(), &log);
        let opened = writes.listening();
        assert!(
            opened.is_err(),
            "a server that writes opened it: {opened:?}"
        );
        verify(&store)?;
        let image = volume.image().to_owned();
        drop(volume);
        let after = fs::read(image).map_err(|error| error.to_string())?;
        assert!(after == before, "the file system was changed");
    }
    Ok(None)
}

fn connect(runtime: &Runtime, ports: Ports) -> Result<Client, String> {
    let url = format!("annal://127.0.0.1:{}", ports.native);
    let client = runtime.block_on(Client::connect(&*url));
    client.map_err(|error| error.to_string())
}

fn append() -> Append {
    let event = NewEvent::json(EventType::new("Kept").unwrap(), "{}");
    Append::to(shared(0), ExpectedRevision::Any, [event])
}

fn fill(store: &Path, log: &Path, in_order: bool) -> Result<(), String> {
    let (runtime, ports) = (Runtime::new().unwrap(), Ports::free());
    let mut server = Process::spawn(&Program::Binary, store, ports, log);
    server.listening()?;
    let client = connect(&runtime, ports)?;
    for _ in 0..EVENTS {
        let done = runtime.block_on(client.append(append()));
        done.map_err(|error| error.to_string())?;
    }
    match in_order {
        true => server.stop(),
        false if server.kill() => Ok(()),
        false => Err("the server had ended by itself".to_owned()),
    }
}

fn read(store: &Path, log: &Path) -> Result<(), String> {
    let (runtime, ports) = (Runtime::new().unwrap(), Ports::free());
    let mut server = Process::spawn(&Program::OnlyReads, store, ports, log);
    server.listening()?;
    let client = connect(&runtime, ports)?;
    let all = runtime.block_on(client.read(Read::all()).collect());
    let all = all.map_err(|error| error.to_string())?;
    assert_eq!(all.len(), EVENTS);
    let refused = runtime.block_on(client.append(append())).unwrap_err();
    let is_read_only = matches!(
        &refused,
        AppendError::Storage {
            kind: StorageKind::ReadOnly,
            ..
        }
    );
    assert!(is_read_only, "{refused:?}");
    drop(client);
    server.stop()
}
