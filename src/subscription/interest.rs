//! What wakes a subscription, and what a range of events holds of it, both as hashes of keys.
//!
//! A stream, a category, a type, a tag, a prefix and a pattern are keys alike. A hash that fits by
//! accident wakes somebody for nothing, who then reads and finds nothing.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashMap, HashSet};
use smallvec::SmallVec;

use crate::engine::{ReadError, Reading, Record, Track};
use crate::model::{
    EventFilter, FilterRule, FilterTarget, Position, Source, StreamMetadata, StreamName,
    VirtualStream,
};

/// The hash of a kind and a text.
pub(super) type KeyHash = u64;

/// What can wake somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    All,
    Stream,
    Category,
    EventType,
    Tag,
    CorrelationId,
    NewStreams,
    Prefix(Target),
    Pattern(Target),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Target {
    Stream,
    EventType,
}

impl From<FilterTarget> for Target {
    fn from(target: FilterTarget) -> Self {
        match target {
            FilterTarget::Stream => Self::Stream,
            FilterTarget::EventType => Self::EventType,
        }
    }
}

/// Makes hashes, differently in each process.
#[derive(Clone, Debug, Default)]
pub(super) struct Hasher(DefaultHashBuilder);

impl Hasher {
    fn key(&self, kind: Kind, text: &[u8]) -> KeyHash {
        self.0.hash_one((kind, text))
    }
}

/// What one subscription waits for.
#[derive(Clone, Debug)]
pub(super) struct Interest {
    kind: Kind,
    /// The hashes of its keys.
    pub(super) keys: SmallVec<[KeyHash; 1]>,
    /// How long its prefixes are, in bytes.
    prefix_lens: SmallVec<[usize; 2]>,
    /// The filter, if it is a pattern.
    pattern: Option<EventFilter>,
}

impl Interest {
    /// What a subscription that follows this waits for.
    pub(super) fn of(track: &Track, hasher: &Hasher) -> Self {
        match track {
            Track::Source(source) => Self::of_source(source, hasher),
            Track::Virtual(one) => Self::of_virtual(&one.of, hasher),
        }
    }

    /// Nothing: who waits so is woken only when everybody is.
    pub(super) fn none() -> Self {
        Self {
            kind: Kind::All,
            keys: SmallVec::new(),
            prefix_lens: SmallVec::new(),
            pattern: None,
        }
    }

    fn of_virtual(one: &VirtualStream, hasher: &Hasher) -> Self {
        let (kind, texts): (Kind, &[&str]) = match one {
            VirtualStream::Category(category) | VirtualStream::CategoryStreams(category) => {
                (Kind::Category, &[category])
            }
            VirtualStream::EventType(event_type) => (Kind::EventType, &[event_type]),
            VirtualStream::Deletions => (
                Kind::EventType,
                &[StreamMetadata::EVENT_TYPE, StreamMetadata::TOMBSTONE_TYPE],
            ),
            VirtualStream::CorrelationId(id) => (Kind::CorrelationId, &[id]),
            VirtualStream::Streams => (Kind::NewStreams, &[""]),
        };
        let keys = texts.iter().map(|text| hasher.key(kind, text.as_bytes()));
        Self {
            kind,
            keys: keys.collect(),
            prefix_lens: SmallVec::new(),
            pattern: None,
        }
    }

    fn of_source(source: &Source, hasher: &Hasher) -> Self {
        let (kind, text): (Kind, &str) = match source {
            Source::All => (Kind::All, ""),
            Source::Stream(stream) => (Kind::Stream, stream),
            Source::Category(category) => (Kind::Category, category),
            Source::EventType(event_type) => (Kind::EventType, event_type),
            Source::Tag(tag) => (Kind::Tag, tag),
            Source::Filtered(filter) => return Self::of_filter(filter, hasher),
        };
        Self {
            kind,
            keys: SmallVec::from_buf([hasher.key(kind, text.as_bytes())]),
            prefix_lens: SmallVec::new(),
            pattern: None,
        }
    }

