//! Pages of sorted keys, each with a value: the keys of a table, and the index of these pages.
//!
//! A page is: its entries, one behind the other: how many bytes the key shares with the one before
//! and how many follow, as varints, these bytes, and the value; then where every 16th entry begins,
//! as 16-bit numbers; then how many of these there are, as another. The first of each 16 shares
//! nothing, so a search can begin there.

use crate::format::FormatError;
use crate::format::codec::{Reader, put_varint, to_u64};

/// Every so many entries a key stands in full.
pub const RESTART_ENTRIES: usize = 16;
/// A page is closed when it has so many bytes.
pub const PAGE_LEN_BYTES: usize = 8 * 1024;

/// The longest key: a kind byte and a stream's name, with room to grow.
const KEY_LEN_BYTES_MAX: usize = 4096;
const WHAT: &str = "a page of keys";

/// Builds one page after another.
#[derive(Debug, Default)]
pub struct SortedPageBuilder {
    bytes: Vec<u8>,
    restarts: Vec<u16>,
    entries: usize,
    first: Vec<u8>,
    last: Vec<u8>,
}

impl SortedPageBuilder {
    /// Adds a key behind all others; its value is written by `value`.
    pub fn push(&mut self, key: &[u8], value: impl FnOnce(&mut Vec<u8>)) {
        let restart = self.entries.is_multiple_of(RESTART_ENTRIES);
        let shared = match restart {
            true => 0,
            false => shared_len(&self.last, key),
        };
        if restart {
            let at = u16::try_from(self.bytes.len()).expect("a page is closed before 64 KiB");
            self.restarts.push(at);
        }
        let suffix = key.get(shared..).unwrap_or_default();
        put_varint(&mut self.bytes, to_u64(shared));
        put_varint(&mut self.bytes, to_u64(suffix.len()));
        self.bytes.extend_from_slice(suffix);
        value(&mut self.bytes);
        if self.entries == 0 {
            self.first.clear();
            self.first.extend_from_slice(key);
        }
        self.last.clear();
        self.last.extend_from_slice(key);
        self.entries += 1;
    }

    /// Whether the page should be closed.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bytes.len() + self.restarts.len() * 2 + 2 >= PAGE_LEN_BYTES
    }

    /// Whether the page has no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// The page's first key and its content; the next page begins.
    pub fn finish(&mut self) -> (Vec<u8>, Vec<u8>) {
        let mut content = std::mem::take(&mut self.bytes);
        for restart in self.restarts.drain(..) {
            content.extend_from_slice(&restart.to_le_bytes());
        }
        let count = self.entries.div_ceil(RESTART_ENTRIES);
        let count = u16::try_from(count).expect("fewer than bytes");
        content.extend_from_slice(&count.to_le_bytes());
        self.entries = 0;
        (std::mem::take(&mut self.first), content)
    }
}

fn shared_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// A page to read.
#[derive(Clone, Copy, Debug)]
pub struct SortedPage<'a> {
    entries: &'a [u8],
    restarts: &'a [[u8; 2]],
}

/// Goes through a page.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    reader: Reader<'a>,
    key: Vec<u8>,
}

impl<'a> SortedPage<'a> {
    /// Finds the parts of a page.
    ///
    /// # Errors
    /// [`FormatError`] if the bytes are none.
    pub fn parse(content: &'a [u8]) -> Result<Self, FormatError> {
        let truncated = FormatError::Truncated(WHAT);
        let (rest, count) = content.split_last_chunk::<2>().ok_or(truncated)?;
        let restarts_len = usize::from(u16::from_le_bytes(*count)) * 2;
        let cut = rest.len().checked_sub(restarts_len).ok_or(truncated)?;
        let (entries, restarts) = rest.split_at_checked(cut).ok_or(truncated)?;
        let (restarts, _) = restarts.as_chunks::<2>();
        Ok(Self { entries, restarts })
    }

    /// A cursor at the first entry.
    #[must_use]
    pub fn start(&self) -> Cursor<'a> {
        Cursor {
            reader: Reader::new(self.entries, WHAT),
            key: Vec::new(),
        }
    }

    fn restart(&self, index: usize) -> Option<Cursor<'a>> {
        let at = self.restarts.get(index)?;
        let entries = self.entries.get(usize::from(u16::from_le_bytes(*at))..)?;
        Some(Cursor {
            reader: Reader::new(entries, WHAT),
            key: Vec::new(),
        })
    }

    /// A cursor at most 16 entries in front of the key, or at the first entry.
    ///
    /// # Errors
    /// [`FormatError`] if the page is damaged.
    pub fn seek(&self, key: &[u8]) -> Result<Cursor<'a>, FormatError> {
        let (mut low, mut high) = (0, self.restarts.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let cursor = self.restart(middle).ok_or(FormatError::Invalid(WHAT))?;
            let mut reader = cursor.reader;
            // What a restart shares is nothing, so its key stands there as it is.
            reader.len_at_most(0)?;
            let first = reader.bytes_at_most(KEY_LEN_BYTES_MAX)?;
            match first <= key {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        Ok(self
            .restart(low.saturating_sub(1))
            .unwrap_or_else(|| self.start()))
    }
}

