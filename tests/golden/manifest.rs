//! The manifest, for the reader of stores: which segments there are, and where the state records
//! are.

use super::{Files, Input, envelope};

/// What the manifest names.
pub(super) struct Manifest {
    /// In order.
    pub(super) segments: Vec<Segment>,
    pub(super) state: Option<State>,
}

/// A segment.
pub(super) struct Segment {
    pub(super) id: u64,
    pub(super) sealed: Option<Sealed>,
}

/// What is known of a sealed segment.
pub(super) struct Sealed {
    pub(super) first: u64,
    pub(super) events: u64,
    pub(super) len: usize,
    pub(super) footer_offset: usize,
    /// The header checksum of its last unit, as it was written first.
    pub(super) last_sum: u32,
    pub(super) digest: Vec<u8>,
    pub(super) rewrite: Option<Rewrite>,
}

/// What is known of a segment that was written again.
pub(super) struct Rewrite {
    number: u64,
    pub(super) keys_len: usize,
    pub(super) keys_sum: u32,
}

/// The state entry.
pub(super) struct State {
    pub(super) since: u64,
    pub(super) number: u64,
    pub(super) len: usize,
    pub(super) place: (u64, usize),
}

impl Segment {
    /// How often it was written again.
    pub(super) fn rewrite(&self) -> u64 {
        let sealed = self.sealed.as_ref();
        let rewrite = sealed.and_then(|sealed| sealed.rewrite.as_ref());
        rewrite.map_or(0, |rewrite| rewrite.number)
    }

    pub(super) fn file_name(&self) -> String {
        match self.rewrite() {
            0 => format!("segment-{:08x}", self.id),
            number => format!("segment-{:08x}-{number:08x}", self.id),
        }
    }

    /// Where its units end, and its removed keys begin, if it may have any.
    pub(super) fn units_end(&self, file: &[u8]) -> usize {
        let Some(sealed) = &self.sealed else {
            return file.len();
        };
        let keys_len = sealed
            .rewrite
            .as_ref()
            .map_or(0, |rewrite| rewrite.keys_len);
        sealed.footer_offset - keys_len
    }
}

/// Reads the newest one.
pub(super) fn manifest(files: &Files) -> Manifest {
    let mut names = files.keys().filter(|name| name.starts_with("manifest-"));
    let manifest = &files[names.next_back().unwrap()];
    let len = Input(&manifest[12..]).size(4);
    let mut input = envelope(manifest, len, b"AnMf");
    input.bytes(4 + 8 + 4 + 4 + 4 + 8);
    let [sealed, unsealed, checkpoints, tables, extensions] =
        std::array::from_fn(|_| input.size(4));
    let mut segments: Vec<Segment> = (0..sealed).map(|_| sealed_segment(&mut input)).collect();
    segments.extend((0..unsealed).map(|_| Segment {
        id: input.number(4),
        sealed: None,
    }));
    input.bytes(checkpoints * 22 + tables * 64);
    let mut state = None;
    for _ in 0..extensions {
        let kind = input.number(1);
        let len = input.length();
        let mut bytes = Input(input.bytes(len));
        match kind {
            128 => state = Some(state_entry(&mut bytes)),
            129 => rewrites(&mut bytes, &mut segments),
            kind => assert!(kind < 128, "it must be known"),
        }
        assert!(kind < 128 || bytes.0.is_empty());
    }
    assert!(input.0.is_empty());
    Manifest { segments, state }
}

fn sealed_segment(input: &mut Input<'_>) -> Segment {
    let id = input.number(4);
    let (first, events) = (input.number(8), input.number(4));
    let (len, footer_offset) = (input.size(4), input.size(4));
    input.bytes(8 + 8);
    let last_sum = input.sum();
    input.bytes(4 + 8);
    let sealed = Sealed {
        first,
        events,
        len,
        footer_offset,
        last_sum,
        digest: input.bytes(32).to_vec(),
        rewrite: None,
    };
    let sealed = Some(sealed);
    Segment { id, sealed }
}

fn rewrites(input: &mut Input<'_>, segments: &mut [Segment]) {
    while !input.0.is_empty() {
        let id = input.number(4);
        let rewrite = Rewrite {
            number: input.number(4),
            keys_len: input.size(4),
            keys_sum: input.sum(),
        };
        let segment = segments.iter_mut().find(|segment| segment.id == id);
        segment.unwrap().sealed.as_mut().unwrap().rewrite = Some(rewrite);
    }
}

fn state_entry(input: &mut Input<'_>) -> State {
    let (since, number, len) = (input.number(4), input.number(4), input.size(8));
    let place = (input.number(4), input.size(4));
    input.bytes(8 + 4 + 4 + 8);
    State {
        since,
        number,
        len,
        place,
    }
}
