//! Bytes that claim to be a page of an index table, an entry, a list of positions or a footer never
//! make a decoder panic or loop, and what is taken is written back the same.
//!
//! An input is: which structure, a number from outside, the bytes.

use annal::format::checksum::checksum;
use annal::format::codec::Reader;
use annal::format::filter::{BLOCK_LEN_BYTES, KeyHasher, contains, halved};
use annal::format::pack::{Packed, VALUES_MAX, pack};
use annal::format::table::entry::Entry;
use annal::format::table::leaf::{LEAF_ITEMS_MAX, leaf, put_leaf, skip_leaf};
use annal::format::table::sorted::{SortedPage, SortedPageBuilder};
use annal::format::table::{FOOTER_LEN, Footer, Kind, PAGE_CHECKSUM_LEN, children, put_children};

use crate::golden;
use crate::input::Input;

const WHAT: &str = "a fuzzed page";
const BASES: [u64; 4] = [0, 1_000_000, u64::MAX - 9, u64::MAX];

pub fn run(input: &[u8]) {
    let mut input = Input(input);
    let (kind, number) = (input.byte(), input.byte());
    let base = BASES[usize::from(number) % BASES.len()];
    match kind % 6 {
        0 => footer(input.0),
        1 => sorted(input.0, base),
        2 => list(input.0, base),
        3 => entry(input.0, base),
        4 => packed(input.0, usize::from(number)),
        _ => others(input.0, number),
    }
}

fn footer(bytes: &[u8]) {
    let mut sealed = bytes.to_vec();
    if let Some(summed) = sealed.get(8..) {
        let sum = checksum(summed).to_le_bytes();
        sealed[4..8].copy_from_slice(&sum);
    }
    for bytes in [bytes, &sealed] {
        if let Ok(footer) = Footer::decode(bytes) {
            assert_eq!(footer.encode(), bytes);
        }
    }
}

/// Walks a page as the index does: from its start, and from where a key ought to be.
fn sorted(bytes: &[u8], base: u64) {
    let Ok(page) = SortedPage::parse(bytes) else {
        return;
    };
    let mut keys = Vec::new();
    let mut cursor = page.start();
    while let Ok(Some(key)) = cursor.next_key() {
        keys.push(key.to_vec());
        let mut again = *cursor.value();
        let read = Entry::read(cursor.value(), base);
        let skipped = Entry::skip(&mut again);
        if read.is_err() {
            break;
        }
        assert_eq!(skipped, Ok(()), "what can be read can be passed over");
        assert_eq!(again.remaining(), cursor.value().remaining());
    }
    for key in keys.iter().take(32) {
        if let Ok(mut cursor) = page.seek(key) {
            let mut steps = 0;
            while let Ok(Some(_)) = cursor.next_key() {
                steps += 1;
                assert!(steps <= bytes.len(), "a page has an end");
                if Entry::skip(cursor.value()).is_err() {
                    break;
                }
            }
        }
    }
}

fn list(bytes: &[u8], base: u64) {
    let mut items = Vec::new();
    let mut reader = Reader::new(bytes, WHAT);
    let read = leaf(&mut reader, 5, base, &mut items);
    assert!(items.len() <= LEAF_ITEMS_MAX);
    if read.is_ok() {
        assert!(items.is_sorted());
        let mut skipped = Reader::new(bytes, WHAT);
        assert_eq!(skip_leaf(&mut skipped), Ok(()));
        assert_eq!(skipped.remaining(), reader.remaining());
        let mut again = Vec::new();
        put_leaf(&items, base, &mut again);
        let (mut back, first) = (Vec::new(), items.first().map_or(5, |item| item.0));
        leaf(&mut Reader::new(&again, WHAT), first, base, &mut back).unwrap();
        assert_eq!(back, items);
    }
}

fn entry(bytes: &[u8], base: u64) {
    let mut reader = Reader::new(bytes, WHAT);
    if let Ok(entry) = Entry::read(&mut reader, base) {
        let _numbers = (
            entry.list.ends(),
            entry.list.count(),
            entry.list.natural_span(),
        );
        let mut again = Vec::new();
        entry.put(base, &mut again);
        let back = Entry::read(&mut Reader::new(&again, WHAT), base);
        assert_eq!(back, Ok(entry));
    }
}

fn packed(bytes: &[u8], count: usize) {
    if let Ok((list, taken)) = Packed::parse(bytes, count % (VALUES_MAX + 2)) {
        assert!(taken <= bytes.len());
        let mut values = Vec::new();
        list.unpack(&mut values);
        let one_by_one = (0..=list.len()).map_while(|index| list.value(index));
        assert!(one_by_one.eq(values.iter().copied()));
        let mut again = Vec::new();
        pack(&values, &mut again);
        if !values.is_empty() {
            let (back, _) = Packed::parse(&again, values.len()).unwrap();
            assert!((0..values.len()).all(|index| back.value(index) == Some(values[index])));
        }
    }
}

fn others(bytes: &[u8], number: u8) {
    if let Ok(children) = children(bytes) {
        let mut again = Vec::new();
        put_children(&children, &mut again);
        assert_eq!(annal::format::table::children(&again), Ok(children));
    }
    let hash = KeyHasher::new([number; 16]).hash(number, bytes);
    for block in bytes.chunks(BLOCK_LEN_BYTES) {
        let _found = contains(block, hash);
    }
    assert!(halved(bytes).len() <= bytes.len());
    if let Some(kind) = Kind::from_byte(number) {
        assert!(kind.index() < 256);
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    let mut add = |kind: u8, number: u8, bytes: &[u8]| {
        seeds.push([&[kind, number], bytes].concat());
    };
    for bytes in golden::files_of("table") {
        let footer_at = bytes.len() - FOOTER_LEN;
        add(0, 0, &bytes[footer_at..]);
        let footer = Footer::decode(&bytes[footer_at..]).unwrap();
        let root = usize::try_from(footer.root.offset).unwrap();
        let end = root + usize::try_from(footer.root.len).unwrap();
        add(1, 0, &bytes[root..end]);
        // The first page of keys stands at the front; how long it is stands in the page above.
        let keys = &bytes[..root.saturating_sub(PAGE_CHECKSUM_LEN)];
        for len in [1024, 2048, 4096, 8192, keys.len()] {
            add(1, 0, &keys[..len.min(keys.len())]);
        }
    }
    let items: Vec<_> = (0..300).map(|at| (at + at / 50, 7 * at + at % 3)).collect();
    let mut leaf = Vec::new();
    put_leaf(&items, 0, &mut leaf);
    add(2, 0, &leaf);
    let list = annal::format::table::entry::List::Inline(items);
    let span = list.natural_span() + 1;
    let metadata = annal::StreamMetadata::parse(br#"{"$maxAge":9,"$tb":3,"$acl":{}}"#);
    let entry = Entry {
        list,
        span,
        tombstone: Some(9_999),
        metadata: Some(metadata),
    };
    let mut written = Vec::new();
    entry.put(0, &mut written);
    add(3, 0, &written);
    let mut builder = SortedPageBuilder::default();
    for number in 0..40 {
        let entry = Entry {
            metadata: None,
            tombstone: None,
            ..entry.clone()
        };
        builder.push(format!("order-{number:03}").as_bytes(), |out| {
            entry.put(0, out)
        });
    }
    add(1, 0, &builder.finish().1);
    let mut list = Vec::new();
    pack(&[5, 9, 1, 70_000, 3], &mut list);
    add(4, 5, &list);
    add(5, 1, &[2, 1, 9, 200, 1, 30, 5, 9, 1, 3]);
    seeds
}
