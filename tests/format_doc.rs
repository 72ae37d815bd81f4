//! `storage-format.md` says what the code does: every table, number and example in it is made from
//! the code and compared. When one is off, the test prints what belongs there.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

#[path = "format_doc/examples.rs"]
mod examples;
#[path = "format_doc/render.rs"]
mod render;

use annal::format::{
    Field, checksum, filter, floor, footer, manifest, markdown_table, pack, record, segment, state,
    store, table, unit,
};
use annal::model::{EventType, MediaType, StreamName, Tag};

const DOCUMENT: &str = include_str!("../storage-format.md");

/// Every structure with fixed fields, and the heading it is described under.
const STRUCTURES: &[(&str, &[Field])] = &[
    ("Identity", &store::FIELDS),
    ("Segment header", &segment::FIELDS),
    ("Unit header", &unit::FIELDS),
    ("Record", &record::FIELDS),
    ("Footer", &footer::FIELDS),
    ("Floor slot", &floor::FIELDS),
    ("Manifest", &manifest::FIELDS),
    ("Sealed segment entry", &manifest::SEALED_FIELDS),
    ("Checkpoint entry", &manifest::CHECKPOINT_FIELDS),
    ("Table entry", &manifest::TABLE_FIELDS),
    ("Rewritten segment entry", &manifest::REWRITE_FIELDS),
    ("State entry", &manifest::STATE_FIELDS),
    ("State file", &state::FIELDS),
    ("Index tables", &table::FOOTER_FIELDS),
];

/// What stands between a heading and the next one.
fn section<'a>(document: &'a str, heading: &str) -> Option<&'a str> {
    let line = format!("\n### {heading}\n");
    let start = document.find(&line)? + line.len();
    let rest = &document[start..];
    let end = rest.find("\n#").map_or(rest.len(), |end| end + 1);
    Some(&rest[..end])
}

/// Whether the block stands in the section as lines of its own, neither more nor less.
fn stands_in(section: &str, block: &str) -> bool {
    format!("\n{section}\n").contains(&format!("\n\n{block}\n"))
}

/// What has to stand in the document, each below its heading.
fn expected() -> Vec<(&'static str, String)> {
    let tables = STRUCTURES.iter();
    let tables = tables.map(|(heading, fields)| (*heading, markdown_table(fields)));
    let others = [
        ("Unit header", render::picture(&unit::FIELDS)),
        ("Magic and versions", magic_table()),
        ("Numbers", number_table()),
        ("Index tables", kind_table()),
        ("Index tables", index_number_table()),
        ("Entry of a key", entry_flag_table()),
        ("Record", examples::record().dump()),
        ("Record", examples::unit().dump()),
    ];
    tables.chain(others).collect()
}

fn is_there(document: &str, heading: &str, block: &str) -> bool {
    section(document, heading).is_some_and(|text| stands_in(text, block))
}

/// The first bytes of every structure with an envelope, as the code writes them.
fn magic_table() -> String {
    let mut table = String::from("| structure | magic | version |\n| --- | --- | ---: |\n");
    for (name, bytes) in examples::envelopes() {
        let magic = std::str::from_utf8(&bytes[..4]).unwrap();
        let version = u32::from_le_bytes(bytes[8..12].try_into().unwrap());
        table += &format!("| {name} | `{magic}` | {version} |\n");
    }
    table
}

fn kind_table() -> String {
    let mut rows = String::from("| kind | byte |\n| --- | ---: |\n");
    for kind in table::Kind::ALL {
        rows += &format!("| {kind:?} | {} |\n", kind.byte());
    }
    rows
}

fn index_number_table() -> String {
    let numbers = [
        (
            "page of keys, closed at, bytes",
            table::sorted::PAGE_LEN_BYTES,
        ),
        (
            "keys from one that shares nothing to the next",
            table::sorted::RESTART_ENTRIES,
        ),
        ("items of a leaf, most", table::leaf::LEAF_ITEMS_MAX),
        ("children of a page of a tree, most", table::CHILDREN_MAX),
        ("height of a tree, most", table::entry::HEIGHT_MAX.into()),
        ("block of a filter, bytes", filter::BLOCK_LEN_BYTES),
        (
            "blocks of a filter in a page",
            table::FILTER_BLOCKS_PER_PAGE,
        ),
        ("fingerprints in a page", table::IDS_PER_PAGE),
        ("requests in a page", table::REQUESTS_PER_PAGE),
        ("request, bytes", table::REQUEST_LEN),
        ("page of a table, longest, bytes", table::PAGE_LEN_BYTES_MAX),
    ];
    let mut rows = String::from("| number | value |\n| --- | ---: |\n");
    for (name, value) in numbers {
        rows += &format!("| {name} | {value} |\n");
    }
    rows
}

