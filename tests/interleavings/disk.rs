//! A disk in memory at which others may go on before and behind each write and sync, and what a
//! power cut would leave of it.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use annal::disk::{Disk, DiskFile, MemoryDisk, Unsynced};
use bytes::Bytes;
use shuttle::thread::yield_now;

#[derive(Clone, Debug, Default)]
pub(crate) struct SharedDisk(pub(crate) MemoryDisk);

impl SharedDisk {
    /// What is durable now, and nothing else.
    pub(crate) fn durable(&self) -> MemoryDisk {
        self.0.snapshot().power_cut(Unsynced::Lost)
    }
}

#[derive(Debug)]
struct SharedFile(Arc<dyn DiskFile>);

fn shared(file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
    Arc::new(SharedFile(file))
}

impl Disk for SharedDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.0.create(name).map(shared)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.0.open(name).map(shared)
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        self.0.list()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.0.sync_directory()
    }

    fn map(&self, name: &str) -> io::Result<Bytes> {
        self.0.map(name)
    }

    fn lock(&self, name: &str) -> io::Result<Box<dyn Debug + Send + Sync>> {
        self.0.lock(name)
    }

    fn lock_shared(&self, name: &str) -> io::Result<Box<dyn Debug + Send + Sync>> {
        self.0.lock_shared(name)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.0.free_bytes()
    }
}

impl DiskFile for SharedFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buffer)
    }

    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        yield_now();
        self.0.write_all_at(offset, bytes)?;
        yield_now();
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        yield_now();
        self.0.sync_data()?;
        yield_now();
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn set_read_only(&self) -> io::Result<()> {
        self.0.set_read_only()
    }

    fn drop_cache(&self, from: u64) -> io::Result<()> {
        self.0.drop_cache(from)
    }
}
