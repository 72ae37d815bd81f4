//! The bytes of one simulated file: what a reader sees, what is durable, and the writes between.
//!
//! Pages are shared between the two views, so that a write copies at most one page and a sync costs
//! what was written since the last one. A page that is absent reads as zeros and takes no space.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::memory::page::{
    PAGE_BYTES, Page, Pages, ZEROS, cut, page_len, patch, place, restore, wide, within, zero_page,
};
use crate::disk::memory::space::Space;
use crate::disk::memory::survival::Survival;

pub(super) const SECTOR_BYTES: usize = 512;

/// One write since the last sync, or the part of it that lies in one page.
#[derive(Clone, Debug)]
struct Write {
    at: usize,
    bytes: Bytes,
    /// A sync failed and the system forgot that these bytes must go to the disk.
    lost: bool,
}

impl Write {
    /// Whether it changes something of so many bytes of its page.
    fn touches(&self, start: usize, len: usize) -> bool {
        self.at < start + len && self.at + self.bytes.len() > start
    }
}

/// One file.
#[derive(Debug)]
pub(super) struct Content {
    space: Arc<Space>,
    read_only: bool,
    len: u64,
    pages: Pages,
    durable_len: u64,
    durable: Pages,
    /// The lengths the file has had since the last sync.
    lens: Vec<u64>,
    /// The writes since the last sync, by page, in their order.
    dirty: BTreeMap<u64, Vec<Write>>,
    mapped: Option<Bytes>,
}

impl Content {
    pub(super) const fn new(space: Arc<Space>) -> Self {
        Self {
            space,
            read_only: false,
            len: 0,
            pages: BTreeMap::new(),
            durable_len: 0,
            durable: BTreeMap::new(),
            lens: Vec::new(),
            dirty: BTreeMap::new(),
            mapped: None,
        }
    }

    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    pub(super) const fn set_read_only(&mut self) {
        self.read_only = true;
    }

    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let there = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = buffer.len().min(there);
        let (mut rest, _) = buffer.split_at_mut(len);
        let mut offset = offset;
        while !rest.is_empty() {
            let (page, at) = place(offset);
            let (piece, after) = rest.split_at_mut(rest.len().min(PAGE_BYTES - at));
            match self.pages.get(&page) {
                Some(stored) => piece.copy_from_slice(within(stored.as_ref(), at, piece.len())),
                None => piece.fill(0),
            }
            offset += wide(piece.len());
            rest = after;
        }
        len
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.refuse_read_only()?;
        if bytes.is_empty() {
            return Ok(());
        }
        if offset
            .checked_add(wide(bytes.len()))
            .is_none_or(|end| end > Space::UNLIMITED)
        {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.mapped = None;
        let mut offset = offset;
        let mut rest = Bytes::copy_from_slice(bytes);
        let mut result = Ok(());
        while !rest.is_empty() && result.is_ok() {
            let (page, at) = place(offset);
            let piece = rest.split_to(rest.len().min(PAGE_BYTES - at));
            let end = offset + wide(piece.len());
            result = self.write_piece(page, at, piece);
            if result.is_ok() {
                offset = end;
                self.len = self.len.max(end);
            }
        }
        self.lens.push(self.len);
        result
    }

    fn write_piece(&mut self, page: u64, at: usize, bytes: Bytes) -> io::Result<()> {
        let stored = match self.pages.entry(page) {
            Entry::Occupied(occupied) => occupied.into_mut(),
            Entry::Vacant(vacant) => {
                self.space.take_page()?;
                vacant.insert(zero_page())
            }
        };
        // Files are filled with zeros ahead of use: much space, and one page.
        let bytes = if bytes == ZEROS.as_slice() {
            *stored = zero_page();
            Bytes::from_static(&ZEROS)
        } else {
            patch(Arc::make_mut(stored), at, &bytes);
            bytes
        };
        self.dirty.entry(page).or_default().push(Write {
            at,
            bytes,
            lost: false,
        });
        Ok(())
    }

