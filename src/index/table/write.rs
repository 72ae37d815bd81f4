//! Writes a table, key by key in order, in pieces of 256 KiB, and never reads.

use std::sync::Arc;

use crate::disk::{Disk, DiskFile};
use crate::format::codec::to_u64;
use crate::format::filter::{self, BLOCK_LEN_BYTES, KeyHasher};
use crate::format::manifest::TableEntry;
use crate::format::table::entry::{Entry, List, PageRef};
use crate::format::table::leaf::{Item, LEAF_ITEMS_MAX, put_leaf};
use crate::format::table::sorted::SortedPageBuilder;
use crate::format::table::{
    CHILDREN_MAX, Child, FILTER_BLOCKS_PER_PAGE, Footer, IDS_PER_PAGE, Kind, REQUESTS_PER_PAGE,
    VERSION_KNOWN, page_checksum, put_children,
};
use crate::index::ids::SeenRequest;
use crate::index::table::file_name;
use crate::log::StorageError;
use crate::model::{Position, StreamMetadata};

/// Lists that take no more bytes stand beside their key.
const INLINE_LEN_BYTES_MAX: usize = 64;
/// Lists with more items never do.
const INLINE_ITEMS_MAX: usize = 64;
const BUFFER_LEN_BYTES: usize = 256 * 1024;
/// How often a filter that was made too large can be halved.
const FOLDS: u32 = 3;

/// What a new table is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Its number.
    pub(crate) id: u32,
    /// How often its content was merged.
    pub(crate) level: u32,
    /// The lowest position it covers.
    pub(crate) first: u64,
    /// The position behind the last one.
    pub(crate) end: u64,
    /// As many keys as there can be at most, for the filter.
    pub(crate) keys_max: usize,
}

/// A table being written.
#[derive(Debug)]
pub(crate) struct TableWriter {
    out: Output,
    plan: Plan,
    hasher: KeyHasher,
    keys: SortedPageBuilder,
    /// The index above the pages of keys, level by level.
    index: Vec<SortedPageBuilder>,
    page_last_key: Vec<u8>,
    filter: Vec<u8>,
    filtered: usize,
    count: u64,
    list: ListWriter,
    key: Vec<u8>,
}

#[derive(Debug)]
struct Output {
    file: Arc<dyn DiskFile>,
    name: String,
    table: u32,
    written: u64,
    buffer: Vec<u8>,
    digest: blake3::Hasher,
}

/// The list of the key that is being written.
#[derive(Debug, Default)]
struct ListWriter {
    pending: Vec<Item>,
    levels: Vec<Vec<Child>>,
    count: u64,
    first_ordinal: Option<u64>,
    last: Item,
    leaf: Vec<u8>,
}

impl Output {
    fn offset(&self) -> u64 {
        self.written + to_u64(self.buffer.len())
    }

    fn page(&mut self, content: &[u8]) -> Result<PageRef, StorageError> {
        let offset = self.offset();
        self.buffer.extend_from_slice(content);
        let sum = page_checksum(self.table, offset, content);
        self.buffer.extend_from_slice(&sum.to_le_bytes());
        if self.buffer.len() >= BUFFER_LEN_BYTES {
            self.flush()?;
        }
        let len = u32::try_from(content.len()).expect("pages are short");
        Ok(PageRef { offset, len })
    }

    fn flush(&mut self) -> Result<(), StorageError> {
        self.digest.update(&self.buffer);
        let written = self.file.write_all_at(self.written, &self.buffer);
        written.map_err(|error| StorageError::io("write", &self.name, error))?;
        self.written += to_u64(self.buffer.len());
        self.buffer.clear();
        Ok(())
    }
}

impl ListWriter {
    fn push(&mut self, item: Item, out: &mut Output) -> Result<(), StorageError> {
        self.first_ordinal.get_or_insert(item.0);
        self.count += 1;
        self.last = item;
        self.pending.push(item);
        match self.pending.len() == LEAF_ITEMS_MAX {
            true => self.end_leaf(out),
            false => Ok(()),
        }
    }

    fn end_leaf(&mut self, out: &mut Output) -> Result<(), StorageError> {
        let Some(first) = self.pending.first().copied() else {
            return Ok(());
        };
        self.leaf.clear();
        put_leaf(&self.pending, 0, &mut self.leaf);
        self.pending.clear();
        let page = out.page(&self.leaf)?;
        self.child(0, first, page, out)
    }

    fn child(
        &mut self,
        level: usize,
        first: Item,
        page: PageRef,
        out: &mut Output,
    ) -> Result<(), StorageError> {
        if self.levels.len() == level {
            self.levels.push(Vec::new());
        }
        let base = self.first_ordinal.unwrap_or(0);
        let ordinal = match level {
            0 => first.0.wrapping_sub(base),
            _ => first.0,
        };
        let Some(children) = self.levels.get_mut(level) else {
            return Ok(());
        };
        children.push(Child {
            first: (ordinal, first.1),
            page,
        });
        match children.len() == CHILDREN_MAX {
            true => self.end_children(level, out),
            false => Ok(()),
        }
    }

