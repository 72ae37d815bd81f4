//! Any history of appends, commits, steps, starts and damage gives the answers of the plain list.

use proptest::prelude::*;

use super::{Fixture, entry_of, options};
use crate::format::table::Kind;
use crate::index::{From, IndexError, Key, Posting, Staged};
use crate::model::{Direction, Position, RecordedEvent, Revision, StreamMetadata};

const STREAMS: [&str; 7] = ["a-1", "a-2", "b-1", "plain", "$sys", "a-10", "$$$all"];
const TYPES: [&str; 3] = ["made", "sold", "lost"];
const TAGS: [&str; 3] = ["red", "green", "blue"];
const METADATA: [&str; 4] = [
    "{\"$maxCount\":3}",
    "{\"$tb\":9223372036854775807}",
    "{\"$acl\":{},\"$maxAge\":9}",
    "no json",
];

#[derive(Clone, Debug)]
enum Op {
    Append { stream: usize, event: u8, count: u8 },
    Metadata { stream: usize, text: usize },
    Tombstone { stream: usize },
    Commit { behind: u8 },
    Flush { all: bool },
    Merge { steps: u8 },
    Rebuild { steps: u8 },
    Reopen,
    Destroy { table: u8 },
    Corrupt { table: u8, at: u16, bit: u8 },
    MakeOld { table: u8 },
    Check { pick: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    let stream = 0..STREAMS.len();
    prop_oneof![
        12 => (stream.clone(), any::<u8>(), 1u8..20)
            .prop_map(|(stream, event, count)| Op::Append { stream, event, count }),
        2 => (stream.clone(), 0..METADATA.len())
            .prop_map(|(stream, text)| Op::Metadata { stream, text }),
        1 => stream.prop_map(|stream| Op::Tombstone { stream }),
        6 => (0u8..5).prop_map(|behind| Op::Commit { behind }),
        12 => any::<bool>().prop_map(|all| Op::Flush { all }),
        3 => (1u8..4).prop_map(|steps| Op::Merge { steps }),
        2 => (1u8..4).prop_map(|steps| Op::Rebuild { steps }),
        1 => Just(Op::Reopen),
        1 => any::<u8>().prop_map(|table| Op::Destroy { table }),
        1 => (any::<u8>(), any::<u16>(), 0u8..8)
            .prop_map(|(table, at, bit)| Op::Corrupt { table, at, bit }),
        1 => any::<u8>().prop_map(|table| Op::MakeOld { table }),
        4 => any::<u64>().prop_map(|pick| Op::Check { pick }),
    ]
}

fn apply(fixture: &mut Fixture, op: &Op) {
    match op {
        Op::Append {
            stream,
            event,
            count,
        } => {
            for number in 0..*count {
                let choice = usize::from(event.wrapping_mul(number | 1));
                let tags: Vec<_> = (0..3)
                    .filter(|tag| choice >> tag & 1 == 1)
                    .map(|tag| TAGS[tag])
                    .collect();
                let stream = STREAMS[(*stream + choice / 64) % STREAMS.len()];
                let known = entry_of(&fixture.events(), stream, u64::MAX);
                if known.tombstoned.is_none() {
                    fixture.stage(stream, TYPES[choice % 3], &tags, "{}");
                }
            }
        }
        Op::Metadata { stream, text } => {
            let stream = format!("$${}", STREAMS[*stream]);
            fixture.stage(&stream, StreamMetadata::EVENT_TYPE, &[], METADATA[*text]);
        }
        Op::Tombstone { stream } => {
            let known = entry_of(&fixture.events(), STREAMS[*stream], u64::MAX);
            if known.tombstoned.is_none() {
                fixture.stage(STREAMS[*stream], StreamMetadata::TOMBSTONE_TYPE, &[], "");
            }
        }
        Op::Commit { behind } => {
            fixture.commit_to(fixture.staged().saturating_sub(u64::from(*behind)));
        }
        Op::Flush { all } => {
            if *all {
                fixture.commit();
            }
            fixture.index.flush(fixture.committed(), *all).unwrap();
        }
        Op::Merge { steps } => {
            for _ in 0..*steps {
                fixture.index.merge_step().unwrap();
            }
        }
        Op::Rebuild { steps } => {
            for _ in 0..*steps {
                fixture.index.rebuild_step().unwrap();
            }
        }
        Op::Reopen => fixture.reopen(),
        Op::Destroy { table } => {
            let names = fixture.table_names();
            if !names.is_empty() {
                let _gone = fixture
                    .disk
                    .destroy(&names[usize::from(*table) % names.len()]);
                fixture.reopen();
            }
        }
        Op::Corrupt { table, at, bit } => {
            let names = fixture.table_names();
            if !names.is_empty() {
                let name = &names[usize::from(*table) % names.len()];
                let bit = u64::from(*at % 3000) * 8 + u64::from(*bit);
                let _beyond = fixture.disk.flip_bit(name, bit);
                fixture.reopen();
            }
        }
        Op::MakeOld { table } => {
            let names = fixture.table_names();
            if !names.is_empty() {
                fixture.make_old(&names[usize::from(*table) % names.len()]);
            }
        }
        Op::Check { pick } => check(fixture, *pick, fixture.index.wants_rebuild()),
    }
}

/// The events of a key before a position, as (ordinal, position).
fn list_of(events: &[RecordedEvent], key: Key<'_>, end: u64) -> Vec<(u64, Position)> {
    let has = |event: &&RecordedEvent| match key {
        Key::Stream(name) => &*event.stream == name && event.revision != Revision::TOMBSTONE,
        Key::Category(name) => event.stream.category() == Some(name),
        Key::EventType(name) => &*event.event_type == name,
        Key::Tag(name) => event.tags.iter().any(|tag| &**tag == name),
        Key::NewStreams => event.revision == Revision::START,
        Key::CorrelationId(id) => event.tags.first().is_some_and(|tag| &**tag == id),
        Key::CategoryStreams(name) => {
            event.stream.category() == Some(name) && event.revision == Revision::START
        }
        Key::Deletions => {
            let metadata = Posting::metadata_of(event);
            let deletes = metadata.is_some_and(|metadata| metadata.is_deleted());
            deletes || event.revision == Revision::TOMBSTONE
        }
    };
    let events = events.iter().filter(|event| event.position.0 < end);
    let all = events.filter(has).enumerate();
    all.map(|(number, event)| (number.try_into().unwrap(), event.position))
        .collect()
}

fn keys() -> Vec<Key<'static>> {
    let streams = STREAMS
        .into_iter()
        .chain(["$$a-1", "never"])
        .map(Key::Stream);
    let categories = ["a", "b", "c"].into_iter().map(Key::Category);
    let types = TYPES.into_iter().chain(["$metadata"]).map(Key::EventType);
    let tags = TAGS.into_iter().map(Key::Tag);
    let all = streams.chain(categories).chain(types).chain(tags);
    let correlations = TAGS.into_iter().map(Key::CorrelationId);
    let new = ["a", "b", "c"].into_iter().map(Key::CategoryStreams);
    all.chain(correlations)
        .chain(new)
        .chain([Key::NewStreams, Key::Deletions])
        .collect()
}

