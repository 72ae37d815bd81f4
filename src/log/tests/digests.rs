//! What the footers say of all events up to their ends, as `storage-format.md` has it.

use std::sync::Arc;

use crate::disk::{MemoryDisk, SimulatedHost};
use crate::format::codec::to_u64;
use crate::format::footer::{BLOCK_EVENTS, Digest, LEAF_EVENTS};
use crate::log::facts::ContentDigests;
use crate::log::seal::ContentHasher;
use crate::log::tests::unit;
use crate::log::{Log, LogOptions};
use crate::model::Position;

fn digest(parts: &[&[u8]]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    parts.iter().for_each(|part| {
        hasher.update(part);
    });
    hasher.finalize().into()
}

#[test]
fn a_footer_has_the_digests_of_all_events_up_to_its_end() {
    let options = LogOptions {
        segment_size_bytes: 2 * 1024 * 1024,
        ..LogOptions::default()
    };
    let host = Arc::new(SimulatedHost::new(7));
    let mut opened = Log::open(Arc::new(MemoryDisk::new()), host, options, true).unwrap();
    // Units that end anywhere in a leaf, and one that has several.
    for events in [1, 1_000, 23, 5_000, 999].into_iter().cycle() {
        let next = unit(&opened.log, opened.log.end(), events, 20);
        let end = opened.writer.commit(next, 5).unwrap();
        opened.log.keeper_step().unwrap();
        if end.0 > 2 * BLOCK_EVENTS {
            break;
        }
    }
    let manifest = opened.log.manifest().current();
    let end = manifest.sealed_end();
    let mut records: Vec<u8> = Vec::new();
    let mut leaves = Vec::new();
    let mut at = Position::START;
    while at < end {
        let leaf_end = Position(at.0 + LEAF_EVENTS - at.0 % LEAF_EVENTS);
        let chunk = opened.log.read(at, leaf_end, usize::MAX).unwrap();
        for run in &chunk.runs {
            records.extend_from_slice(&run.bytes);
            at = run.end();
        }
        if at == leaf_end {
            leaves.push(digest(&[&records]));
            records.clear();
        }
    }
    let per_block = usize::try_from(BLOCK_EVENTS / LEAF_EVENTS).unwrap();
    let mut blocks = vec![Digest::default()];
    for block in leaves.chunks_exact(per_block) {
        let before = blocks[blocks.len() - 1];
        let parts: Vec<&[u8]> = block.iter().map(|leaf| &leaf[..]).collect();
        blocks.push(digest(&[&[&before[..]], &parts[..]].concat()));
    }
    let in_front = |position: Position, of: u64| usize::try_from(position.0 / of).unwrap();
    assert!(manifest.sealed.len() > 3 && blocks.len() > 1);
    for sealed in &manifest.sealed {
        let footer = &opened.log.shared.open_sealed(sealed).unwrap().footer;
        let (first, end) = (sealed.first_position, sealed.end_position());
        let whole = in_front(end, BLOCK_EVENTS);
        assert_eq!(footer.chain, blocks[whole]);
        assert_eq!(
            footer.blocks,
            blocks[in_front(first, BLOCK_EVENTS) + 1..=whole]
        );
        let open = whole * per_block..in_front(end, LEAF_EVENTS);
        assert_eq!(footer.leaves, leaves[open.clone()]);
        assert_eq!(to_u64(open.end), end.0 / LEAF_EVENTS);
    }
}

#[test]
fn events_that_are_not_there_are_passed_over() {
    let mut hasher = ContentHasher::new(&ContentDigests::default(), Position::START);
    hasher.push(b"a", 1);
    hasher.skip_to(Position(1_000));
    hasher.push(b"b", LEAF_EVENTS - 1_000);
    hasher.skip_to(Position(5 * LEAF_EVENTS + 7));
    hasher.push(b"c", 1);
    let (mixed, none) = (digest(&[b"ab"]), digest(&[]));
    let mut leaves = vec![mixed, none, none, none, none];
    assert_eq!(hasher.take().leaves, leaves);
    hasher.skip_to(Position(BLOCK_EVENTS));
    leaves.push(digest(&[b"c"]));
    leaves.resize(usize::try_from(BLOCK_EVENTS / LEAF_EVENTS).unwrap(), none);
    let block = digest(&[&Digest::default(), &leaves.concat()]);
    let taken = hasher.take();
    assert_eq!(
        (taken.chain, taken.blocks, taken.leaves),
        (block, vec![block], vec![])
    );
}