    fn end_children(&mut self, level: usize, out: &mut Output) -> Result<(), StorageError> {
        let children = self.levels.get_mut(level).map(std::mem::take);
        let children = children.unwrap_or_default();
        let Some(first) = children.first().map(|child| child.first) else {
            return Ok(());
        };
        let mut content = Vec::new();
        put_children(&children, &mut content);
        let page = out.page(&content)?;
        self.child(level + 1, first, page, out)
    }

    /// The finished list; the next one begins.
    fn finish(&mut self, base: u64, out: &mut Output) -> Result<List, StorageError> {
        let first_ordinal = self.first_ordinal.take().unwrap_or(0);
        if self.levels.is_empty() && self.pending.len() <= INLINE_ITEMS_MAX {
            self.leaf.clear();
            put_leaf(&self.pending, base, &mut self.leaf);
            if self.leaf.len() <= INLINE_LEN_BYTES_MAX {
                self.count = 0;
                return Ok(List::Inline(std::mem::take(&mut self.pending)));
            }
        }
        self.first_ordinal = Some(first_ordinal);
        self.end_leaf(out)?;
        let mut level = 0;
        let root = loop {
            let top = level + 1 == self.levels.len();
            match self.levels.get(level).map(Vec::as_slice) {
                Some([only]) if top => break only.page,
                Some(_) => self.end_children(level, out)?,
                None => break PageRef { offset: 0, len: 0 },
            }
            level += 1;
        };
        let list = List::Tree {
            height: u8::try_from(level).expect("a tree of 2^64 items is not that high"),
            root,
            count: self.count,
            first_ordinal,
            last: self.last,
        };
        *self = Self::default();
        Ok(list)
    }
}