/// An answer is right, or, where a table is lost, it is refused.
fn right<T: PartialEq + std::fmt::Debug>(
    answer: Result<T, IndexError>,
    expected: &T,
    may_refuse: bool,
    question: &dyn std::fmt::Debug,
) {
    match answer {
        Ok(answer) => assert_eq!(&answer, expected, "{question:?}"),
        Err(IndexError::Rebuilding { done, of }) => {
            assert!(may_refuse && done < of, "{question:?} is refused");
        }
        Err(error) => panic!("{question:?}: {error}"),
    }
}

fn walk(fixture: &Fixture, key: Key<'_>, from: From, direction: Direction) -> Answer {
    let mut postings = fixture
        .index
        .view(fixture.committed())
        .seek(key, from, direction)?;
    let mut all = Vec::new();
    loop {
        let chunk = postings.next_chunk(7)?;
        if chunk.is_empty() {
            return Ok(all);
        }
        all.extend(chunk);
    }
}

type Answer = Result<Vec<(u64, Position)>, IndexError>;

fn check(fixture: &Fixture, pick: u64, may_refuse: bool) {
    let events = fixture.events();
    let end = fixture.committed().0;
    // Damage may be found on the way, so a refusal is in order wherever a table was damaged.
    let may_refuse = may_refuse || fixture.index.wants_rebuild();
    let view = fixture.index.view(fixture.committed());
    assert_eq!(view.committed().0, end);
    let refusable = |fixture: &Fixture| may_refuse || fixture.index.wants_rebuild();
    for stream in STREAMS.into_iter().chain(["never", "$$a-1"]) {
        let answer = view.stream(stream);
        let expected = entry_of(&events, stream, end);
        right(answer, &expected, refusable(fixture), &stream);
    }
    for key in keys() {
        let all = list_of(&events, key, end);
        let ordinal = pick % (u64::try_from(all.len()).unwrap() + 2);
        let position = pick % (end + 2);
        let forwards = [
            (From::Ordinal(ordinal), true),
            (From::Position(Position(position)), true),
            (From::Ordinal(ordinal), false),
            (From::Position(Position(position)), false),
        ];
        for (from, is_forwards) in forwards {
            let fits = |(at, place): &&(u64, Position)| match (from, is_forwards) {
                (From::Ordinal(from), true) => *at >= from,
                (From::Ordinal(to), false) => *at <= to,
                (From::Position(from), true) => *place >= from,
                (From::Position(before), false) => *place < before,
            };
            let mut expected: Vec<_> = all.iter().filter(fits).copied().collect();
            let direction = match is_forwards {
                true => Direction::Forwards,
                false => Direction::Backwards,
            };
            if !is_forwards {
                expected.reverse();
            }
            let answer = walk(fixture, key, from, direction);
            let question = (key, from, direction, end);
            right(answer, &expected, refusable(fixture), &question);
            if let From::Position(at) = from {
                let only_positions = || {
                    let mut walk = view.seek_positions(key, at, direction)?;
                    walk.next_chunk(usize::MAX)
                };
                let mut answer = only_positions();
                for (answered, expected) in answer.iter_mut().flatten().zip(&expected) {
                    answered.0 = expected.0;
                }
                let count = answer.as_ref().map_or(0, Vec::len);
                let expected = expected.get(..count).unwrap_or_default().to_vec();
                right(answer, &expected, refusable(fixture), &question);
            }
        }
    }
    check_lists(fixture, &events, pick, may_refuse);
    check_staged(fixture, &events, pick);
}

