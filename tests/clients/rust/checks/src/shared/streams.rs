//! Checks of appending to streams and of reading them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::client::{
    self, CurrentRevision, Error, EventData, Expect, ReadAllOptions, ReadEvent, ReadStreamOptions,
    StreamMetadataBuilder, StreamMetadataResult, StreamPosition, SubscriptionFilter,
};
use super::context::{Context, checks, collect, event, events, kind, name, refused, revisions};
use crate::harness::{Absent, Checked, Failure, Report, until};

pub(crate) async fn run(c: &Arc<Context>, report: &mut Report) -> Result<(), Failure> {
    checks! { c, report,
        "append-any" => append_any,
        "append-no-stream" => append_no_stream,
        "append-revision" => append_revision,
        "append-exists" => append_exists,
        "append-no-stream-conflict" => append_no_stream_conflict,
        "append-revision-conflict" => append_revision_conflict,
        "append-exists-conflict" => append_exists_conflict,
        "append-again" => append_again,
        "append-batch" => append_batch,
        "append-large" => append_large,
        "append-fields" => append_fields,
        "append-streams" => append_streams,
        "append-records" => append_streams,
        "read-stream" => read_stream,
        "read-stream-backwards" => read_stream_backwards,
        "read-missing" => read_missing,
        "read-all" => read_all,
        "read-all-backwards" => read_all_backwards,
        "read-all-filter-type" => read_all_filter_type,
        "read-all-filter-stream" => read_all_filter_stream,
        "read-last-position" => read_last_position,
        "read-links" => read_links,
        "read-category" => read_category,
        "read-event-type" => read_event_type,
        "metadata" => metadata,
        "delete" => delete,
        "delete-conflict" => delete_conflict,
        "tombstone" => tombstone,
        "append-unread-id" => append_unread_id,
    }
    Ok(())
}

fn one() -> Vec<EventData> {
    events(1, "Happened")
}

async fn append_any(c: Arc<Context>) -> Checked {
    let stream = name("any");
    let first = c.append(&stream, one(), Expect::Any).await?;
    let second = c.append(&stream, one(), Expect::Any).await?;
    assert!(second.position > first.position);
    assert_eq!(revisions(&c.read(&stream).await?), [0, 1]);
    Ok(())
}

async fn append_no_stream(c: Arc<Context>) -> Checked {
    let stream = name("no");
    let written = c.append(&stream, one(), Expect::NoStream).await?;
    let read = c.read(&stream).await?;
    assert_eq!(event(&read[0])?.position, written.position);
    Ok(())
}

async fn append_revision(c: Arc<Context>) -> Checked {
    let stream = c.filled("at", 2).await?;
    let written = c.append(&stream, one(), client::exactly(1)).await?;
    assert_eq!(written.next_expected_version, 2);
    Ok(())
}

async fn append_exists(c: Arc<Context>) -> Checked {
    let stream = c.filled("exists", 1).await?;
    let written = c.append(&stream, one(), Expect::StreamExists).await?;
    assert_eq!(written.next_expected_version, 1);
    Ok(())
}

async fn append_no_stream_conflict(c: Arc<Context>) -> Checked {
    let stream = c.filled("no", 3).await?;
    let result = c.append(&stream, one(), Expect::NoStream).await;
    let Err(Error::WrongExpectedVersion { expected, current }) = result else {
        return Err(format!("expected a conflict, got {result:?}").into());
    };
    assert_eq!(
        (expected, current),
        (Expect::NoStream, CurrentRevision::Current(2))
    );
    Ok(())
}

async fn append_revision_conflict(c: Arc<Context>) -> Checked {
    let stream = c.filled("at", 3).await?;
    let result = c.append(&stream, one(), client::exactly(1)).await;
    let Err(Error::WrongExpectedVersion { expected, current }) = result else {
        return Err(format!("expected a conflict, got {result:?}").into());
    };
    assert_eq!(
        (expected, current),
        (client::exactly(1), CurrentRevision::Current(2))
    );
    let ahead = c.append(&stream, one(), client::exactly(7)).await;
    refused!(ahead, Error::WrongExpectedVersion { .. });
    Ok(())
}

