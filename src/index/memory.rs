//! The memory part: the index of the events that no table covers yet.
//!
//! One part covers positions from `first` on, staged ones included; a reader says up to where it
//! may look. Keys are kept once, in one text; positions as distances from the first. Ordinals of
//! all kinds but streams count from the start of the part.

use hashbrown::HashTable;
use smallvec::SmallVec;

use crate::format::codec::to_u64;
use crate::format::filter::KeyHasher;
use crate::format::table::Kind;
use crate::index::key::Posting;
use crate::index::list::{Bound, Item, LEAF_ITEMS_MAX};
use crate::model::StreamMetadata;

/// The index of a range of positions, in memory.
#[derive(Debug)]
pub(super) struct Part {
    first: u64,
    end: u64,
    log_len_bytes: u64,
    hasher: KeyHasher,
    table: HashTable<u32>,
    entries: Vec<Entry>,
    texts: Vec<u8>,
    rare: Vec<Rare>,
    spilled_bytes: usize,
    /// How many keys there are of each kind.
    keys: [u32; Kind::COUNT],
    /// The entry that was found last for each kind: events that lie together share keys.
    latest: [Option<u32>; Kind::COUNT],
}

#[derive(Debug)]
struct Entry {
    first_ordinal: u64,
    positions: SmallVec<[u32; 4]>,
    text_start: u32,
    text_len: u16,
    kind: Kind,
    /// Where in `rare`, plus one.
    rare: u32,
}

/// What few entries have.
#[derive(Debug, Default)]
struct Rare {
    tombstone: Option<u32>,
    /// What each event of a metadata list says.
    metadata: Vec<StreamMetadata>,
    /// Where ordinals do not go on: from this index, they go on from this ordinal.
    jumps: Vec<(u32, u64)>,
}

/// One key of a part, as far as a reader may see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    part: &'a Part,
    entry: &'a Entry,
    len: usize,
    tombstone: Option<u64>,
}

impl Part {
    /// An empty part for the positions from `first` on.
    pub(super) fn new(first: u64, hasher: KeyHasher) -> Self {
        Self {
            first,
            end: first,
            log_len_bytes: 0,
            hasher,
            table: HashTable::new(),
            entries: Vec::new(),
            texts: Vec::new(),
            rare: Vec::new(),
            spilled_bytes: 0,
            keys: [0; Kind::COUNT],
            latest: [None; Kind::COUNT],
        }
    }

    /// An empty part for the positions behind this one, which expects as many keys.
    pub(super) fn next(&self) -> Self {
        let mut next = Self::new(self.end, self.hasher);
        next.table = HashTable::with_capacity(self.table.len());
        next
    }

    /// The lowest position it can hold.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The position behind the last one it holds.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// How many bytes of log it indexes.
    pub(super) fn log_len_bytes(&self) -> u64 {
        self.log_len_bytes
    }

