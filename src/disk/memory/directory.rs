//! The names of the simulated disk: what a caller sees, what is durable, and the changes between.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::disk::memory::content::Content;
use crate::disk::memory::space::Space;
use crate::disk::memory::survival::Survival;

pub(super) type Inode = Arc<RwLock<Content>>;
type Names = BTreeMap<String, Inode>;

#[derive(Clone, Debug)]
enum Change {
    Create(String, Inode),
    Rename(String, Inode),
    Remove(String),
}

impl Change {
    fn name(&self) -> &str {
        match self {
            Self::Create(name, _) | Self::Rename(name, _) | Self::Remove(name) => name,
        }
    }
}

/// The directory. A file has one name at most.
#[derive(Debug, Default)]
pub(super) struct Directory {
    names: Names,
    durable: Names,
    unsynced: Vec<Change>,
}

impl Directory {
    pub(super) fn create(&mut self, name: &str, inode: Inode) -> io::Result<()> {
        if self.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.change(Change::Create(name.to_owned(), inode));
        Ok(())
    }

    pub(super) fn find(&self, name: &str) -> io::Result<&Inode> {
        self.names
            .get(name)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn list(&self) -> Vec<(String, u64)> {
        self.names
            .iter()
            .map(|(name, inode)| (name.clone(), inode.read().len()))
            .collect()
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let inode = Arc::clone(self.find(from)?);
        if from != to {
            self.change(Change::Rename(to.to_owned(), inode));
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &str) -> io::Result<()> {
        self.find(name)?;
        self.change(Change::Remove(name.to_owned()));
        Ok(())
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.names, &change);
        self.unsynced.push(change);
    }

    pub(super) fn put(&mut self, name: &str, inode: Inode) {
        self.unsynced.retain(|change| change.name() != name);
        self.durable.insert(name.to_owned(), Arc::clone(&inode));
        self.names.insert(name.to_owned(), inode);
    }

    pub(super) fn destroy(&mut self, name: &str) -> io::Result<()> {
        self.find(name)?;
        self.unsynced.retain(|change| change.name() != name);
        self.durable.remove(name);
        self.names.remove(name);
        Ok(())
    }

    pub(super) fn sync(&mut self) {
        self.durable = self.names.clone();
        self.unsynced.clear();
    }

    /// The same directory on another disk.
    pub(super) fn copy(&self, space: &Arc<Space>) -> Self {
        let mut copies = BTreeMap::new();
        let mut copy = |inode: &Inode| {
            let copied = || Arc::new(RwLock::new(inode.read().copy(Arc::clone(space))));
            Arc::clone(copies.entry(Arc::as_ptr(inode)).or_insert_with(copied))
        };
        let unsynced = self.unsynced.iter().map(|change| match change {
            Change::Create(name, inode) => Change::Create(name.clone(), copy(inode)),
            Change::Rename(to, inode) => Change::Rename(to.clone(), copy(inode)),
            Change::Remove(name) => Change::Remove(name.clone()),
        });
        let unsynced = unsynced.collect();
        let mut names_copy = |names: &Names| {
            names
                .iter()
                .map(|(name, inode)| (name.clone(), copy(inode)))
                .collect()
        };
        Self {
            names: names_copy(&self.names),
            durable: names_copy(&self.durable),
            unsynced,
        }
    }

    /// What is found of the directory and its files after a power cut, on another disk.
    pub(super) fn survivor(
        &self,
        space: &Arc<Space>,
        survival: &mut Survival,
        fragile_block: Option<usize>,
    ) -> Self {
        survival.turn(self.unsynced.len());
        let mut found = self.durable.clone();
        for change in &self.unsynced {
            if survival.version(1) == 1 {
                apply(&mut found, change);
            }
        }
        let mut names = Names::new();
        for (name, inode) in found {
            let inode = inode.read();
            let content = inode.survivor(Arc::clone(space), survival, fragile_block);
            names.insert(name, Arc::new(RwLock::new(content)));
        }
        Self {
            durable: names.clone(),
            names,
            unsynced: Vec::new(),
        }
    }
}

fn apply(names: &mut Names, change: &Change) {
    match change {
        Change::Create(name, inode) => {
            names.insert(name.clone(), Arc::clone(inode));
        }
        Change::Rename(to, inode) => {
            // Not by the old name: a cut may have lost an earlier rename of the same file.
            names.retain(|_, other| !Arc::ptr_eq(other, inode));
            names.insert(to.clone(), Arc::clone(inode));
        }
        Change::Remove(name) => {
            names.remove(name);
        }
    }
}