async fn append_exists_conflict(c: Arc<Context>) -> Checked {
    let result = c.append(&name("exists"), one(), Expect::StreamExists).await;
    let Err(Error::WrongExpectedVersion { current, .. }) = result else {
        return Err(format!("expected a conflict, got {result:?}").into());
    };
    assert_eq!(current, CurrentRevision::NoStream);
    Ok(())
}

async fn append_again(c: Arc<Context>) -> Checked {
    let stream = name("again");
    let ids = [(); 3].map(|()| uuid::Uuid::new_v4());
    let same = || {
        events(3, "Happened")
            .into_iter()
            .zip(ids)
            .map(|(event, id)| event.id(id))
    };
    let first = c
        .append(&stream, same().collect(), Expect::NoStream)
        .await?;
    let again = c
        .append(&stream, same().collect(), Expect::NoStream)
        .await?;
    let any = c.append(&stream, same().collect(), Expect::Any).await?;
    assert_eq!(
        (again.position, any.position),
        (first.position, first.position)
    );
    assert_eq!(revisions(&c.read(&stream).await?), [0, 1, 2]);
    Ok(())
}

async fn append_batch(c: Arc<Context>) -> Checked {
    let batch = c.client.batch_append(&Default::default()).await?;
    for _ in 0..3 {
        let stream = name("batch");
        batch
            .append_to_stream(&stream, Expect::NoStream, events(500, "Happened"))
            .await?;
        assert_eq!(c.read(&stream).await?.len(), 500);
    }
    let stream = c.filled("batch", 1).await?;
    assert!(
        batch
            .append_to_stream(&stream, Expect::NoStream, one())
            .await
            .is_err()
    );
    Ok(())
}

async fn append_large(c: Arc<Context>) -> Checked {
    let (stream, data) = (name("large"), Bytes::from(vec![7; 4 * 1024 * 1024]));
    let large = EventData::binary("Large", data.clone());
    c.append(&stream, vec![large], Expect::Any).await?;
    let read = c.read(&stream).await?;
    let stored = event(&read[0])?;
    assert!(stored.data == data && !stored.is_json);
    Ok(())
}

