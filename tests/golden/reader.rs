//! A reader of stores that knows `storage-format.md` and nothing else: it uses no decoder of the
//! crate, and believes nothing that it did not check.

mod footer;
mod manifest;
mod states;

use annal::{
    ContentType, EventType, Position, RecordedEvent, Revision, StreamName, Tag, Timestamp,
};
use bytes::Bytes;
use uuid::Uuid;

use super::Files;
use manifest::{Segment, manifest};
use states::{States, state_file};

const UNIT_HEADER_LEN: usize = 56;

/// Takes values from the front.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken
    }

    fn number(&mut self, len: usize) -> u64 {
        let bytes = self.bytes(len).iter().rev();
        bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    fn size(&mut self, len: usize) -> usize {
        self.number(len).try_into().unwrap()
    }

    fn sum(&mut self) -> u32 {
        self.number(4).try_into().unwrap()
    }

    fn varint(&mut self) -> u64 {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = self.number(1);
            number |= (byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return number;
            }
        }
    }

    fn length(&mut self) -> usize {
        self.varint().try_into().unwrap()
    }

    fn text(&mut self, len: usize) -> Bytes {
        Bytes::copy_from_slice(self.bytes(len))
    }
}

fn checksum(text: &[u8]) -> u32 {
    if text.len() <= 8192 {
        return crc32fast::hash(text);
    }
    let sums = text.chunks(8192).map(crc32fast::hash);
    crc32fast::hash(&sums.flat_map(u32::to_le_bytes).collect::<Vec<u8>>())
}

fn salted(salt: &[u8], parts: &[&[u8]]) -> u32 {
    crc32fast::hash(&[salt, &parts.concat()].concat())
}

/// What is behind the envelope of a structure of so many bytes.
fn envelope<'a>(bytes: &'a [u8], len: usize, magic: &[u8]) -> Input<'a> {
    let mut input = Input(&bytes[..len]);
    assert_eq!(input.bytes(4), magic);
    let sum = input.sum();
    assert_eq!(sum, checksum(input.0));
    let newest = if [b"AnMf", b"AnSg"].contains(&magic.first_chunk().unwrap()) {
        2
    } else {
        1
    };
    assert!((1..=newest).contains(&input.number(4)), "the version");
    input
}

struct Identity {
    record_salt: Vec<u8>,
    unit_salt: Vec<u8>,
    unit_align: usize,
}

/// The events of a store that was stopped in order, and its state records.
pub(crate) fn contents(files: &Files) -> (Vec<RecordedEvent>, States) {
    let mut input = envelope(&files["store"], 100 - 12, b"AnSt");
    input.bytes(32);
    let identity = Identity {
        record_salt: input.bytes(16).to_vec(),
        unit_salt: input.bytes(16).to_vec(),
        unit_align: {
            input.bytes(8);
            input.size(4)
        },
    };
    let manifest = manifest(files);
    let mut walk = Walk {
        identity,
        events: Vec::new(),
        next: 0,
        offsets: Vec::new(),
        removed: Vec::new(),
        previous: 0,
        states: States::new(),
        first_state: None,
        late_states: Vec::new(),
        state_place: manifest.state.as_ref().map(|state| state.place),
    };
    for segment in &manifest.segments {
        walk.segment(&files[&segment.file_name()], segment);
    }
    if let Some(state) = manifest.state {
        assert!(walk.first_state.is_none_or(|first| first >= state.since));
        let mut states = state_file(files, &state);
        for (space, key, value) in walk.late_states {
            states::apply(&mut states, space, key, value);
        }
        assert_eq!(states, walk.states, "the file and the log");
    }
    (walk.events, walk.states)
}

/// What is known so far, and of the segment that is read.
struct Walk {
    identity: Identity,
    events: Vec<RecordedEvent>,
    /// The position of the next event.
    next: u64,
    /// Where the record of each event of this segment begins; 0 if the event was removed.
    offsets: Vec<usize>,
    /// The numbers of the removed events, from 0 in the segment.
    removed: Vec<u64>,
    previous: u32,
    states: States,
    /// The first segment with a state record.
    first_state: Option<u64>,
    /// The changes behind the place of the state file.
    late_states: Vec<(u8, Bytes, Option<Bytes>)>,
    state_place: Option<(u64, usize)>,
}

impl Walk {
    fn segment(&mut self, file: &[u8], segment: &Segment) {
        let mut header = envelope(file, 36, b"AnSg");
        header.bytes(16);
        assert_eq!(header.number(4), segment.id);
        if segment.rewrite() > 0 {
            assert_eq!(header.number(4), segment.rewrite());
        }
        self.offsets.clear();
        self.removed.clear();
        let first = self.next;
        let end = segment.units_end(file);
        let mut offset = 4096;
        while offset < end {
            offset = self.unit(file, segment, (first, offset));
        }
        assert_eq!(offset, end);
        let Some(sealed) = &segment.sealed else {
            return;
        };
        assert_eq!((sealed.first, sealed.len), (first, file.len()));
        assert_eq!(sealed.digest, blake3::hash(file).as_bytes());
        self.skip(first, first + sealed.events);
        match segment.rewrite() {
            0 => assert_eq!(self.previous, sealed.last_sum),
            // The next segment continues the unit as it was written first.
            _ => self.previous = sealed.last_sum,
        }
        footer::check(self, file, segment);
    }

    /// Everything up to a position was removed.
    fn skip(&mut self, first: u64, to: u64) {
        assert!(self.next <= to);
        self.removed.extend(self.next - first..to - first);
        self.offsets.resize(usize::try_from(to - first).unwrap(), 0);
        self.next = to;
    }

