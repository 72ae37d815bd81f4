//! Virtual streams as a projection would make them: by looking at every event of the log.

use std::collections::BTreeMap;

use annal::{
    ContentType, EventType, RecordedEvent, ResolvedEvent, Revision, Store, StreamMetadata,
    StreamName,
};
use bytes::Bytes;
use uuid::Uuid;

/// All virtual streams of a log, each with its events and the positions that they stand for.
pub(crate) struct Naive<'a> {
    store: &'a Store,
    log: &'a [RecordedEvent],
    streams: BTreeMap<String, Vec<RecordedEvent>>,
}

fn is_deletion(event: &RecordedEvent) -> bool {
    let RecordedEvent {
        stream,
        event_type,
        content_type,
        data,
        ..
    } = event;
    let metadata = StreamMetadata::of_event(stream, event_type, content_type, data);
    event.revision == Revision::TOMBSTONE || metadata.is_some_and(|one| one.is_deleted())
}

impl<'a> Naive<'a> {
    pub(crate) fn new(store: &'a Store, log: &'a [RecordedEvent]) -> Self {
        let mut naive = Self {
            store,
            log,
            streams: BTreeMap::new(),
        };
        for event in log {
            naive.project(event);
        }
        naive
    }

    fn project(&mut self, event: &RecordedEvent) {
        let own = format!("{}@{}", event.revision, event.stream);
        let is_link = &*event.event_type == "$>";
        let to = match is_link {
            true => String::from_utf8(event.data.to_vec()).unwrap(),
            false => own.clone(),
        };
        let first = event.revision == Revision::START;
        let category = match event.stream.split_once('-') {
            Some((category, _)) if !category.is_empty() && !category.starts_with('$') => {
                Some(category.to_owned())
            }
            _ => None,
        };
        if first {
            self.put("$streams", "$>", &own, event);
        }
        if let Some(category) = category {
            self.put(&format!("$ce-{category}"), "$>", &to, event);
            if first {
                self.put(&format!("$category-{category}"), "$@", &event.stream, event);
            }
        }
        if !is_link && &*event.event_type != "$streamDeleted" {
            self.put(&format!("$et-{}", event.event_type), "$>", &own, event);
        }
        if is_deletion(event) {
            self.put("$et-$deleted", "$>", &own, event);
        }
        let metadata: Option<serde_json::Value> = serde_json::from_slice(&event.metadata).ok();
        let id = metadata.and_then(|one| Some(one.get("$correlationId")?.as_str()?.to_owned()));
        if let Some(id) = id {
            self.put(&format!("$bc-{id}"), "$>", &to, event);
        }
    }

    fn put(&mut self, stream: &str, kind: &str, data: &str, event: &RecordedEvent) {
        let events = self.streams.entry(stream.to_owned()).or_default();
        let named = [stream.as_bytes(), &event.position.0.to_le_bytes()].concat();
        events.push(RecordedEvent {
            position: event.position,
            stream: StreamName::new(stream.to_owned()).unwrap(),
            revision: Revision(events.len().try_into().unwrap()),
            id: Uuid::new_v5(&self.store.id().0, &named),
            event_type: EventType::new(kind.to_owned()).unwrap(),
            content_type: ContentType::Binary,
            created: event.created,
            tags: Vec::new(),
            metadata: Bytes::new(),
            data: Bytes::from(data.to_owned()),
        });
    }

    pub(crate) fn streams(&self) -> impl Iterator<Item = (String, Vec<RecordedEvent>)> {
        self.streams.clone().into_iter()
    }

    /// A link with what it points to, found by looking through the log.
    pub(crate) fn resolved(&self, link: &RecordedEvent, resolve_links: bool) -> ResolvedEvent {
        let text = std::str::from_utf8(&link.data).unwrap();
        let parsed = text
            .split_once('@')
            .and_then(|(revision, stream)| Some((revision.parse::<u64>().ok()?, stream)));
        let (true, "$>", Some((revision, stream))) = (resolve_links, &*link.event_type, parsed)
        else {
            return ResolvedEvent::Plain(link.clone());
        };
        let target = self.log.iter().find(|event| {
            (event.revision.0, &*event.stream) == (revision, stream) && self.shows(event)
        });
        ResolvedEvent::Link {
            link: link.clone(),
            target: target.cloned(),
        }
    }

    /// The events of a stream, the last one first.
    fn of(&self, name: &str) -> impl Iterator<Item = &RecordedEvent> {
        let events = self.log.iter().rev();
        events.filter(move |one| &*one.stream == name)
    }

    /// Whether the stream of an event shows it.
    fn shows(&self, event: &RecordedEvent) -> bool {
        let tombstoned = |name: &str| self.of(name).any(|one| one.revision == Revision::TOMBSTONE);
        let last = self.of(&event.stream).next().unwrap().revision.0;
        if tombstoned(&event.stream) || event.stream.described().is_some_and(tombstoned) {
            return false;
        }
        if event.stream.described().is_some() {
            return event.revision.0 == last;
        }
        let metadata = self.of(&format!("$${}", event.stream)).next();
        let metadata = metadata.map_or_else(StreamMetadata::default, |one| {
            StreamMetadata::parse(&one.data)
        });
        let by_count = metadata
            .max_count
            .map_or(0, |count| (last + 1).saturating_sub(count));
        let by_truncation = metadata.truncate_before.map_or(0, |at| at.0);
        event.revision.0 >= by_count.max(by_truncation)
    }
}
