//! A table: an immutable file with the keys of a range of positions and their lists.
//!
//! Pages are read by their place and checked before they are believed, then kept in a bounded
//! cache. A lookup reads one page of keys, and none for most names that are not there.

mod cache;
mod write;

pub(crate) use cache::{CacheUse, PageCache};
pub(crate) use write::{Plan, TableWriter, is_filtered};

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::disk::{Disk, DiskFile};
use crate::format::FormatError;
use crate::format::codec::{Reader, to_u64};
use crate::format::filter::{self, BLOCK_LEN_BYTES};
use crate::format::manifest::TableEntry;
use crate::format::names::FileName;
use crate::format::table::entry::{Entry, List, PageRef};
use crate::format::table::leaf::{Item, leaf};
use crate::format::table::sorted::SortedPage;
use crate::format::table::{
    Child, FILTER_BLOCKS_PER_PAGE, FOOTER_LEN, Footer, IDS_PER_PAGE, Kind, PAGE_CHECKSUM_LEN,
    PAGE_LEN_BYTES_MAX, REQUEST_LEN, REQUESTS_PER_PAGE, children, page_checksum,
};
use crate::index::ids::SeenRequest;
use crate::index::list::Bound;
use crate::log::StorageError;

/// The file that holds a table.
pub(crate) fn file_name(id: u32) -> String {
    FileName::Table(id).to_string()
}

/// Is shown a leaf: its bytes if it is a page of its own, and its items.
type LeafVisitor<'a> = dyn FnMut(Option<&[u8]>, &[Item]) -> Result<(), StorageError> + 'a;

/// A table to read.
#[derive(Debug)]
pub(crate) struct Table {
    file: Arc<dyn DiskFile>,
    name: Arc<str>,
    footer: Footer,
    cache: Arc<PageCache>,
    /// Whether there are metadata of any stream; found out when somebody asks for some.
    has_metadata: OnceLock<bool>,
}

/// A page of keys, and where the next one begins.
pub(crate) struct KeyPage {
    /// Keys with their kind bytes, and what is known of them.
    pub(crate) keys: Vec<(Vec<u8>, Entry)>,
    /// A key that lies in the next page or in front of it, and behind this one.
    pub(crate) next: Option<Vec<u8>>,
}