    /// How many bytes of memory it takes, about.
    pub(super) fn memory_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
            + self.texts.capacity()
            + self.rare.capacity() * size_of::<Rare>()
            + self.table.capacity() * 6
            + self.spilled_bytes
    }

    /// Adds the keys of one event, which must lie behind all before it.
    pub(super) fn insert(&mut self, posting: &Posting<'_>, stream_hash: u64) {
        let at = self.offset(posting.position.0);
        let stream = posting.stream.as_str();
        let index = self.entry_with_hash(Kind::Stream, stream, Some(stream_hash));
        if posting.tombstone {
            self.rare_mut(index).tombstone = Some(at);
        } else {
            self.push(index, at, Some(posting.revision.0));
        }
        if let (Some(metadata), Some(described)) = (posting.metadata, posting.stream.described()) {
            let index = self.add(Kind::Metadata, described, at);
            self.rare_mut(index).metadata.push(metadata.clone());
        }
        for key in posting.keys() {
            self.add(key.kind(), key.text(), at);
        }
        self.end = posting.position.0 + 1;
        self.log_len_bytes += u64::from(posting.record_len);
    }

    /// Adds the keys that an event had which was removed, but for those of its stream: they count
    /// on as if it were there.
    pub(super) fn insert_removed(&mut self, position: u64, keys: &[(Kind, Box<str>)]) {
        let at = self.offset(position);
        for (kind, text) in keys {
            self.add(*kind, text, at);
        }
        self.end = position + 1;
    }

    /// Covers positions up to `end` at which there is no event any more.
    pub(super) fn skip_to(&mut self, end: u64) {
        self.end = self.end.max(end);
    }

    fn offset(&self, position: u64) -> u32 {
        u32::try_from(position - self.first).expect("a part is flushed long before 2^32 events")
    }

    fn add(&mut self, kind: Kind, text: &str, at: u32) -> usize {
        let index = self.entry_with_hash(kind, text, None);
        self.push(index, at, None);
        index
    }

    fn push(&mut self, index: usize, at: u32, ordinal: Option<u64>) {
        let next = ordinal
            .and(self.entries.get(index))
            .map(|entry| self.ordinal(entry, entry.positions.len()));
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        if entry.positions.last() == Some(&at) {
            return;
        }
        let jump = match ordinal {
            Some(ordinal) if entry.positions.is_empty() => {
                entry.first_ordinal = ordinal;
                None
            }
            Some(ordinal) => (next != Some(ordinal)).then_some(ordinal),
            None => None,
        };
        let len = entry.positions.len();
        let heap = |positions: &SmallVec<[u32; 4]>| match positions.spilled() {
            true => positions.capacity() * size_of::<u32>(),
            false => 0,
        };
        let before = heap(&entry.positions);
        entry.positions.push(at);
        self.spilled_bytes += heap(&entry.positions) - before;
        if let Some(ordinal) = jump {
            let len = u32::try_from(len).unwrap_or(u32::MAX);
            self.rare_mut(index).jumps.push((len, ordinal));
        }
    }

    fn rare_mut(&mut self, index: usize) -> &mut Rare {
        let entry = self.entries.get_mut(index).expect("it was just found");
        if entry.rare == 0 {
            self.rare.push(Rare::default());
            entry.rare = u32::try_from(self.rare.len()).expect("fewer than postings");
        }
        let at = usize::try_from(entry.rare - 1).unwrap_or(usize::MAX);
        self.rare.get_mut(at).expect("it was put there")
    }

    fn rare(&self, entry: &Entry) -> Option<&Rare> {
        let at = entry.rare.checked_sub(1)?;
        self.rare.get(usize::try_from(at).ok()?)
    }

    fn text(&self, entry: &Entry) -> &[u8] {
        let start = usize::try_from(entry.text_start).unwrap_or(usize::MAX);
        self.texts
            .get(start..start.saturating_add(usize::from(entry.text_len)))
            .unwrap_or_default()
    }

    fn fits(&self, index: u32, kind: Kind, text: &str) -> bool {
        let entry = usize::try_from(index)
            .ok()
            .and_then(|at| self.entries.get(at));
        entry.is_some_and(|entry| entry.kind == kind && self.text(entry) == text.as_bytes())
    }

    fn index_of(&self, kind: Kind, text: &str, hash: u64) -> Option<u32> {
        let found = self.table.find(hash, |index| self.fits(*index, kind, text));
        found.copied()
    }

    /// The entry of a key, made if there is none.
    fn entry_with_hash(&mut self, kind: Kind, text: &str, hash: Option<u64>) -> usize {
        let to_usize = |index: u32| usize::try_from(index).unwrap_or(usize::MAX);
        let latest = self.latest.get(kind.index()).copied().flatten();
        if let Some(index) = latest.filter(|index| self.fits(*index, kind, text)) {
            return to_usize(index);
        }
        let hash = hash.unwrap_or_else(|| self.hasher.hash(kind.byte(), text.as_bytes()));
        let index = match self.index_of(kind, text, hash) {
            Some(index) => index,
            None => self.new_entry(kind, text, hash),
        };
        if let Some(latest) = self.latest.get_mut(kind.index()) {
            *latest = Some(index);
        }
        to_usize(index)
    }

    fn new_entry(&mut self, kind: Kind, text: &str, hash: u64) -> u32 {
        let index = u32::try_from(self.entries.len()).expect("a part is flushed before that");
        let entry = Entry {
            first_ordinal: 0,
            positions: SmallVec::new(),
            text_start: u32::try_from(self.texts.len()).expect("a part is flushed before 4 GiB"),
            text_len: u16::try_from(text.len()).expect("names have at most 1,024 bytes"),
            kind,
            rare: 0,
        };
        self.texts.extend_from_slice(text.as_bytes());
        self.entries.push(entry);
        if let Some(keys) = self.keys.get_mut(kind.index()) {
            *keys += 1;
        }
        let Self {
            table,
            entries,
            texts,
            hasher,
            ..
        } = self;
        let rehash = |index: &u32| {
            let entry = usize::try_from(*index).ok().and_then(|at| entries.get(at));
            entry.map_or(0, |entry| {
                let start = usize::try_from(entry.text_start).unwrap_or(usize::MAX);
                let end = start.saturating_add(usize::from(entry.text_len));
                hasher.hash(entry.kind.byte(), texts.get(start..end).unwrap_or_default())
            })
        };
        table.insert_unique(hash, index, rehash);
        index
    }

    fn ordinal(&self, entry: &Entry, index: usize) -> u64 {
        let jumps = self.rare(entry).map_or(&[][..], |rare| &rare.jumps);
        let behind = |(from, _): &(u32, u64)| usize::try_from(*from).is_ok_and(|at| at <= index);
        let jump = jumps.partition_point(behind).checked_sub(1);
        match jump.and_then(|jump| jumps.get(jump)) {
            None => entry.first_ordinal + to_u64(index),
            Some((from, ordinal)) => ordinal + (to_u64(index) - u64::from(*from)),
        }
    }

    /// The key's list, up to the position `end`; none if nothing of it may be seen.
    pub(super) fn find(&self, kind: Kind, text: &str, hash: u64, end: u64) -> Option<Found<'_>> {
        // Few streams have metadata, and every append asks for those of its stream.
        if self.keys.get(kind.index()) == Some(&0) {
            return None;
        }
        let index = self.index_of(kind, text, hash)?;
        let entry = self.entries.get(usize::try_from(index).ok()?)?;
        self.visible(entry, end)
    }

    fn visible<'a>(&'a self, entry: &'a Entry, end: u64) -> Option<Found<'a>> {
        let seen = |at: &u32| self.first + u64::from(*at) < end;
        let len = match entry.positions.last() {
            Some(last) if seen(last) => entry.positions.len(),
            _ => entry.positions.partition_point(seen),
        };
        let tombstone = self.rare(entry).and_then(|rare| rare.tombstone);
        let tombstone = tombstone.filter(seen).map(|at| self.first + u64::from(at));
        (len > 0 || tombstone.is_some()).then_some(Found {
            part: self,
            entry,
            len,
            tombstone,
        })
    }

    /// All keys of which something may be seen, with their texts, in the order of tables.
    pub(super) fn sorted(&self, end: u64) -> Vec<Found<'_>> {
        let mut found: Vec<_> = self
            .entries
            .iter()
            .filter_map(|entry| self.visible(entry, end))
            .collect();
        found.sort_unstable_by(|a, b| (a.kind(), a.text()).cmp(&(b.kind(), b.text())));
        found
    }

    /// The keys of a kind whose text begins so and lies behind `after`, the first `max` of them.
    pub(super) fn texts(
        &self,
        kind: Kind,
        prefix: &str,
        after: Option<&str>,
        max: usize,
        end: u64,
    ) -> Vec<(String, u64)> {
        let wanted = |entry: &&Entry| {
            let text = self.text(entry);
            entry.kind == kind
                && text.starts_with(prefix.as_bytes())
                && after.is_none_or(|after| text > after.as_bytes())
        };
        let entries = self.entries.iter().filter(wanted);
        let mut found: Vec<_> = entries
            .filter_map(|entry| self.visible(entry, end))
            .collect();
        if found.len() > max && max > 0 {
            found.select_nth_unstable_by_key(max - 1, Found::text);
            found.truncate(max);
        }
        found.sort_unstable_by_key(Found::text);
        let text = |found: &Found<'_>| String::from_utf8_lossy(found.text()).into_owned();
        found
            .iter()
            .take(max)
            .map(|f| (text(f), to_u64(f.len)))
            .collect()
    }
}

