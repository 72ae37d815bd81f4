//! A reader of stores that knows `storage-format.md` and nothing else: it uses no decoder of the
//! crate, and believes nothing that it did not check.

use annal::{
    ContentType, EventType, Position, RecordedEvent, Revision, StreamName, Tag, Timestamp,
};
use bytes::Bytes;
use uuid::Uuid;

use super::Files;

const UNIT_HEADER_LEN: usize = 56;
const FOOTER_FIXED_LEN: usize = 92;

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
    let known = if magic == b"AnMf" { 1..=2 } else { 1..=1 };
    assert!(known.contains(&input.number(4)), "the version");
    input
}

struct Identity {
    record_salt: Vec<u8>,
    unit_salt: Vec<u8>,
    unit_align: usize,
}

/// What the manifest says of a sealed segment.
struct Sealed {
    footer_offset: usize,
    len: usize,
    digest: Vec<u8>,
}

/// The events of a store that was stopped in order.
pub(crate) fn events(files: &Files) -> Vec<RecordedEvent> {
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
    let mut walk = Walk {
        identity,
        events: Vec::new(),
        offsets: Vec::new(),
        previous: 0,
    };
    for (id, sealed) in segments(files) {
        let file = &files[&format!("segment-{id:08x}")];
        let end = sealed
            .as_ref()
            .map_or(file.len(), |sealed| sealed.footer_offset);
        walk.offsets.clear();
        walk.segment(file, id, end);
        if let Some(sealed) = sealed {
            assert_eq!(sealed.len, file.len());
            assert_eq!(sealed.digest, blake3::hash(file).as_bytes());
            walk.footer(file, id, end);
        }
    }
    walk.events
}

/// The segments in order, and what is known of the sealed ones.
fn segments(files: &Files) -> Vec<(u64, Option<Sealed>)> {
    let mut names = files.keys().filter(|name| name.starts_with("manifest-"));
    let manifest = &files[names.next_back().unwrap()];
    let len = Input(&manifest[12..]).size(4);
    let mut input = envelope(manifest, len, b"AnMf");
    input.bytes(4 + 8 + 4 + 4 + 4 + 8);
    let [sealed, unsealed, _checkpoints, _tables, _extensions] =
        std::array::from_fn(|_| input.number(4));
    let mut segments = Vec::new();
    for _ in 0..sealed {
        let id = input.number(4);
        input.bytes(8 + 4);
        let (len, footer_offset) = (input.size(4), input.size(4));
        input.bytes(8 + 8 + 4 + 4 + 8);
        let digest = input.bytes(32).to_vec();
        let sealed = Sealed {
            footer_offset,
            len,
            digest,
        };
        segments.push((id, Some(sealed)));
    }
    segments.extend((0..unsealed).map(|_| (input.number(4), None)));
    segments
}

struct Walk {
    identity: Identity,
    events: Vec<RecordedEvent>,
    /// Where the records of this segment begin.
    offsets: Vec<usize>,
    previous: u32,
}

impl Walk {
    fn segment(&mut self, file: &[u8], id: u64, end: usize) {
        let mut header = envelope(file, 36, b"AnSg");
        header.bytes(16);
        assert_eq!(header.number(4), id);
        let mut offset = 4096;
        while offset < end {
            offset = self.unit(file, id, offset);
        }
        assert_eq!(offset, end);
    }

    /// Reads a unit and says where the next one begins.
    fn unit(&mut self, file: &[u8], id: u64, offset: usize) -> usize {
        let (header, mut body) = file[offset..].split_at(UNIT_HEADER_LEN);
        let mut input = Input(header);
        assert_eq!(input.bytes(4), b"AnUn");
        let sum = input.sum();
        assert_eq!(sum, salted(&self.identity.unit_salt, &[input.0]));
        assert_eq!((input.number(4), input.size(4)), (id, offset));
        assert_eq!(input.size(8), self.events.len());
        input.bytes(8 + 4);
        assert_eq!(input.sum(), self.previous);
        self.previous = sum;
        let (records, records_len, trailer_len) = (input.number(4), input.size(4), input.size(4));
        let body_sum = input.sum();
        let mut sums = Vec::new();
        let records_end = offset + UNIT_HEADER_LEN + records_len;
        for _ in 0..records {
            let at = file.len() - body.len();
            self.offsets.push(at);
            let len = self.record(body);
            sums.extend_from_slice(&body[..4]);
            body = &body[len..];
        }
        assert_eq!(file.len() - body.len(), records_end);
        let trailer = &body[..trailer_len];
        sums.extend(checksum(trailer).to_le_bytes());
        assert_eq!(crc32fast::hash(&sums), body_sum);
        self.trailer(trailer, records);
        let unpadded = records_end + trailer_len;
        let next = unpadded.next_multiple_of(self.identity.unit_align);
        assert!(file[unpadded..next].iter().all(|byte| *byte == 0));
        next
    }

    fn trailer(&self, trailer: &[u8], records: u64) {
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
        assert_eq!(covered, records);
        assert_eq!(input.varint(), 0, "no state records");
        assert!(input.0.is_empty());
    }

    /// Reads the record at the start of the bytes and says how long it is.
    fn record(&mut self, bytes: &[u8]) -> usize {
        let position = u64::try_from(self.events.len()).unwrap();
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

    /// The footer has the offset of every record. Small segments have one page and no digests.
    fn footer(&self, file: &[u8], id: u64, start: usize) {
        let fixed_at = file.len() - FOOTER_FIXED_LEN;
        let mut fixed = envelope(&file[fixed_at..], FOOTER_FIXED_LEN, b"AnFt");
        assert_eq!(fixed.number(4), id);
        fixed.bytes(8);
        assert_eq!(fixed.size(4), self.offsets.len());
        assert_eq!(fixed.size(4), start);
        assert_eq!(fixed.sum(), self.previous);
        fixed.bytes(4 + 8 + 32);
        assert_eq!((fixed.number(4), fixed.number(4)), (0, 0), "no digests");
        let lists = &file[fixed_at - 8 - 16..fixed_at];
        assert_eq!(fixed.sum(), checksum(lists));
        let mut directory = Input(lists);
        let page = &file[start..start + directory.size(4)];
        assert_eq!(directory.size(4), self.offsets[0]);
        let mut input = Input(page);
        let sum = input.sum();
        let id = u32::try_from(id).unwrap().to_le_bytes();
        let inner = checksum(input.0).to_le_bytes();
        let parts: [&[u8]; 3] = [&id, &[0; 8], &inner];
        assert_eq!(sum, salted(&self.identity.record_salt, &parts));
        let groups = self.offsets.chunks(64);
        let ends: Vec<usize> = (0..groups.len()).map(|_| input.size(2)).collect();
        let packed = input.0;
        let starts = [0].into_iter().chain(ends.iter().copied());
        for ((start, end), offsets) in starts.zip(&ends).zip(groups) {
            assert_eq!(unpacked(&packed[start..*end], offsets.len()), offsets);
        }
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

fn unpacked(bytes: &[u8], count: usize) -> Vec<usize> {
    let mut input = Input(bytes);
    let (width, base) = (input.size(1), input.length());
    assert_eq!(input.0.len(), (count * width).div_ceil(8));
    let bit = |at: usize| usize::from(input.0[at / 8] >> (at % 8) & 1);
    let distance = |index: usize| {
        (0..width)
            .map(|at| bit(index * width + at) << at)
            .sum::<usize>()
    };
    (0..count).map(|index| base + distance(index)).collect()
}