    pub(super) fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.refuse_read_only()?;
        if len > Space::UNLIMITED {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.mapped = None;
        let before = self.pages.len();
        for (page, at) in cut(&mut self.pages, len) {
            let bytes = Bytes::from_static(within(&ZEROS, at, PAGE_BYTES - at));
            self.dirty.entry(page).or_default().push(Write {
                at,
                bytes,
                lost: false,
            });
        }
        self.recharge(before);
        self.len = len;
        self.lens.push(len);
        Ok(())
    }

    fn refuse_read_only(&self) -> io::Result<()> {
        match self.read_only {
            true => Err(io::ErrorKind::PermissionDenied.into()),
            false => Ok(()),
        }
    }

    fn recharge(&self, pages_before: usize) {
        self.space.take(self.pages.len());
        self.space.give(pages_before);
    }

    pub(super) fn sync(&mut self) {
        let Self {
            dirty,
            pages,
            durable,
            ..
        } = self;
        dirty.retain(|page, writes| {
            let lost = writes.iter().all(|write| write.lost);
            if !lost {
                restore(durable, pages, *page);
            }
            lost
        });
        self.durable_len = self.len;
        self.lens.clear();
    }

    pub(super) fn lose_unsynced(&mut self) {
        self.lens.clear();
        for write in self.dirty.values_mut().flatten() {
            write.lost = true;
        }
    }

    pub(super) fn drop_cache(&mut self, from: u64) {
        self.mapped = None;
        let (first, _) = place(from);
        let before = self.pages.len();
        let Self {
            dirty,
            pages,
            durable,
            ..
        } = self;
        dirty.retain(|page, writes| {
            let lost = *page >= first && writes.iter().all(|write| write.lost);
            if lost {
                restore(pages, durable, *page);
            }
            !lost
        });
        // The length is kept apart from the pages and is not read again.
        cut(&mut self.pages, self.len);
        self.recharge(before);
    }

    pub(super) fn map(&mut self) -> io::Result<Bytes> {
        if let Some(mapped) = &self.mapped {
            return Ok(mapped.clone());
        }
        let len = usize::try_from(self.len).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut bytes = vec![0; len];
        self.read(0, &mut bytes);
        let mapped = Bytes::from(bytes);
        self.mapped = Some(mapped.clone());
        Ok(mapped)
    }

    /// Changes a stored byte at once, as a failing medium does, read-only or not. A write that is
    /// not synced yet still covers what it covers.
    pub(super) fn corrupt(&mut self, offset: u64, change: impl Fn(u8) -> u8) -> io::Result<()> {
        if offset >= self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.mapped = None;
        let before = self.pages.len();
        let (page, at) = place(offset);
        for (pages, len) in [
            (&mut self.pages, self.len),
            (&mut self.durable, self.durable_len),
        ] {
            if offset < len {
                let stored = Arc::make_mut(pages.entry(page).or_insert_with(zero_page));
                if let Some(byte) = stored.get_mut(at) {
                    *byte = change(*byte);
                }
            }
        }
        self.recharge(before);
        Ok(())
    }

    /// Cuts the file and its durable version at once, as somebody else's hand does.
    pub(super) fn truncate(&mut self, len: u64) {
        self.mapped = None;
        let before = self.pages.len();
        self.len = self.len.min(len);
        self.durable_len = self.durable_len.min(len);
        self.lens
            .iter_mut()
            .for_each(|reached| *reached = len.min(*reached));
        self.dirty.retain(|page, _| page * page_len() < len);
        cut(&mut self.pages, self.len);
        cut(&mut self.durable, self.durable_len);
        self.recharge(before);
    }

    /// The same file on another disk.
    pub(super) fn copy(&self, space: Arc<Space>) -> Self {
        space.take(self.pages.len());
        Self {
            space,
            read_only: self.read_only,
            len: self.len,
            pages: self.pages.clone(),
            durable_len: self.durable_len,
            durable: self.durable.clone(),
            lens: self.lens.clone(),
            dirty: self.dirty.clone(),
            mapped: self.mapped.clone(),
        }
    }