async fn append_fields(c: Arc<Context>) -> Checked {
    let (stream, id, kind) = (
        name("fields"),
        uuid::Uuid::new_v4(),
        "Etwas-Gr\u{f6}\u{df}eres $",
    );
    let data = EventData::json(kind, &json!({"\u{fc}": "\u{20ac}"}))?
        .id(id)
        .metadata_as_json(&json!({"by": "me"}))?;
    c.append(&stream, vec![data], Expect::Any).await?;
    let read = c.read(&stream).await?;
    let stored = event(&read[0])?;
    assert_eq!(
        (stored.id, stored.event_type.as_str(), stored.is_json),
        (id, kind, true)
    );
    assert_eq!(client::stream_of(stored), stream);
    assert_eq!(stored.custom_metadata, r#"{"by":"me"}"#);
    Ok(())
}

async fn append_streams(_: Arc<Context>) -> Checked {
    Err(Absent("appends to one stream at a time").into())
}

async fn read_stream(c: Arc<Context>) -> Checked {
    let stream = c.filled("read", 10).await?;
    let options = ReadStreamOptions::default();
    let mut read = c.client.read_stream(stream.as_str(), &options).await?;
    let mut last = None;
    let mut count = 0;
    while let Some(event) = read.next_read_event().await? {
        match event {
            ReadEvent::Event(_) => count += 1,
            ReadEvent::LastStreamPosition(position) => last = Some(position),
            _ => {}
        }
    }
    assert_eq!((count, last), (10, Some(9)));
    let some = options.position(StreamPosition::Position(4)).max_count(3);
    let some = collect(c.client.read_stream(stream.as_str(), &some).await?).await?;
    assert_eq!(revisions(&some), [4, 5, 6]);
    Ok(())
}

async fn read_stream_backwards(c: Arc<Context>) -> Checked {
    let stream = c.filled("read", 10).await?;
    let options = ReadStreamOptions::default()
        .backwards()
        .position(StreamPosition::End);
    let back = collect(c.client.read_stream(stream.as_str(), &options).await?).await?;
    assert_eq!(revisions(&back), [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
    let some = options.position(StreamPosition::Position(4)).max_count(2);
    let some = collect(c.client.read_stream(stream.as_str(), &some).await?).await?;
    assert_eq!(revisions(&some), [4, 3]);
    Ok(())
}

async fn read_missing(c: Arc<Context>) -> Checked {
    refused!(c.read(&name("missing")).await, Error::ResourceNotFound);
    Ok(())
}

async fn read_all(c: Arc<Context>) -> Checked {
    let stream = name("all");
    let first = c.append(&stream, one(), Expect::NoStream).await?.position;
    c.append(&stream, events(4, "Happened"), client::exactly(0))
        .await?;
    let options = ReadAllOptions::default().position(StreamPosition::Position(first));
    let all = collect(c.client.read_all(&options.max_count(100)).await?).await?;
    assert_eq!(event(&all[0])?.position, first);
    let own = all
        .iter()
        .filter(|event| event.get_original_stream_id() == stream);
    assert_eq!(revisions(own), [0, 1, 2, 3, 4]);
    Ok(())
}

async fn read_all_backwards(c: Arc<Context>) -> Checked {
    c.filled("all", 5).await?;
    let options = ReadAllOptions::default()
        .backwards()
        .position(StreamPosition::End);
    let events = collect(c.client.read_all(&options.max_count(5)).await?).await?;
    let positions: Vec<_> = events
        .iter()
        .map(|e| e.get_original_event().position)
        .collect();
    assert_eq!(positions.len(), 5);
    assert!(
        positions.is_sorted_by(|one, next| one > next),
        "{positions:?}"
    );
    Ok(())
}

async fn read_all_filter_type(c: Arc<Context>) -> Checked {
    if !client::FILTERS_READS {
        return Err(Absent("filters no reads").into());
    }
    let kind = kind();
    c.filled_with("filter", 3, &kind).await?;
    c.filled_with("filter", 2, &format!("{kind}More")).await?;
    let prefix = SubscriptionFilter::on_event_type().add_prefix(&kind);
    assert_eq!(filtered(&c, prefix).await?, 5);
    let regex = SubscriptionFilter::on_event_type().regex(format!("^{kind}$"));
    assert_eq!(filtered(&c, regex).await?, 3);
    Ok(())
}

async fn read_all_filter_stream(c: Arc<Context>) -> Checked {
    if !client::FILTERS_READS {
        return Err(Absent("filters no reads").into());
    }
    let prefix = name("prefix");
    c.filled(&format!("{prefix}a"), 3).await?;
    c.filled(&format!("{prefix}b"), 2).await?;
    let all = SubscriptionFilter::on_stream_name().add_prefix(&prefix);
    assert_eq!(filtered(&c, all).await?, 5);
    let one = SubscriptionFilter::on_stream_name().regex(format!("^{prefix}a"));
    assert_eq!(filtered(&c, one).await?, 3);
    Ok(())
}

async fn filtered(c: &Context, filter: SubscriptionFilter) -> Result<usize, Failure> {
    let read = c
        .client
        .read_all(&client::read_all_filtered(filter))
        .await?;
    Ok(collect(read).await?.len())
}

async fn read_last_position(_: Arc<Context>) -> Checked {
    Err(Absent("does not ask for it").into())
}

async fn read_links(c: Arc<Context>) -> Checked {
    let (stream, links) = (c.filled("target", 2).await?, name("links"));
    let link = EventData::binary("$>", Bytes::from(format!("1@{stream}")));
    c.append(&links, vec![link], Expect::NoStream).await?;
    assert_eq!(event(&c.read(&links).await?[0])?.event_type, "$>");
    let resolved = &resolved(&c, &links).await?[0];
    assert_eq!(
        (
            client::stream_of(event(resolved)?),
            event(resolved)?.revision
        ),
        (stream.as_str(), 1)
    );
    assert_eq!(resolved.get_original_stream_id(), links);
    Ok(())
}

async fn resolved(c: &Context, stream: &str) -> Result<Vec<client::ResolvedEvent>, Failure> {
    let options = ReadStreamOptions::default().resolve_link_tos();
    match c.client.read_stream(stream, &options).await {
        Ok(read) => match collect(read).await {
            Err(Error::ResourceNotFound) => Ok(Vec::new()),
            other => Ok(other?),
        },
        Err(error) => Err(error.into()),
    }
}

async fn read_category(c: Arc<Context>) -> Checked {
    let category = kind();
    c.filled(&category, 2).await?;
    c.filled(&category, 2).await?;
    let stream = format!("$ce-{category}");
    let events = until(async || four(resolved(&c, &stream).await?)).await?;
    assert_eq!(revisions(&events), [0, 1, 2, 3]);
    Ok(())
}

async fn read_event_type(c: Arc<Context>) -> Checked {
    let kind = kind();
    c.filled_with("one", 2, &kind).await?;
    c.filled_with("two", 2, &kind).await?;
    let stream = format!("$et-{kind}");
    let events = until(async || four(resolved(&c, &stream).await?)).await?;
    assert_eq!(event(&events[3])?.event_type, kind);
    Ok(())
}

fn four(events: Vec<client::ResolvedEvent>) -> Result<Option<Vec<client::ResolvedEvent>>, Failure> {
    Ok((events.len() == 4).then_some(events))
}

async fn metadata(c: Arc<Context>) -> Checked {
    let stream = c.filled("meta", 3).await?;
    let none = c
        .client
        .get_stream_metadata(stream.as_str(), &Default::default())
        .await?;
    assert!(none.is_not_found());
    let set = StreamMetadataBuilder::new()
        .max_count(2)
        .max_age(Duration::from_secs(1000))
        .insert_custom_property("foo", "bar")
        .build();
    let options = client::append_options(Expect::NoStream);
    c.client
        .set_stream_metadata(stream.as_str(), &options, &set)
        .await?;
    let got = c
        .client
        .get_stream_metadata(stream.as_str(), &Default::default())
        .await?;
    let StreamMetadataResult::Success(got) = got else {
        return Err(format!("no metadata: {got:?}").into());
    };
    assert_eq!(got.metadata(), &set);
    assert_eq!(revisions(&c.read(&stream).await?), [1, 2]);
    let again = c
        .client
        .set_stream_metadata(stream.as_str(), &options, &set)
        .await;
    refused!(again, Error::WrongExpectedVersion { .. });
    Ok(())
}

async fn delete(c: Arc<Context>) -> Checked {
    let stream = c.filled("delete", 3).await?;
    let options = client::delete_options(client::exactly(2));
    assert!(
        c.client
            .delete_stream(stream.as_str(), &options)
            .await?
            .is_some()
    );
    refused!(c.read(&stream).await, Error::ResourceNotFound);
    c.append(&stream, one(), Expect::NoStream).await?;
    assert_eq!(revisions(&c.read(&stream).await?), [3]);
    Ok(())
}

async fn delete_conflict(c: Arc<Context>) -> Checked {
    let stream = c.filled("delete", 3).await?;
    let wrong = client::delete_options(client::exactly(1));
    // Both clients show the status as it came.
    refused!(
        c.client.delete_stream(stream.as_str(), &wrong).await,
        Error::Grpc { .. }
    );
    let any = client::delete_options(Expect::Any);
    refused!(
        c.client.delete_stream(name("no"), &any).await,
        Error::Grpc { .. }
    );
    Ok(())
}

async fn tombstone(c: Arc<Context>) -> Checked {
    let stream = c.filled("tombstone", 3).await?;
    let wrong = client::tombstone_options(client::exactly(1));
    refused!(
        c.client.tombstone_stream(stream.as_str(), &wrong).await,
        Error::Grpc { .. }
    );
    let right = client::tombstone_options(client::exactly(2));
    c.client.tombstone_stream(stream.as_str(), &right).await?;
    refused!(c.read(&stream).await, Error::ResourceDeleted);
    refused!(
        c.append(&stream, one(), Expect::Any).await,
        Error::ResourceDeleted
    );
    Ok(())
}

async fn append_unread_id(c: Arc<Context>) -> Checked {
    let id = uuid::Uuid::new_v4();
    let same = || one().into_iter().map(|event| event.id(id)).collect();
    c.append(&name("one"), same(), Expect::Any).await?;
    let written = c.append(&name("two"), same(), Expect::Any).await?;
    assert_eq!(written.next_expected_version, 0);
    Ok(())
}
