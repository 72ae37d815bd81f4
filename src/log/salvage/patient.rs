//! A file that is read piece by piece where it cannot be read at once: what the disk does not give
//! comes as zeros, which no checksum takes for data.

use std::io;
use std::sync::{Arc, OnceLock};

use crate::disk::DiskFile;
use crate::log::error::StorageError;

/// What a disk gives or refuses as one.
const PIECE_BYTES: usize = 4096;

/// What is wrong with a file, once something is.
pub(super) type FileDamage = Arc<OnceLock<StorageError>>;

/// See the module.
#[derive(Debug)]
pub(super) struct PatientFile {
    file: Arc<dyn DiskFile>,
    name: Arc<str>,
    damage: FileDamage,
}

impl PatientFile {
    /// What the disk says where it does not give something goes to `damage`: zeros may stand where
    /// nothing else tells of it.
    pub(super) fn new(file: Arc<dyn DiskFile>, name: &Arc<str>, damage: &FileDamage) -> Self {
        Self {
            file,
            name: Arc::clone(name),
            damage: Arc::clone(damage),
        }
    }
}

impl DiskFile for PatientFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if let Ok(read) = self.file.read_at(offset, buffer) {
            return Ok(read);
        }
        let wide = |len: usize| u64::try_from(len).unwrap_or(u64::MAX);
        let left = self.file.len()?.saturating_sub(offset);
        let len = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut done = 0;
        while done < len {
            let at = offset + wide(done);
            let piece = PIECE_BYTES - usize::try_from(at % wide(PIECE_BYTES)).unwrap_or(0);
            let end = (done + piece).min(len);
            let into = buffer.get_mut(done..end).unwrap_or_default();
            if let Err(error) = self.file.read_at(at, into) {
                into.fill(0);
                (self.damage).get_or_init(|| StorageError::io("read", &self.name, error));
            }
            done = end;
        }
        Ok(len)
    }

    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(offset, bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn set_read_only(&self) -> io::Result<()> {
        self.file.set_read_only()
    }

    fn drop_cache(&self, from: u64) -> io::Result<()> {
        self.file.drop_cache(from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, Fault, MemoryDisk, Operation, ProbeDisk};

    const LEN: usize = 5 * PIECE_BYTES + 100;

    #[test]
    fn what_the_disk_does_not_give_comes_as_zeros_and_all_else_as_it_is() {
        let disk = ProbeDisk::new(Arc::new(MemoryDisk::new()));
        let file = disk.create("a").unwrap();
        file.write_all_at(0, &[1; LEN]).unwrap();
        let damage = FileDamage::default();
        let patient = PatientFile::new(file, &"a".into(), &damage);
        let read = |from: usize, len: usize| {
            let mut bytes = vec![2; len];
            let from = u64::try_from(from).unwrap();
            let read = patient.read_at(from, &mut bytes).unwrap();
            bytes.truncate(read);
            bytes
        };
        assert_eq!(patient.len().unwrap(), u64::try_from(LEN).unwrap());
        assert_eq!(read(10, LEN), [1; LEN - 10]);
        assert!(damage.get().is_none());
        // One byte of the second piece cannot be read.
        let bad = u64::try_from(2 * PIECE_BYTES - 1).unwrap();
        disk.fail(Fault::at(Operation::Read).touching(bad..bad + 1).forever());
        let mut expected = vec![1; LEN];
        expected[PIECE_BYTES..2 * PIECE_BYTES].fill(0);
        for (from, len) in [
            (0, LEN),
            (0, LEN + 50),
            (100, LEN),
            (5_000, 4_000),
            (8_000, 9_000),
        ] {
            let to = LEN.min(from + len);
            assert_eq!(read(from, len), expected[from..to], "{from} {len}");
        }
        let said = damage.get().map(ToString::to_string);
        assert!(said.is_some_and(|said| said.starts_with("cannot read a:")));
        assert_eq!(read(5_000, 1), [1]);
        assert!(read(LEN + 5, 7).is_empty());
    }
}
