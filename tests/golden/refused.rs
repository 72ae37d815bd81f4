//! What is done to the golden files, and what opening the store then must conclude: the first table
//! of the document's section on recovery, and its section on compatibility.

use super::Files;

/// A case: what was done, and the doing.
type Case = (&'static str, fn(&mut Files));

const ACTIVE: &str = "segment-00000002";
const SEALED: &str = "segment-00000000";

fn newest_manifest(files: &Files) -> String {
    let mut names = files.keys().filter(|name| name.starts_with("manifest-"));
    names.next_back().unwrap().clone()
}

fn cut(files: &mut Files, name: &str) {
    files.get_mut(name).unwrap().pop();
}

/// Destroys the checksums of the copies that begin at these offsets.
fn destroy(files: &mut Files, name: &str, copies: &[usize]) {
    for &copy in copies {
        files.get_mut(name).unwrap()[copy + 4] ^= 1;
    }
}

/// Raises the version of the structure of so many bytes in these copies, with right checksums.
fn raise(files: &mut Files, name: &str, len: usize, copies: &[usize]) {
    for &copy in copies {
        let bytes = &mut files.get_mut(name).unwrap()[copy..copy + len];
        bytes[8] += 1;
        let sum = crc32fast::hash(&bytes[8..]);
        bytes[4..8].copy_from_slice(&sum.to_le_bytes());
    }
}

/// Durable bytes are damaged or missing.
pub(crate) const DAMAGED: &[Case] = &[
    ("the identity is gone", |files| {
        files.remove("store");
    }),
    ("the identity has no whole copy", |files| {
        destroy(files, "store", &[0, 4096]);
    }),
    ("no manifest is there", |files| {
        files.retain(|name, _| !name.starts_with("manifest-"));
    }),
    ("the newest manifest is gone", |files| {
        files.remove(&newest_manifest(files));
    }),
    ("the newest manifest has no whole copy", |files| {
        destroy(files, &newest_manifest(files), &[0, 4096]);
    }),
    ("a manifest has another's name", |files| {
        let bytes = files[&newest_manifest(files)].clone();
        files.insert("manifest-00000000000000ff".to_owned(), bytes);
    }),
    ("the floor is gone", |files| {
        files.remove("floor");
    }),
    ("a sealed segment is gone", |files| {
        files.remove(SEALED);
    }),
    ("a sealed segment is shorter", |files| cut(files, SEALED)),
    ("the active segment is gone", |files| {
        files.remove(ACTIVE);
    }),
    ("the active segment is shorter", |files| cut(files, ACTIVE)),
    ("the active segment is longer", |files| {
        files.get_mut(ACTIVE).unwrap().extend([0; 8]);
    }),
    ("the active segment's header has no whole copy", |files| {
        destroy(files, ACTIVE, &[0, 2048]);
    }),
    ("the active segment is another one", |files| {
        files.insert(ACTIVE.to_owned(), files["segment-00000001"].clone());
    }),
    (
        "a segment is there that no manifest gave a number to",
        |files| {
            let bytes = files[ACTIVE].clone();
            files.insert("segment-00000003".to_owned(), number_three(bytes));
        },
    ),
];

/// Flips a bit of the last event. A store that was stopped in order has a checkpoint in front of
/// which nothing is walked, so opening does not find it; reading does.
pub(crate) fn flip_the_last_event(files: &mut Files) {
    let bytes = files.get_mut(ACTIVE).unwrap();
    let place = bytes.len() - 40;
    bytes[place] ^= 1;
}

/// The active segment and its first unit, made into segment 3.
fn number_three(mut bytes: Vec<u8>) -> Vec<u8> {
    let salt: Vec<u8> = super::golden_files(super::TODAY)["store"][60..76].to_vec();
    for copy in [0, 2048] {
        bytes[copy + 28] = 3;
        let sum = crc32fast::hash(&bytes[copy + 8..copy + 36]);
        bytes[copy + 4..copy + 8].copy_from_slice(&sum.to_le_bytes());
    }
    bytes[4096 + 8] = 3;
    let sum = crc32fast::hash(&[&salt, &bytes[4096 + 8..4096 + 56]].concat());
    bytes[4096 + 4..4096 + 8].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// A newer program wrote it.
pub(crate) const NEWER: &[Case] = &[
    ("identity", |files| raise(files, "store", 88, &[0, 4096])),
    ("manifest", |files| {
        let name = newest_manifest(files);
        let len = u32::from_le_bytes(files[&name][12..16].try_into().unwrap());
        raise(files, &name, len.try_into().unwrap(), &[0, 4096]);
    }),
    ("one copy of the manifest", |files| {
        let name = newest_manifest(files);
        let len = u32::from_le_bytes(files[&name][12..16].try_into().unwrap());
        raise(files, &name, len.try_into().unwrap(), &[0]);
    }),
    ("header of the active segment", |files| {
        // Version 2 is that of a segment that was written again.
        raise(files, ACTIVE, 36, &[0, 2048]);
        raise(files, ACTIVE, 36, &[0, 2048]);
    }),
    ("floor", |files| raise(files, "floor", 52, &[0, 4096])),
    ("bit of the floor", |files| {
        let slot = &mut files.get_mut("floor").unwrap()[..52];
        slot[51] = 0x80;
        let sum = crc32fast::hash(&slot[8..]);
        slot[4..8].copy_from_slice(&sum.to_le_bytes());
    }),
];

/// Nothing that is needed is missing.
pub(crate) const OPENS: &[Case] = &[
    ("one copy of each", |files| {
        destroy(files, "store", &[0]);
        destroy(files, ACTIVE, &[0]);
        destroy(files, &newest_manifest(files), &[4096]);
    }),
    ("no slot of the floor", |files| {
        destroy(files, "floor", &[0, 4096])
    }),
    ("the manifest before", |files| {
        let newest = newest_manifest(files);
        files.retain(|name, _| !name.starts_with("manifest-") || *name == newest);
    }),
    ("a file of somebody's", |files| {
        files.insert("notes.txt".to_owned(), b"mine".to_vec());
    }),
];
