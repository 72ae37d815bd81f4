//! Digests behind a segment that was written again: its own cannot be found out any more, those of
//! the segments behind it can, from where a leaf begins anew.

use crate::disk::{Disk, MemoryDisk};
use crate::format::footer::LEAF_EVENTS;
use crate::format::manifest::{ManifestData, SealedSegment};
use crate::log::Log;
use crate::log::tests::{Firsts, open_small, unit};

/// Has a footer say another digest, with right checksums and in a manifest that knows of it.
fn forge(disk: &MemoryDisk, log: &Log, entry: &SealedSegment) {
    let name = entry.file_name().to_string();
    let sealed = log.shared.open_sealed(entry).unwrap();
    let mut footer = sealed.footer.clone();
    footer.chain[3] ^= 1;
    let pages_len = footer.pages.last().unwrap().end;
    let units_and_pages = usize::try_from(entry.footer_offset + pages_len).unwrap();
    let mut bytes = disk.map(&name).unwrap()[..units_and_pages].to_vec();
    footer.encode(&mut bytes);
    let as_told = |data: &mut ManifestData| {
        let mut sealed = data.sealed.iter_mut();
        let told = sealed.find(|one| one.id == entry.id).unwrap();
        told.digest = blake3::hash(&bytes).into();
    };
    log.manifest().update(as_told).unwrap();
    disk.put(&name, &bytes).unwrap();
}

#[test]
fn digests_are_compared_again_where_a_leaf_begins_behind_a_segment_that_was_written_again() {
    let disk = MemoryDisk::new();
    let mut opened = open_small(&disk);
    let log = opened.log.clone();
    let sealed_end = || log.manifest().current().sealed_end();
    while sealed_end().0 < 3 * LEAF_EVENTS {
        let next = unit(&log, log.end(), 50, 60);
        opened.writer.commit(next, 5).unwrap();
        log.keeper_step().unwrap();
    }
    let end = sealed_end();
    let indexed = |data: &mut ManifestData| data.indexed_to = end;
    log.manifest().update(indexed).unwrap();
    assert!(log.rewrite(0, 1, &mut Firsts).unwrap().rewritten);
    drop((log, opened));
    assert!(
        open_small(&disk)
            .log
            .verify(&mut |_| ())
            .unwrap()
            .is_whole()
    );

    let sealed = open_small(&disk).log.manifest().current().sealed.clone();
    let has_whole_leaf = |entry: &SealedSegment| entry.end_position().0 >= LEAF_EVENTS;
    let begins = sealed.iter().position(has_whole_leaf).unwrap();
    assert!(begins > 0 && sealed.len() > begins + 3);
    for entry in &sealed[begins + 1..] {
        let disk = disk.snapshot();
        let log = open_small(&disk).log;
        forge(&disk, &log, entry);
        drop(log);
        let found = open_small(&disk).log.verify(&mut |_| ()).unwrap();
        let files = found.files.iter();
        let damage = files.filter_map(|file| file.damage.as_ref().map(ToString::to_string));
        let damage: Vec<String> = damage.collect();
        assert!(
            damage[0].contains(&entry.file_name().to_string()),
            "{damage:?}"
        );
        assert!(damage[0].contains("the digests"), "{damage:?}");
    }
}