    fn of_filter(filter: &EventFilter, hasher: &Hasher) -> Self {
        let target = Target::from(filter.target());
        match filter.rule() {
            FilterRule::Prefixes(prefixes) => {
                let kind = Kind::Prefix(target);
                let lens = prefixes.iter().map(|prefix| prefix.len());
                let hashes = prefixes
                    .iter()
                    .map(|prefix| hasher.key(kind, prefix.as_bytes()));
                let mut keys: SmallVec<[KeyHash; 1]> = hashes.collect();
                let mut prefix_lens: SmallVec<[usize; 2]> = lens.collect();
                keys.sort_unstable();
                keys.dedup();
                prefix_lens.sort_unstable();
                prefix_lens.dedup();
                Self {
                    kind,
                    keys,
                    prefix_lens,
                    pattern: None,
                }
            }
            FilterRule::Pattern(pattern) => {
                let kind = Kind::Pattern(target);
                let key = hasher.key(kind, pattern.as_str().as_bytes());
                Self {
                    kind,
                    keys: SmallVec::from_buf([key]),
                    prefix_lens: SmallVec::new(),
                    pattern: Some(filter.clone()),
                }
            }
        }
    }
}

/// What is looked for: everything that anybody waits for, each thing once.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    kinds: HashMap<Kind, usize>,
    prefix_lens: HashMap<(Kind, usize), usize>,
    patterns: HashMap<KeyHash, (EventFilter, usize)>,
}

impl Wanted {
    pub(super) fn add(&mut self, interest: &Interest) {
        *self.kinds.entry(interest.kind).or_default() += 1;
        for len in &interest.prefix_lens {
            *self.prefix_lens.entry((interest.kind, *len)).or_default() += 1;
        }
        if let (Some(pattern), Some(key)) = (&interest.pattern, interest.keys.first()) {
            let entry = self.patterns.entry(*key);
            entry.or_insert_with(|| (pattern.clone(), 0)).1 += 1;
        }
    }

    pub(super) fn remove(&mut self, interest: &Interest) {
        take_one(&mut self.kinds, &interest.kind, |count| count);
        for len in &interest.prefix_lens {
            take_one(&mut self.prefix_lens, &(interest.kind, *len), |count| count);
        }
        if let (Some(_), Some(key)) = (&interest.pattern, interest.keys.first()) {
            take_one(&mut self.patterns, key, |(_, count)| count);
        }
    }

    /// What is looked for at this moment, in the form for looking.
    pub(super) fn plan(&self) -> Plan {
        let lens = |target| {
            let kind = Kind::Prefix(target);
            let lens = self.prefix_lens.keys().filter(move |(of, _)| *of == kind);
            let mut lens: Vec<usize> = lens.map(|(_, len)| *len).collect();
            lens.sort_unstable();
            lens
        };
        let patterns = self.patterns.iter();
        Plan {
            kinds: self.kinds.keys().copied().collect(),
            stream_prefix_lens: lens(Target::Stream),
            type_prefix_lens: lens(Target::EventType),
            patterns: patterns
                .map(|(key, (filter, _))| (*key, filter.clone()))
                .collect(),
        }
    }
}

fn take_one<K: std::hash::Hash + Eq, V>(
    map: &mut HashMap<K, V>,
    key: &K,
    count: impl Fn(&mut V) -> &mut usize,
) {
    if let Some(value) = map.get_mut(key) {
        let count = count(value);
        *count -= 1;
        if *count == 0 {
            map.remove(key);
        }
    }
}

/// What is looked for in one range of events.
#[derive(Debug, Default)]
pub(super) struct Plan {
    kinds: HashSet<Kind>,
    stream_prefix_lens: Vec<usize>,
    type_prefix_lens: Vec<usize>,
    patterns: Vec<(KeyHash, EventFilter)>,
}

impl Plan {
    /// Whether it finds everything that this interest waits for.
    pub(super) fn covers(&self, interest: &Interest) -> bool {
        let lens = match interest.kind {
            Kind::Prefix(Target::Stream) => &self.stream_prefix_lens,
            _ => &self.type_prefix_lens,
        };
        let has_pattern = |key: &KeyHash| self.patterns.iter().any(|(of, _)| of == key);
        self.kinds.contains(&interest.kind)
            && interest.prefix_lens.iter().all(|len| lens.contains(len))
            && (interest.pattern.is_none() || interest.keys.iter().all(has_pattern))
    }

