//! Sparse pages: a page that is absent reads as zeros and takes no space.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

pub(super) const PAGE_BYTES: usize = 4096;

pub(super) type Page = [u8; PAGE_BYTES];

/// The pages of one view of a file, by number. Views share the pages in which they agree.
pub(super) type Pages = BTreeMap<u64, Arc<Page>>;

pub(super) static ZEROS: Page = [0; PAGE_BYTES];

/// A page of zeros that is stored once, however many files have it.
pub(super) fn zero_page() -> Arc<Page> {
    static PAGE: LazyLock<Arc<Page>> = LazyLock::new(|| Arc::new(ZEROS));
    Arc::clone(&PAGE)
}

/// Makes one page in `pages` what it is in `others`.
pub(super) fn restore(pages: &mut Pages, others: &Pages, page: u64) {
    match others.get(&page) {
        Some(stored) => pages.insert(page, Arc::clone(stored)),
        None => pages.remove(&page),
    };
}

/// Empties everything from `len` on. Returns what was emptied: pages, and from which byte.
pub(super) fn cut(pages: &mut Pages, len: u64) -> Vec<(u64, usize)> {
    let (last, at) = place(len);
    let mut emptied = Vec::new();
    let mut beyond = pages.split_off(&last);
    if at > 0
        && let Some(mut stored) = beyond.remove(&last)
    {
        patch(
            Arc::make_mut(&mut stored),
            at,
            within(&ZEROS, 0, PAGE_BYTES - at),
        );
        pages.insert(last, stored);
        emptied.push((last, at));
    }
    emptied.extend(beyond.into_keys().map(|page| (page, 0)));
    emptied
}

/// The page of a byte, and its place in it.
pub(super) fn place(offset: u64) -> (u64, usize) {
    let at = usize::try_from(offset % page_len()).expect("less than a page");
    (offset / page_len(), at)
}

pub(super) fn patch(page: &mut Page, at: usize, bytes: &[u8]) {
    page.get_mut(at..at + bytes.len())
        .expect("a piece lies within its page")
        .copy_from_slice(bytes);
}

pub(super) fn within(bytes: &[u8], at: usize, len: usize) -> &[u8] {
    bytes
        .get(at..at + len)
        .expect("a piece lies within its page")
}

pub(super) fn page_len() -> u64 {
    wide(PAGE_BYTES)
}

pub(super) fn wide(len: usize) -> u64 {
    u64::try_from(len).expect("no machine has more than 64 bits of length")
}