    /// Reads a unit of a segment with this first position, and says where the next one begins.
    fn unit(&mut self, file: &[u8], segment: &Segment, (first, offset): (u64, usize)) -> usize {
        let (header, mut body) = file[offset..].split_at(UNIT_HEADER_LEN);
        let mut input = Input(header);
        assert_eq!(input.bytes(4), b"AnUn");
        let sum = input.sum();
        assert_eq!(sum, salted(&self.identity.unit_salt, &[input.0]));
        assert_eq!((input.number(4), input.size(4)), (segment.id, offset));
        let position = input.number(8);
        assert!(position == self.next || segment.rewrite() > 0);
        self.skip(first, position);
        input.bytes(8 + 4);
        assert_eq!(input.sum(), self.previous);
        self.previous = sum;
        let (records, records_len, trailer_len) = (input.size(4), input.size(4), input.size(4));
        let body_sum = input.sum();
        let mut sums = Vec::new();
        let records_end = offset + UNIT_HEADER_LEN + records_len;
        let trailer = &file[records_end..records_end + trailer_len];
        let (covered, places) = self.trailer(trailer, segment, (records, offset));
        for place in places {
            self.skip(first, position + place);
            self.offsets.push(file.len() - body.len());
            let len = self.record(body);
            sums.extend_from_slice(&body[..4]);
            body = &body[len..];
        }
        self.skip(first, position + covered);
        assert_eq!(file.len() - body.len(), records_end);
        sums.extend(checksum(trailer).to_le_bytes());
        assert_eq!(crc32fast::hash(&sums), body_sum);
        let unpadded = records_end + trailer_len;
        let next = unpadded.next_multiple_of(self.identity.unit_align);
        assert!(file[unpadded..next].iter().all(|byte| *byte == 0));
        next
    }

    /// Reads a trailer; says how many positions the unit covers, and which of them have a record.
    fn trailer(
        &mut self,
        trailer: &[u8],
        segment: &Segment,
        (records, offset): (usize, usize),
    ) -> (u64, Vec<u64>) {
        let mut input = Input(trailer);
        let mut covered = 0;
        for _ in 0..input.varint() {
            let head = input.varint();
            covered += head >> 1;
            if head & 1 == 1 {
                let len = input.length();
                input.bytes(len + 16 + 8);
            }
        }
        for _ in 0..input.varint() {
            let (space, key, value) = states::change(&mut input);
            self.first_state.get_or_insert(segment.id);
            if self
                .state_place
                .is_some_and(|place| (segment.id, offset) >= place)
            {
                self.late_states.push((space, key.clone(), value.clone()));
            }
            states::apply(&mut self.states, space, key, value);
        }
        let mut places: Vec<u64> = (0..covered).collect();
        if segment.rewrite() > 0 {
            let runs = input.varint();
            let mut at = 0;
            if runs > 0 {
                places.clear();
            }
            for _ in 0..runs {
                let start = at + input.varint();
                at = start + input.varint();
                places.extend(start..at);
            }
            assert!(at <= covered);
        }
        assert!(input.0.is_empty());
        assert_eq!(places.len(), records);
        (covered, places)
    }

    /// Reads the record at the start of the bytes and says how long it is.
    fn record(&mut self, bytes: &[u8]) -> usize {
        let position = self.next;
        self.next += 1;
        let mut input = Input(bytes);
        let (header_sum, payload_sum) = (input.sum(), input.sum());
        let flags = input.number(1);
        assert_eq!(flags >> 5, 0, "reserved bits");
        let id = Uuid::from_slice(input.bytes(16)).unwrap();
        let revision = Revision(input.varint());
        let created = created(&mut input, flags & 0b1_0000 != 0);
        let (stream_len, type_len) = (input.length(), input.length());
        let named_len = if flags & 0b11 == 2 { input.length() } else { 0 };
        let metadata_len = if flags & 0b100 != 0 {
            input.length()
        } else {
            0
        };
        let data_len = input.length();
        let stream = StreamName::from_bytes(input.text(stream_len)).unwrap();
        let event_type = EventType::from_bytes(input.text(type_len)).unwrap();
        let named = input.text(named_len);
        let content_type = match flags & 0b11 {
            0 => ContentType::Json,
            1 => ContentType::Binary,
            _ => ContentType::from_bytes(named).unwrap(),
        };
        let mut tags = Vec::new();
        if flags & 0b1000 != 0 {
            for _ in 0..input.varint() {
                let len = input.length();
                tags.push(Tag::from_bytes(input.text(len)).unwrap());
            }
        }
        let header_len = bytes.len() - input.0.len();
        let parts = [&position.to_le_bytes()[..], &bytes[4..header_len]];
        assert_eq!(header_sum, salted(&self.identity.record_salt, &parts));
        let len = header_len + metadata_len + data_len;
        assert_eq!(payload_sum, checksum(&bytes[header_len..len]));
        let (metadata, data) = (input.text(metadata_len), input.text(data_len));
        self.events.push(RecordedEvent {
            position: Position(position),
            stream,
            revision,
            id,
            event_type,
            content_type,
            created,
            tags,
            metadata,
            data,
        });
        len
    }
}

fn created(input: &mut Input<'_>, long: bool) -> Timestamp {
    if !long {
        let micros = i64::try_from(input.varint()).unwrap();
        return Timestamp::from_micros(micros + 1_735_689_600_000_000);
    }
    let decimals = u8::try_from(input.number(1)).unwrap();
    let zigzag = input.varint();
    let half = i64::try_from(zigzag >> 1).unwrap();
    let seconds = if zigzag & 1 == 0 { half } else { -half - 1 };
    let fraction = if decimals > 0 { input.varint() } else { 0 };
    let nanos = fraction * 10u64.pow(9 - u32::from(decimals));
    Timestamp::new(seconds, nanos.try_into().unwrap(), decimals).unwrap()
}