fn entry_flag_table() -> String {
    let flags = [
        ("tombstone", table::entry::FLAG_TOMBSTONE),
        ("metadata", table::entry::FLAG_METADATA),
        (
            "ordinal of the first item",
            table::entry::FLAG_FIRST_ORDINAL,
        ),
        ("the list is a tree", table::entry::FLAG_TREE),
        ("ordinals used up", table::entry::FLAG_SPAN),
        ("there is no list", table::entry::FLAG_EMPTY),
    ];
    let mut rows = String::from("| flag | bit |\n| --- | ---: |\n");
    for (name, flag) in flags {
        rows += &format!("| {name} | {flag} |\n");
    }
    rows
}

fn number_table() -> String {
    let len = |len: usize| u64::try_from(len).unwrap();
    let numbers = [
        ("piece of a checksum, bytes", len(checksum::PIECE_LEN_BYTES)),
        ("numbers in a packed list, most", len(pack::VALUES_MAX)),
        ("copy of the identity, bytes", len(store::COPY_LEN_BYTES)),
        ("unit alignment, greatest", store::UNIT_ALIGN_MAX.into()),
        (
            "copy of a segment header, bytes",
            len(segment::COPY_LEN_BYTES),
        ),
        (
            "offset of the first unit of a segment",
            segment::HEADER_LEN_BYTES.into(),
        ),
        ("header of a unit, bytes", len(unit::HEADER_LEN)),
        (
            "unit without padding, longest, bytes",
            len(unit::UNIT_LEN_BYTES_MAX),
        ),
        (
            "principal, longest, bytes",
            len(unit::PRINCIPAL_LEN_BYTES_MAX),
        ),
        (
            "key of a state record, longest, bytes",
            len(unit::STATE_KEY_LEN_BYTES_MAX),
        ),
        (
            "value of a state record, longest, bytes",
            len(unit::STATE_VALUE_LEN_BYTES_MAX),
        ),
        (
            "name of a stream, longest, bytes",
            len(StreamName::LEN_BYTES_MAX),
        ),
        ("event type, longest, bytes", len(EventType::LEN_BYTES_MAX)),
        (
            "content type, longest, bytes",
            len(MediaType::LEN_BYTES_MAX),
        ),
        ("tag, longest, bytes", len(Tag::LEN_BYTES_MAX)),
        ("tags of an event, most", len(record::TAGS_MAX)),
        (
            "metadata and data together, longest, bytes",
            len(record::PAYLOAD_LEN_BYTES_MAX),
        ),
        (
            "start of the short form of created times, seconds since 1970",
            record::CREATED_BASE_S.unsigned_abs(),
        ),
        ("events of a page of offsets", len(footer::PAGE_EVENTS)),
        ("events of a group of offsets", len(footer::GROUP_EVENTS)),
        (
            "events of a range of created times",
            len(footer::RANGE_EVENTS),
        ),
        ("positions of a leaf", footer::LEAF_EVENTS),
        ("positions of a block", footer::BLOCK_EVENTS),
        ("floor slot, bytes", len(floor::SLOT_LEN_BYTES)),
        (
            "copy of a manifest, a multiple of",
            len(manifest::COPY_ALIGN_BYTES),
        ),
        ("manifest, longest, bytes", manifest::LEN_BYTES_MAX),
        (
            "extension that must be known, lowest kind",
            manifest::EXTENSION_MANDATORY_MIN.into(),
        ),
    ];
    let mut table = String::from("| what | number |\n| --- | ---: |\n");
    for (name, value) in numbers {
        table += &format!("| {name} | {} |\n", render::grouped(value));
    }
    table
}

#[test]
fn the_document_says_what_the_code_does() {
    let missing = expected()
        .into_iter()
        .filter(|(heading, block)| !is_there(DOCUMENT, heading, block))
        .map(|(heading, block)| format!("below `### {heading}` belongs:\n\n{block}\n"));
    let missing: Vec<String> = missing.collect();
    assert!(missing.is_empty(), "\n{}", missing.join("\n"));
}

#[test]
fn the_document_explains_every_field() {
    for (heading, fields) in STRUCTURES {
        let text = section(DOCUMENT, heading).unwrap();
        for field in *fields {
            let name = format!("**{}**", field.name);
            assert!(
                text.contains(&name),
                "`### {heading}` says nothing of {name}"
            );
        }
    }
}

#[test]
fn a_document_that_is_off_by_one_byte_is_found_out() {
    for (heading, block) in expected() {
        let text = section(DOCUMENT, heading).unwrap();
        let start = text.as_ptr().addr() - DOCUMENT.as_ptr().addr() + text.find(&block).unwrap();
        for at in start..start + block.len() {
            let mut damaged = DOCUMENT.as_bytes().to_vec();
            damaged[at] ^= 1;
            let damaged = String::from_utf8(damaged).unwrap();
            assert!(
                !is_there(&damaged, heading, &block),
                "nobody missed byte {at}, below `### {heading}`"
            );
        }
    }
}

#[test]
fn the_examples_are_read_as_they_were_written() {
    examples::check();
}
