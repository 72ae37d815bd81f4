//! What is told of a scavenge, and how it stands in its state record.

use uuid::Uuid;

use crate::format::codec::{Reader, put_bytes, put_varint, unzigzag, zigzag};

/// How many scavenges are remembered.
pub(super) const KEPT_MAX: usize = 16;
/// The version of the record.
const VERSION: u8 = 1;

/// A scavenge: how far it is, or how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScavengeInfo {
    /// Which one it is.
    pub id: Uuid,
    /// Whether it goes on.
    pub status: ScavengeStatus,
    /// When it began, in microseconds since 1970.
    pub started_us: i64,
    /// When it ended, in microseconds since 1970.
    pub ended_us: Option<i64>,
    /// The segment it goes on with.
    pub next_segment: u32,
    /// How many segments it has still to look at.
    pub segments_left: u32,
    /// How many segments were written again.
    pub rewritten_segments: u32,
    /// How many events are gone.
    pub removed_events: u64,
    /// How many bytes were given back.
    pub freed_bytes: u64,
    /// What went wrong, if something did.
    pub error: Option<String>,
}

/// What became of a scavenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScavengeStatus {
    /// It is at work.
    Running,
    /// It was stopped; the next one goes on where it ended.
    Stopped,
    /// It looked at everything.
    Completed,
    /// Something went wrong; what it did until then stays done.
    Failed,
    /// The store was closed or crashed meanwhile; the next one goes on where it was.
    Interrupted,
}

impl ScavengeStatus {
    const fn byte(self) -> u8 {
        match self {
            Self::Running => 1,
            Self::Stopped => 2,
            Self::Completed => 3,
            Self::Failed => 4,
            Self::Interrupted => 5,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        let all = [
            Self::Running,
            Self::Stopped,
            Self::Completed,
            Self::Failed,
            Self::Interrupted,
        ];
        all.into_iter().find(|status| status.byte() == byte)
    }
}

/// The value of its state record.
pub(super) fn encode(info: &ScavengeInfo) -> Vec<u8> {
    let mut out = vec![VERSION, info.status.byte()];
    out.extend_from_slice(info.id.as_bytes());
    put_varint(&mut out, zigzag(info.started_us));
    out.push(u8::from(info.ended_us.is_some()));
    put_varint(&mut out, zigzag(info.ended_us.unwrap_or(0)));
    put_varint(&mut out, info.next_segment.into());
    put_varint(&mut out, info.segments_left.into());
    put_varint(&mut out, info.rewritten_segments.into());
    put_varint(&mut out, info.removed_events);
    put_varint(&mut out, info.freed_bytes);
    put_bytes(&mut out, info.error.as_deref().unwrap_or("").as_bytes());
    out
}

/// What a state record tells; none if it is of a later version.
pub(super) fn decode(bytes: &[u8]) -> Option<ScavengeInfo> {
    let mut reader = Reader::new(bytes, "a scavenge");
    if reader.u8().ok()? != VERSION {
        return None;
    }
    let status = ScavengeStatus::from_byte(reader.u8().ok()?)?;
    let id = Uuid::from_bytes(reader.array().ok()?);
    let started_us = unzigzag(reader.varint().ok()?);
    let has_ended = reader.u8().ok()? == 1;
    let ended_us = unzigzag(reader.varint().ok()?);
    let mut count = || u32::try_from(reader.varint().ok()?).ok();
    let next_segment = count()?;
    let segments_left = count()?;
    let rewritten_segments = count()?;
    let removed_events = reader.varint().ok()?;
    let freed_bytes = reader.varint().ok()?;
    let error = reader.bytes_at_most(reader.remaining()).ok()?;
    let error = String::from_utf8_lossy(error).into_owned();
    Some(ScavengeInfo {
        id,
        status,
        started_us,
        ended_us: has_ended.then_some(ended_us),
        next_segment,
        segments_left,
        rewritten_segments,
        removed_events,
        freed_bytes,
        error: Some(error).filter(|error| !error.is_empty()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_a_scavenge_comes_back() {
        for (status, error) in [
            (ScavengeStatus::Running, None),
            (ScavengeStatus::Failed, Some("no space".to_owned())),
        ] {
            let info = ScavengeInfo {
                id: Uuid::from_u128(7),
                status,
                started_us: -5,
                ended_us: error.as_ref().map(|_| 1 << 50),
                next_segment: 3,
                segments_left: 4,
                rewritten_segments: 2,
                removed_events: 1 << 40,
                freed_bytes: 99,
                error,
            };
            assert_eq!(decode(&encode(&info)), Some(info));
        }
        assert_eq!(decode(b""), None);
        assert_eq!(decode(&[2; 50]), None);
    }
}