impl TableWriter {
    /// Begins a table. A file of that name is what a stopped attempt has left, and is removed.
    pub(crate) fn create(
        disk: &dyn Disk,
        hasher: KeyHasher,
        plan: Plan,
    ) -> Result<Self, StorageError> {
        let name = file_name(plan.id);
        let created = match disk.create(&name) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                disk.remove(&name).and_then(|()| disk.create(&name))
            }
            other => other,
        };
        let file = created.map_err(|error| StorageError::io("create", &name, error))?;
        let blocks = filter::blocks_for(plan.keys_max).next_multiple_of(1 << FOLDS);
        Ok(Self {
            out: Output {
                file,
                name,
                table: plan.id,
                written: 0,
                buffer: Vec::with_capacity(BUFFER_LEN_BYTES + 16 * 1024),
                digest: blake3::Hasher::new(),
            },
            plan,
            hasher,
            keys: SortedPageBuilder::default(),
            index: Vec::new(),
            page_last_key: Vec::new(),
            filter: vec![0; blocks * BLOCK_LEN_BYTES],
            filtered: 0,
            count: 0,
            list: ListWriter::default(),
            key: Vec::new(),
        })
    }

    /// How many bytes were written.
    pub(crate) fn len_bytes(&self) -> u64 {
        self.out.offset()
    }

    /// Adds an item to the list of the next key.
    pub(crate) fn item(&mut self, item: Item) -> Result<(), StorageError> {
        self.list.push(item, &mut self.out)
    }

    /// Adds a leaf to the list of the next key as it is. `items` are what it holds.
    pub(crate) fn leaf(&mut self, content: &[u8], items: &[Item]) -> Result<(), StorageError> {
        let (Some(first), Some(last)) = (items.first(), items.last()) else {
            return Ok(());
        };
        self.list.end_leaf(&mut self.out)?;
        self.list.first_ordinal.get_or_insert(first.0);
        self.list.count += to_u64(items.len());
        self.list.last = *last;
        let page = self.out.page(content)?;
        self.list.child(0, *first, page, &mut self.out)
    }

    /// Adds the key whose items were added before; keys come in order. `span`: how many ordinals
    /// the key uses up, if more than its items show.
    pub(crate) fn key(
        &mut self,
        kind: Kind,
        text: &[u8],
        span: Option<u64>,
        tombstone: Option<u64>,
        metadata: Option<StreamMetadata>,
    ) -> Result<(), StorageError> {
        let list = self.list.finish(self.plan.first, &mut self.out)?;
        let entry = Entry {
            span: span.unwrap_or_else(|| list.natural_span()),
            list,
            tombstone,
            metadata,
        };
        self.key.clear();
        self.key.push(kind.byte());
        self.key.extend_from_slice(text);
        let base = self.plan.first;
        self.keys.push(&self.key, |out| entry.put(base, out));
        self.count += 1;
        if is_filtered(kind) {
            let hash = self.hasher.hash(kind.byte(), text);
            let blocks = self.filter.len() / BLOCK_LEN_BYTES;
            let at = filter::block_of(hash, blocks) * BLOCK_LEN_BYTES;
            if let Some(block) = self.filter.get_mut(at..at + BLOCK_LEN_BYTES) {
                filter::insert(block, hash);
            }
            self.filtered += 1;
        }
        if self.keys.is_full() {
            self.end_page()?;
        }
        std::mem::swap(&mut self.page_last_key, &mut self.key);
        Ok(())
    }

    fn end_page(&mut self) -> Result<(), StorageError> {
        let (first, content) = self.keys.finish();
        let page = self.out.page(&content)?;
        self.index_page(0, &first, page)
    }

    fn index_page(
        &mut self,
        level: usize,
        first: &[u8],
        page: PageRef,
    ) -> Result<(), StorageError> {
        if self.index.len() == level {
            self.index.push(SortedPageBuilder::default());
        }
        let Some(builder) = self.index.get_mut(level) else {
            return Ok(());
        };
        builder.push(first, |out| page.put(out));
        match builder.is_full() {
            true => self.end_index_page(level),
            false => Ok(()),
        }
    }

    fn end_index_page(&mut self, level: usize) -> Result<(), StorageError> {
        let Some(builder) = self.index.get_mut(level) else {
            return Ok(());
        };
        if builder.is_empty() {
            return Ok(());
        }
        let (first, content) = builder.finish();
        let page = self.out.page(&content)?;
        self.index_page(level + 1, &first, page)
    }

    /// Ends the table, makes it durable, and says what the manifest has to know.
    pub(crate) fn finish(
        mut self,
        ids: (u64, &[u64]),
        requests: &[([u8; 16], SeenRequest)],
    ) -> Result<TableEntry, StorageError> {
        let (root, index_height) = self.end_index()?;
        let (filter_offset, filter_blocks) = self.put_filter()?;
        let ids_offset = self.out.offset();
        let (ids_first, ids) = ids;
        for page in ids.chunks(IDS_PER_PAGE) {
            let content: Vec<u8> = page.iter().flat_map(|id| id.to_le_bytes()).collect();
            self.out.page(&content)?;
        }
        for page in requests.chunks(REQUESTS_PER_PAGE) {
            let mut content = Vec::new();
            for (fingerprint, seen) in page {
                content.extend_from_slice(fingerprint);
                content.extend_from_slice(&seen.first.to_le_bytes());
                content.extend_from_slice(&seen.count.to_le_bytes());
                content.extend_from_slice(&seen.content.to_le_bytes());
            }
            self.out.page(&content)?;
        }
        let short = |len: usize| u32::try_from(len).expect("the window is not that large");
        let footer = Footer {
            version: VERSION_KNOWN,
            table: self.plan.id,
            level: self.plan.level,
            index_height,
            first: self.plan.first,
            end: self.plan.end,
            root,
            filter_blocks,
            filter_offset,
            keys: self.count,
            ids_first,
            ids: short(ids.len()),
            requests: short(requests.len()),
            ids_offset,
        };
        self.out.buffer.extend_from_slice(&footer.encode());
        self.out.flush()?;
        let failed = |operation, error| StorageError::io(operation, &self.out.name, error);
        let file = &self.out.file;
        file.sync_data().map_err(|error| failed("sync", error))?;
        file.set_read_only()
            .map_err(|error| failed("mark read-only", error))?;
        Ok(TableEntry {
            id: self.plan.id,
            level: self.plan.level,
            first: Position(self.plan.first),
            end: Position(self.plan.end),
            len_bytes: self.out.written,
            digest: *self.out.digest.finalize().as_bytes(),
        })
    }

    /// Writes what is left of the index; its root and how many levels are above the keys.
    fn end_index(&mut self) -> Result<(PageRef, u32), StorageError> {
        if self.index.is_empty() {
            // A table with one page of keys needs no index.
            if self.keys.is_empty() {
                return Ok((PageRef { offset: 0, len: 0 }, 0));
            }
            let (_, content) = self.keys.finish();
            return Ok((self.out.page(&content)?, 0));
        }
        if !self.keys.is_empty() {
            self.end_page()?;
        }
        let mut level = 0;
        while level + 1 < self.index.len() {
            self.end_index_page(level)?;
            level += 1;
        }
        let Some(builder) = self.index.get_mut(level) else {
            return Ok((PageRef { offset: 0, len: 0 }, 0));
        };
        let (_, content) = builder.finish();
        let height = u32::try_from(level + 1).unwrap_or(u32::MAX);
        Ok((self.out.page(&content)?, height))
    }

    fn put_filter(&mut self) -> Result<(u64, u32), StorageError> {
        let offset = self.out.offset();
        let mut filter = std::mem::take(&mut self.filter);
        let wanted = filter::blocks_for(self.filtered);
        let mut blocks = filter.len() / BLOCK_LEN_BYTES;
        while blocks.is_multiple_of(2) && blocks / 2 >= wanted.max(1) {
            filter = filter::halved(&filter);
            blocks /= 2;
        }
        if self.filtered == 0 {
            filter.clear();
        }
        for page in filter.chunks(FILTER_BLOCKS_PER_PAGE * BLOCK_LEN_BYTES) {
            self.out.page(page)?;
        }
        let blocks = filter.len() / BLOCK_LEN_BYTES;
        Ok((offset, u32::try_from(blocks).unwrap_or(u32::MAX)))
    }
}

/// Whether keys of a kind are in the filter: those of which there can be very many.
pub(crate) fn is_filtered(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Stream | Kind::Metadata | Kind::Tag | Kind::CorrelationId
    )
}