fn check_lists(fixture: &Fixture, events: &[RecordedEvent], pick: u64, may_refuse: bool) {
    let end = fixture.committed().0;
    let view = fixture.index.view(fixture.committed());
    let mut names: Vec<_> = events
        .iter()
        .filter(|event| event.position.0 < end)
        .map(|event| event.stream.to_string())
        .collect();
    names.sort_unstable();
    names.dedup();
    let prefix = ["", "a-", "a-1", "$", "zzz"][usize::try_from(pick % 5).unwrap()];
    let after = ["", "a-1", "plain", "a-"][usize::try_from(pick / 5 % 4).unwrap()];
    let max = usize::try_from(pick / 20 % 9).unwrap();
    names.retain(|name| name.starts_with(prefix) && **name > *after);
    names.truncate(max);
    let expected: Vec<_> = names
        .into_iter()
        .map(|name| {
            let entry = entry_of(events, &name, end);
            (name, entry)
        })
        .collect();
    let after = (!after.is_empty()).then_some(after);
    let may_refuse = may_refuse || fixture.index.wants_rebuild();
    let answer = view.list(Kind::Stream, prefix, after, max);
    let answer = answer.and_then(|names| {
        let names = names.into_iter();
        let with_entry = names.map(|(name, _)| Ok((name.clone(), view.stream(&name)?)));
        with_entry.collect::<Result<Vec<_>, IndexError>>()
    });
    let refused = may_refuse || fixture.index.wants_rebuild();
    right(answer, &expected, refused, &(prefix, after, max));
    let counts: Vec<_> = TYPES
        .into_iter()
        .map(|name| {
            let count = list_of(events, Key::EventType(name), end).len();
            (name.to_owned(), u64::try_from(count).unwrap())
        })
        .filter(|(name, count)| *count > 0 && (*name == "lost" || *name == "made"))
        .collect();
    let mut counts = counts;
    counts.sort_unstable();
    let answer = view.list(Kind::EventType, "", Some("$z"), 2);
    let answer = answer.map(|mut all| {
        all.retain(|(name, _)| name != "sold");
        all
    });
    let refused = may_refuse || fixture.index.wants_rebuild();
    right(answer, &counts, refused, &"types");
}

/// What became of a stream since a position is known while staging, whatever is lost on the disk.
fn check_staged(fixture: &Fixture, events: &[RecordedEvent], pick: u64) {
    let stage = fixture.index.stage();
    let since = Position(pick % (fixture.staged() + 1));
    let stream = STREAMS[usize::try_from(pick % 7).unwrap()];
    let before = entry_of(events, stream, since.0);
    let now = entry_of(events, stream, u64::MAX);
    match stage.head(stream, since) {
        Staged::TooOld => assert!(since < stage.reaches_back_to()),
        Staged::Unchanged => assert_eq!(before, now),
        Staged::Entry(newer) => assert_eq!(before.updated(&newer), now),
    }
    let newest = stage.head(stream, Position(fixture.staged()));
    assert_eq!(newest, Staged::Unchanged);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn every_answer_is_that_of_the_log_or_is_refused(
        ops in proptest::collection::vec(op(), 1..120),
        pick: u64,
    ) {
        let mut fixture = Fixture::new(options());
        for op in &ops {
            apply(&mut fixture, op);
        }
        fixture.commit();
        check(&fixture, pick, fixture.index.wants_rebuild());
        // What is lost comes back, and then nothing is refused. Some damage is found only when it
        // is looked at.
        for _ in 0..3 {
            fixture.rebuild();
            check(&fixture, pick, true);
            fixture.flush();
            fixture.merge();
        }
        fixture.rebuild();
        check(&fixture, pick.rotate_left(7), fixture.index.wants_rebuild());
    }
}