    /// What is found of the file after a power cut, on another disk. `fragile_block`: how large the
    /// blocks are that the disk loses when their writing is cut short, at most a page.
    pub(super) fn survivor(
        &self,
        space: Arc<Space>,
        survival: &mut Survival,
        fragile_block: Option<usize>,
    ) -> Self {
        let touched = |(start, writes): (usize, &Vec<Write>)| {
            let mut writes = writes.iter();
            usize::from(writes.any(|write| write.touches(start, SECTOR_BYTES)))
        };
        let sectors = self.dirty.values().flat_map(|writes| {
            (0..PAGE_BYTES)
                .step_by(SECTOR_BYTES)
                .map(move |start| (start, writes))
        });
        survival.turn(sectors.map(touched).sum());
        let mut pages = self.durable.clone();
        for (page, writes) in &self.dirty {
            let mut after = pages.get(page).map_or(ZEROS, |stored| **stored);
            for start in (0..PAGE_BYTES).step_by(SECTOR_BYTES) {
                tear_sector(&mut after, start, writes, survival);
            }
            if let Some(block) = fragile_block {
                wreck_blocks(&mut after, block, writes, survival);
            }
            pages.insert(*page, Arc::new(after));
        }
        let reached = survival.version(self.lens.len());
        let len = match reached
            .checked_sub(1)
            .and_then(|unsynced| self.lens.get(unsynced))
        {
            Some(len) => *len,
            None => self.durable_len,
        };
        cut(&mut pages, len);
        space.take(pages.len());
        let mut found = Self::new(space);
        found.read_only = self.read_only && survival.version(1) == 1;
        found.len = len;
        found.durable_len = len;
        found.durable = pages.clone();
        found.pages = pages;
        found
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        self.space.give(self.pages.len());
    }
}

/// Brings one sector to a state it had after one of the writes to it, or leaves it as synced.
///
/// A system writes whole sectors, so what is found holds all writes up to some moment. A lost write
/// reaches the disk only as part of the sector that a later one makes dirty again.
fn tear_sector(page: &mut Page, start: usize, writes: &[Write], survival: &mut Survival) {
    let end = start + SECTOR_BYTES;
    let touching: Vec<_> = writes
        .iter()
        .filter(|write| write.touches(start, SECTOR_BYTES))
        .collect();
    let versions = touching
        .iter()
        .enumerate()
        .filter(|(_, write)| !write.lost)
        .map(|(i, _)| i + 1);
    let versions: Vec<usize> = std::iter::once(0).chain(versions).collect();
    let newest = versions.len().saturating_sub(1);
    let choose = |survival: &mut Survival| {
        let version = versions.get(survival.version(newest)).copied();
        version.unwrap_or(0)
    };
    let front = choose(survival);
    let (middle, behind) = match survival.tear(SECTOR_BYTES) {
        Some(tear) => (start + tear, choose(survival)),
        None => (end, 0),
    };
    let mut bring = |from: usize, to: usize, version: usize| {
        for write in touching.iter().take(version) {
            let from = write.at.max(from);
            let to = (write.at + write.bytes.len()).min(to);
            if from < to {
                patch(page, from, within(&write.bytes, from - write.at, to - from));
            }
        }
    };
    bring(start, middle, front);
    bring(middle, end, behind);
}

/// Loses whole blocks that a write had begun to replace, what was synced in them too.
fn wreck_blocks(page: &mut Page, block: usize, writes: &[Write], survival: &mut Survival) {
    for start in (0..PAGE_BYTES).step_by(block) {
        let touches = |write: &Write| !write.lost && write.touches(start, block);
        if writes.iter().any(touches)
            && let Some(wreck) = survival.wreck(block)
        {
            patch(page, start, &wreck);
        }
    }
}