impl Table {
    /// Opens a table that the manifest names.
    ///
    /// # Errors
    /// [`StorageError::Missing`] or [`StorageError::Damaged`] if it is not what the manifest says,
    /// and the disk's.
    pub(crate) fn open(
        disk: &dyn Disk,
        facts: &TableEntry,
        cache: &Arc<PageCache>,
    ) -> Result<Self, StorageError> {
        let name: Arc<str> = file_name(facts.id).into();
        let missing = || StorageError::Missing {
            file: Arc::clone(&name),
            len_bytes: facts.len_bytes,
        };
        let file = match disk.open(&name) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing()),
            other => other.map_err(|error| StorageError::io("open", &name, error))?,
        };
        let len = file
            .len()
            .map_err(|error| StorageError::io("measure", &name, error))?;
        let footer_at = len.checked_sub(to_u64(FOOTER_LEN));
        let Some(footer_at) = footer_at.filter(|_| len == facts.len_bytes) else {
            return Err(missing());
        };
        let mut bytes = vec![0; FOOTER_LEN];
        read(file.as_ref(), &name, footer_at, &mut bytes)?;
        let footer = Footer::decode(&bytes)
            .map_err(|source| StorageError::damaged(&name, footer_at, source))?;
        let claims = (footer.table, footer.level, footer.first, footer.end);
        if claims != (facts.id, facts.level, facts.first.0, facts.end.0) {
            let source = FormatError::Invalid("a table's footer");
            return Err(StorageError::damaged(&name, footer_at, source));
        }
        Ok(Self {
            file,
            name,
            footer,
            cache: Arc::clone(cache),
            has_metadata: OnceLock::new(),
        })
    }

    /// What stands at its end.
    pub(crate) fn footer(&self) -> &Footer {
        &self.footer
    }

    fn page(&self, page: PageRef, keep: bool) -> Result<Bytes, StorageError> {
        let address = (self.footer.table, page.offset);
        let len = usize::try_from(page.len).unwrap_or(usize::MAX);
        if let Some(found) = self.cache.find(address).filter(|found| found.len() == len) {
            return Ok(found);
        }
        if len > PAGE_LEN_BYTES_MAX {
            return Err(self.damaged(page, FormatError::Invalid("a table's page")));
        }
        let mut bytes = vec![0; len + PAGE_CHECKSUM_LEN];
        read(self.file.as_ref(), &self.name, page.offset, &mut bytes)?;
        let (content, sum) = bytes.split_at(len);
        if page_checksum(self.footer.table, page.offset, content).to_le_bytes() != sum {
            return Err(self.damaged(page, FormatError::Checksum("a table's page")));
        }
        bytes.truncate(len);
        bytes.shrink_to_fit();
        let bytes = Bytes::from(bytes);
        if keep {
            self.cache.keep(address, &bytes);
        }
        Ok(bytes)
    }

    fn damaged(&self, page: PageRef, source: FormatError) -> StorageError {
        StorageError::damaged(&self.name, page.offset, source)
    }

    /// Whether a key of a filtered kind may be there.
    pub(crate) fn may_hold(&self, hash: u64) -> Result<bool, StorageError> {
        let blocks = usize::try_from(self.footer.filter_blocks).unwrap_or(0);
        if blocks == 0 {
            return Ok(false);
        }
        let block = filter::block_of(hash, blocks);
        let number = block / FILTER_BLOCKS_PER_PAGE;
        let before = number * FILTER_BLOCKS_PER_PAGE;
        let len = (blocks - before).min(FILTER_BLOCKS_PER_PAGE) * BLOCK_LEN_BYTES;
        let stride = FILTER_BLOCKS_PER_PAGE * BLOCK_LEN_BYTES + PAGE_CHECKSUM_LEN;
        let offset = self
            .footer
            .filter_offset
            .saturating_add(to_u64(number * stride));
        let page = self.page(page_ref(offset, len), true)?;
        let at = (block - before) * BLOCK_LEN_BYTES;
        let block = page.get(at..at + BLOCK_LEN_BYTES).unwrap_or_default();
        Ok(filter::contains(block, hash))
    }

    /// Whether there may be keys of a kind: every append asks for its stream's metadata, which few
    /// streams have. A page that cannot be read is left to whoever needs what is in it.
    fn may_have(&self, kind: Kind) -> bool {
        let first = [kind.byte()];
        let of_kind = |key: &[u8]| key.starts_with(&first);
        self.keys(&first, true).map_or(true, |page| {
            page.keys.iter().any(|(key, _)| of_kind(key))
                || page.next.is_some_and(|key| of_kind(&key))
        })
    }

    /// What the table knows of a key. `hash` is that of the key.
    pub(crate) fn find(
        &self,
        kind: Kind,
        text: &str,
        hash: u64,
    ) -> Result<Option<Entry>, StorageError> {
        if kind == Kind::Metadata && !*self.has_metadata.get_or_init(|| self.may_have(kind)) {
            return Ok(None);
        }
        if is_filtered(kind) && !self.may_hold(hash)? {
            return Ok(None);
        }
        let mut wanted = Vec::with_capacity(text.len() + 1);
        wanted.push(kind.byte());
        wanted.extend_from_slice(text.as_bytes());
        let Some((at, page, _)) = self.page_of(&wanted, true)? else {
            return Ok(None);
        };
        let find = || {
            let mut cursor = SortedPage::parse(&page)?.seek(&wanted)?;
            while let Some(key) = cursor.next_key()? {
                let order = key.cmp(&wanted);
                if order.is_gt() {
                    break;
                }
                if order.is_eq() {
                    return Entry::read(cursor.value(), self.footer.first).map(Some);
                }
                Entry::skip(cursor.value())?;
            }
            Ok(None)
        };
        find().map_err(|source| self.damaged(at, source))
    }

    /// The page of keys that holds a key, if any does, and where the next page begins.
    #[expect(clippy::type_complexity, reason = "three parts of one answer")]
    fn page_of(
        &self,
        wanted: &[u8],
        keep: bool,
    ) -> Result<Option<(PageRef, Bytes, Option<Vec<u8>>)>, StorageError> {
        let mut at = self.footer.root;
        if at.len == 0 {
            return Ok(None);
        }
        let mut next = None;
        for _ in 0..self.footer.index_height {
            let page = self.page(at, true)?;
            let descend = || {
                let page = SortedPage::parse(&page)?;
                let mut cursor = page.seek(wanted)?;
                let mut found = None;
                while let Some(key) = cursor.next_key()? {
                    // In front of the first key lies the first page.
                    if key > wanted && found.is_some() {
                        return Ok((found, Some(key.to_vec())));
                    }
                    found = Some(PageRef::read(cursor.value())?);
                }
                Ok((found, None))
            };
            let (found, behind) = descend().map_err(|source| self.damaged(at, source))?;
            next = behind.or(next);
            let empty = FormatError::Invalid("a page of keys");
            at = found.ok_or_else(|| self.damaged(at, empty))?;
        }
        let page = self.page(at, keep)?;
        Ok(Some((at, page, next)))
    }

    /// The keys of the page that holds a key or would hold it.
    pub(crate) fn keys(&self, wanted: &[u8], keep: bool) -> Result<KeyPage, StorageError> {
        let mut keys = Vec::new();
        let Some((at, page, next)) = self.page_of(wanted, keep)? else {
            return Ok(KeyPage { keys, next: None });
        };
        let mut all = || {
            let mut cursor = SortedPage::parse(&page)?.start();
            while let Some(key) = cursor.next_key()? {
                let key = key.to_vec();
                keys.push((key, Entry::read(cursor.value(), self.footer.first)?));
            }
            Ok(())
        };
        all().map_err(|source| self.damaged(at, source))?;
        Ok(KeyPage { keys, next })
    }

    /// The next wanted items of a list, ascending, a bounded number of them.
    pub(crate) fn items(&self, list: &List, bound: Bound) -> Result<Vec<Item>, StorageError> {
        match list {
            List::Inline(items) => {
                let mut items = items.clone();
                bound.trim(&mut items);
                Ok(items)
            }
            List::Tree {
                height,
                root,
                first_ordinal,
                ..
            } => {
                let child = Child {
                    first: (0, 0),
                    page: *root,
                };
                self.in_tree(*height, child, *first_ordinal, bound)
            }
        }
    }

    fn in_tree(
        &self,
        height: u8,
        at: Child,
        base: u64,
        bound: Bound,
    ) -> Result<Vec<Item>, StorageError> {
        let page = self.page(at.page, true)?;
        if height == 0 {
            let mut items = self.leaf_items(at, &page, base)?;
            bound.trim(&mut items);
            return Ok(items);
        }
        let all = children(&page).map_err(|source| self.damaged(at.page, source))?;
        let begins =
            |child: &Child| bound.is_behind((child.first.0.saturating_add(base), child.first.1));
        let behind = all.partition_point(begins);
        let candidates = match (bound.is_forwards(), behind.checked_sub(1)) {
            (true, last) => last.unwrap_or(0)..behind + 1,
            (false, Some(last)) => last..behind,
            (false, None) => 0..0,
        };
        for index in candidates {
            if let Some(child) = all.get(index) {
                let items = self.in_tree(height - 1, *child, base, bound)?;
                if !items.is_empty() {
                    return Ok(items);
                }
            }
        }
        Ok(Vec::new())
    }

    fn leaf_items(&self, at: Child, page: &Bytes, base: u64) -> Result<Vec<Item>, StorageError> {
        let mut items = Vec::new();
        let first = base.saturating_add(at.first.0);
        let mut reader = Reader::new(page, "a list of positions");
        leaf(&mut reader, first, 0, &mut items).map_err(|s| self.damaged(at.page, s))?;
        Ok(items)
    }

    /// Goes through all leaves of a list in order, with the bytes of those that are pages.
    pub(crate) fn leaves(
        &self,
        list: &List,
        leaf: &mut LeafVisitor<'_>,
    ) -> Result<(), StorageError> {
        match list {
            List::Inline(items) => leaf(None, items),
            List::Tree {
                height,
                root,
                first_ordinal,
                ..
            } => {
                let child = Child {
                    first: (0, 0),
                    page: *root,
                };
                self.leaves_below(*height, child, *first_ordinal, leaf)
            }
        }
    }

    fn leaves_below(
        &self,
        height: u8,
        at: Child,
        base: u64,
        leaf: &mut LeafVisitor<'_>,
    ) -> Result<(), StorageError> {
        let page = self.page(at.page, false)?;
        if height == 0 {
            let items = self.leaf_items(at, &page, base)?;
            return leaf(Some(&page), &items);
        }
        let all = children(&page).map_err(|source| self.damaged(at.page, source))?;
        all.into_iter()
            .try_for_each(|child| self.leaves_below(height - 1, child, base, leaf))
    }

    /// The fingerprints of the events that are kept, and the position of the first.
    pub(crate) fn ids(&self) -> Result<(u64, Vec<u64>), StorageError> {
        let count = usize::try_from(self.footer.ids).unwrap_or(0);
        let mut ids = Vec::new();
        for page in self.pages(self.footer.ids_offset, count, IDS_PER_PAGE, 8)? {
            let (words, _) = page.as_chunks::<8>();
            ids.extend(words.iter().map(|word| u64::from_le_bytes(*word)));
        }
        Ok((self.footer.ids_first, ids))
    }

    /// The requests that are kept, in order.
    pub(crate) fn requests(&self) -> Result<Vec<([u8; 16], SeenRequest)>, StorageError> {
        let ids = usize::try_from(self.footer.ids).unwrap_or(0);
        let before = ids * 8 + ids.div_ceil(IDS_PER_PAGE) * PAGE_CHECKSUM_LEN;
        let offset = self.footer.ids_offset.saturating_add(to_u64(before));
        let count = usize::try_from(self.footer.requests).unwrap_or(0);
        let mut requests = Vec::new();
        for page in self.pages(offset, count, REQUESTS_PER_PAGE, REQUEST_LEN)? {
            let mut reader = Reader::new(&page, "a page of requests");
            while reader.remaining() > 0 {
                let mut request = || {
                    let fingerprint = reader.array()?;
                    let seen = SeenRequest {
                        first: reader.u64()?,
                        count: reader.u32()?,
                        content: reader.u64()?,
                    };
                    Ok((fingerprint, seen))
                };
                let request = request();
                requests.push(request.map_err(|s| StorageError::damaged(&self.name, offset, s))?);
            }
        }
        Ok(requests)
    }

    /// Pages of items of equal length that lie one behind the other.
    fn pages(
        &self,
        offset: u64,
        count: usize,
        per_page: usize,
        item_len: usize,
    ) -> Result<Vec<Bytes>, StorageError> {
        let mut pages = Vec::new();
        let mut at = offset;
        for before in (0..count).step_by(per_page) {
            let len = (count - before).min(per_page) * item_len;
            pages.push(self.page(page_ref(at, len), false)?);
            at = at.saturating_add(to_u64(len + PAGE_CHECKSUM_LEN));
        }
        Ok(pages)
    }
}

fn page_ref(offset: u64, len: usize) -> PageRef {
    PageRef {
        offset,
        len: u32::try_from(len).unwrap_or(u32::MAX),
    }
}

fn read(file: &dyn DiskFile, name: &str, at: u64, bytes: &mut [u8]) -> Result<(), StorageError> {
    let read = file.read_at(at, bytes);
    match read.map_err(|error| StorageError::io("read", name, error))? {
        len if len == bytes.len() => Ok(()),
        _ => Err(StorageError::damaged(
            name,
            at,
            FormatError::Truncated("a table"),
        )),
    }
}