impl<'a> Found<'a> {
    /// The kind of the key.
    pub(super) fn kind(&self) -> Kind {
        self.entry.kind
    }

    /// The text of the key.
    pub(super) fn text(&self) -> &'a [u8] {
        self.part.text(self.entry)
    }

    /// Where the stream was closed for ever.
    pub(super) fn tombstone(&self) -> Option<u64> {
        self.tombstone
    }

    /// An item by its index.
    pub(super) fn item(&self, index: usize) -> Option<Item> {
        let at = self
            .entry
            .positions
            .get(index)
            .filter(|_| index < self.len)?;
        let ordinal = self.part.ordinal(self.entry, index);
        Some((ordinal, self.part.first + u64::from(*at)))
    }

    /// The first item.
    pub(super) fn first(&self) -> Option<Item> {
        self.item(0)
    }

    /// The last item.
    pub(super) fn last(&self) -> Option<Item> {
        self.item(self.len.checked_sub(1)?)
    }

    /// What the last event of a metadata list says, and where it is.
    pub(super) fn metadata(&self) -> Option<(u64, StreamMetadata)> {
        let (_, position) = self.last()?;
        let metadata = &self.part.rare(self.entry)?.metadata;
        Some((position, metadata.get(self.len - 1)?.clone()))
    }

    /// The next items that are wanted, ascending, a bounded number of them.
    pub(super) fn items(&self, bound: Bound) -> Vec<Item> {
        let mut low = 0;
        let mut high = self.len;
        while low < high {
            let middle = low + (high - low) / 2;
            match self.item(middle) {
                Some(item) if bound.is_behind(item) => low = middle + 1,
                _ => high = middle,
            }
        }
        let range = match bound.is_forwards() {
            true => low..self.len.min(low + LEAF_ITEMS_MAX),
            false => low.saturating_sub(LEAF_ITEMS_MAX)..low,
        };
        range.filter_map(|index| self.item(index)).collect()
    }

    /// All items.
    pub(super) fn all(&self) -> impl Iterator<Item = Item> + use<'a> {
        let found = *self;
        (0..self.len).filter_map(move |index| found.item(index))
    }
}