    /// Whether the records need not be looked at.
    fn is_for_all_alone(&self) -> bool {
        self.kinds.iter().all(|kind| *kind == Kind::All)
    }

    fn wants(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }
}

/// The keys that occurred in a range of events, each with its last position.
#[derive(Debug, Default)]
pub(super) struct Occurred {
    pub(super) keys: HashMap<KeyHash, Position>,
}

impl Occurred {
    /// Looks through the events of a range.
    pub(super) fn collect(
        reading: &Reading,
        (from, to): (Position, Position),
        plan: &Plan,
        hasher: &Hasher,
    ) -> Result<Self, ReadError> {
        let mut occurred = Self::default();
        if let (true, Some(last)) = (from < to, to.0.checked_sub(1)) {
            let all = hasher.key(Kind::All, b"");
            occurred.keys.insert(all, Position(last));
        }
        if !plan.is_for_all_alone() {
            let mut look = Look {
                plan,
                hasher,
                occurred: &mut occurred,
                chosen: HashMap::new(),
            };
            reading.scan(from, to, &mut |record| look.at(record))?;
        }
        Ok(occurred)
    }
}

/// A walk through a range of events.
struct Look<'a> {
    plan: &'a Plan,
    hasher: &'a Hasher,
    occurred: &'a mut Occurred,
    /// For each text that was met, the patterns that it fits.
    chosen: HashMap<(Target, KeyHash), SmallVec<[KeyHash; 2]>>,
}

impl Look<'_> {
    fn at(&mut self, record: &Record<'_>) {
        let plan = self.plan;
        let stream = record.stream();
        if plan.wants(Kind::Stream) {
            self.put(record.position, Kind::Stream, stream);
        }
        if plan.wants(Kind::Category)
            && let Ok(name) = std::str::from_utf8(stream)
            && let Some(category) = StreamName::category_of(name)
        {
            self.put(record.position, Kind::Category, category.as_bytes());
        }
        if plan.wants(Kind::EventType) {
            self.put(record.position, Kind::EventType, record.event_type());
        }
        if plan.wants(Kind::CorrelationId)
            && let Some(id) = record.correlation_id()
        {
            self.put(record.position, Kind::CorrelationId, id.as_bytes());
        }
        if plan.wants(Kind::NewStreams) && record.is_first() {
            self.put(record.position, Kind::NewStreams, b"");
        }
        if plan.wants(Kind::Tag) {
            for tag in record.tags() {
                self.put(record.position, Kind::Tag, tag);
            }
        }
        for len in &plan.stream_prefix_lens {
            if let Some(prefix) = stream.get(..*len) {
                self.put(record.position, Kind::Prefix(Target::Stream), prefix);
            }
        }
        for len in &plan.type_prefix_lens {
            if let Some(prefix) = record.event_type().get(..*len) {
                self.put(record.position, Kind::Prefix(Target::EventType), prefix);
            }
        }
        for target in [Target::Stream, Target::EventType] {
            if plan.wants(Kind::Pattern(target)) {
                self.put_patterns(record, target);
            }
        }
    }

    fn put(&mut self, position: Position, kind: Kind, text: &[u8]) {
        let key = self.hasher.key(kind, text);
        self.occurred.keys.insert(key, position);
    }

    fn put_patterns(&mut self, record: &Record<'_>, target: Target) {
        let text = match target {
            Target::Stream => record.stream(),
            Target::EventType => record.event_type(),
        };
        let hash = self.hasher.key(Kind::Pattern(target), text);
        let patterns = &self.plan.patterns;
        let fitting = self.chosen.entry((target, hash)).or_insert_with(|| {
            let of_target = patterns
                .iter()
                .filter(|(_, one)| Target::from(one.target()) == target);
            of_target
                .filter(|(_, one)| record.is_chosen_by(one))
                .map(|(key, _)| *key)
                .collect()
        });
        for key in fitting {
            self.occurred.keys.insert(*key, record.position);
        }
    }
}