impl<'a> Cursor<'a> {
    /// The next key; its value has to be read before the next call.
    ///
    /// # Errors
    /// [`FormatError`] if the page is damaged.
    pub fn next_key(&mut self) -> Result<Option<&[u8]>, FormatError> {
        if self.reader.remaining() == 0 {
            return Ok(None);
        }
        let shared = self.reader.len_at_most(self.key.len())?;
        let suffix = self.reader.bytes_at_most(KEY_LEN_BYTES_MAX)?;
        self.key.truncate(shared);
        self.key.extend_from_slice(suffix);
        Ok(Some(&self.key))
    }

    /// The key that was read last.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// Reads the value of the key that was read last.
    pub fn value(&mut self) -> &mut Reader<'a> {
        &mut self.reader
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn every_key_is_found_and_no_other(
            keys in proptest::collection::btree_map("[ab]{1,9}", any::<u64>(), 0..200),
            absent in "[ab]{1,9}",
        ) {
            let mut builder = SortedPageBuilder::default();
            for (key, value) in &keys {
                builder.push(key.as_bytes(), |out| put_varint(out, *value));
            }
            let (_, content) = builder.finish();
            let page = SortedPage::parse(&content).unwrap();
            let find = |wanted: &str| {
                let mut cursor = page.seek(wanted.as_bytes()).unwrap();
                let mut found = None;
                while cursor.next_key().unwrap().is_some() {
                    let equal = cursor.key() == wanted.as_bytes();
                    let value = cursor.value().varint().unwrap();
                    found = found.or(equal.then_some(value));
                }
                found
            };
            for (key, value) in &keys {
                prop_assert_eq!(find(key), Some(*value));
            }
            prop_assert_eq!(find(&absent), keys.get(&absent).copied());
            let mut all = BTreeMap::new();
            let mut cursor = page.start();
            while let Some(key) = cursor.next_key().unwrap() {
                let key = String::from_utf8(key.to_vec()).unwrap();
                all.insert(key, cursor.value().varint().unwrap());
            }
            prop_assert_eq!(all, keys);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..99),
        ) {
            if let Ok(page) = SortedPage::parse(&bytes) {
                let _outcome = page.seek(b"a").map(|mut cursor| {
                    while let Ok(Some(_)) = cursor.next_key() {
                        let _value = cursor.value().varint();
                    }
                });
            }
        }
    }

    fn key(number: usize) -> String {
        format!("key-{number:08}")
    }

    #[test]
    fn a_page_is_closed_when_it_has_its_length_and_the_next_one_begins_empty() {
        let mut builder = SortedPageBuilder::default();
        assert!(builder.is_empty());
        for _ in 0..2 {
            let mut count = 0;
            while !builder.is_full() {
                builder.push(key(count).as_bytes(), |out| out.extend_from_slice(&[7; 5]));
                count += 1;
                assert!(!builder.is_empty());
            }
            let (first, content) = builder.finish();
            assert!(builder.is_empty() && !builder.is_full());
            assert_eq!(first, key(0).as_bytes());
            // The last entry has at most a key in full, two lengths and its value, and its place.
            let longest = key(0).len() + 2 + 5 + 2;
            assert!((PAGE_LEN_BYTES..PAGE_LEN_BYTES + longest).contains(&content.len()));
        }
    }

    #[test]
    fn a_search_begins_at_most_so_many_entries_in_front_of_its_key() {
        let mut builder = SortedPageBuilder::default();
        for number in 0..200 {
            builder.push(key(number).as_bytes(), |_| ());
        }
        let (_, content) = builder.finish();
        let page = SortedPage::parse(&content).unwrap();
        for number in 0..200 {
            let mut cursor = page.seek(key(number).as_bytes()).unwrap();
            let begins = number - number % RESTART_ENTRIES;
            assert_eq!(cursor.next_key().unwrap(), Some(key(begins).as_bytes()));
        }
        let mut cursor = page.seek(b"a").unwrap();
        assert_eq!(cursor.next_key().unwrap(), Some(key(0).as_bytes()));
    }
}
