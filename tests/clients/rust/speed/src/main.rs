//! Measures one server through the published client `kurrentdb` (gRPC) and through the native
//! client, one after the other in the same run: appends per second, each of one event that is
//! durable when it is answered, and events per second that a subscription to everything catches up.
//!
//! ```text
//! speed --grpc localhost:2113 --native 127.0.0.1:2112 [--writers 64] [--seconds 10] [--bytes 200]
//! ```
//!
//! Each way writes to streams of its own, a stream a writer, over one connection. The figures are
//! of this machine: client and server share it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use annal::client::{Notice, Notices, Subscribe};
use annal::{
    Append, Client as Native, EventType, ExpectedRevision, NewEvent, Source, StreamName,
    SubscribeFrom,
};
use bytes::Bytes;
use kurrentdb::{
    AppendToStreamOptions, Client as Grpc, EventData, StreamPosition, StreamState,
    SubscribeToAllOptions, SubscriptionEvent,
};
use serde_json::json;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Clone)]
struct Arguments {
    grpc: String,
    native: String,
    writers: u64,
    seconds: u64,
    bytes: usize,
}

impl Arguments {
    fn from_environment() -> Result<Self, Failure> {
        let mut arguments = Self {
            grpc: "localhost:2113".into(),
            native: "127.0.0.1:2112".into(),
            writers: 64,
            seconds: 10,
            bytes: 200,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let value = words.next().ok_or("each option has a value")?;
            match word.as_str() {
                "--grpc" => arguments.grpc = value,
                "--native" => arguments.native = value,
                "--writers" => arguments.writers = value.parse()?,
                "--seconds" => arguments.seconds = value.parse()?,
                "--bytes" => arguments.bytes = value.parse()?,
                _ => return Err(format!("{word} is no option").into()),
            }
        }
        Ok(arguments)
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::from_environment()?;
    let uri = format!("esdb://{}?tls=false", arguments.grpc);
    let grpc = Grpc::new(uri.parse()?).map_err(|error| error.to_string())?;
    let native = Native::connect(format!("annal://{}", arguments.native).as_str()).await?;

    let (ours, theirs) = (native.clone(), grpc.clone());
    let by_native = appends(&arguments, move |stream, data| {
        append_native(ours.clone(), stream, data)
    })
    .await?;
    let by_grpc = appends(&arguments, move |stream, data| {
        append_grpc(theirs.clone(), stream, data)
    })
    .await?;
    show("appends", "appends/s", by_native, by_grpc);

    // What was just written is in the page cache for whoever comes second: both read it twice.
    let events = native.status().await?.token.end.0;
    let mut caught_up = (0.0, 0.0);
    for _ in 0..2 {
        caught_up = (catch_up_native(&native).await?, catch_up_grpc(&grpc).await?);
    }
    show("catch-up", "events/s", caught_up.0, caught_up.1);
    eprintln!("the log held {events} events");
    Ok(())
}

fn show(what: &str, unit: &str, native: f64, grpc: f64) {
    let (native, grpc) = (native.round(), grpc.round());
    let ratio = (grpc / native * 100.0).round() / 100.0;
    println!(
        "{}",
        json!({"measured": what, "unit": unit, "native": native, "grpc": grpc, "ratio": ratio})
    );
}

/// How many appends a second all writers together get answered, each writer waiting for its own.
async fn appends<A, F>(arguments: &Arguments, append: A) -> Result<f64, Failure>
where
    A: Fn(String, Bytes) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), Failure>> + Send,
{
    let run = uuid::Uuid::new_v4().simple();
    let data = Bytes::from(json!({"text": "x".repeat(arguments.bytes)}).to_string());
    let answered = Arc::new(AtomicU64::new(0));
    let begin = Instant::now();
    let end = begin + Duration::from_secs(arguments.seconds);
    let writers = (0..arguments.writers).map(|writer| {
        let (append, data, answered) = (append.clone(), data.clone(), Arc::clone(&answered));
        tokio::spawn(async move {
            while Instant::now() < end {
                append(format!("speed-{run}-{writer}"), data.clone()).await?;
                answered.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, Failure>(())
        })
    });
    for writer in futures::future::join_all(writers).await {
        writer??;
    }
    Ok(answered.load(Ordering::Relaxed) as f64 / begin.elapsed().as_secs_f64())
}

async fn append_native(client: Native, stream: String, data: Bytes) -> Result<(), Failure> {
    let event = NewEvent::json(EventType::new("Measured")?, data);
    let append = Append::to(StreamName::new(stream)?, ExpectedRevision::Any, vec![event]);
    client.append(append).await?;
    Ok(())
}

async fn append_grpc(client: Grpc, stream: String, data: Bytes) -> Result<(), Failure> {
    let event = EventData::binary("Measured", data);
    let options = AppendToStreamOptions::default().stream_state(StreamState::Any);
    client.append_to_stream(stream, &options, event).await?;
    Ok(())
}

async fn catch_up_native(client: &Native) -> Result<f64, Failure> {
    let subscribe = Subscribe::new(Source::All, SubscribeFrom::Start);
    let mut subscription = client.subscribe(subscribe).await?;
    let (begin, mut events) = (Instant::now(), 0);
    loop {
        match subscription.next_batch().await? {
            Notices::Events(batch) => events += batch.len(),
            Notices::Notice(Notice::CaughtUp { .. }) => break,
            Notices::Notice(_) => {}
        }
    }
    Ok(events as f64 / begin.elapsed().as_secs_f64())
}

async fn catch_up_grpc(client: &Grpc) -> Result<f64, Failure> {
    let options = SubscribeToAllOptions::default().position(StreamPosition::Start);
    let mut subscription = client.subscribe_to_all(&options).await;
    let (begin, mut events) = (Instant::now(), 0);
    loop {
        match subscription.next_subscription_event().await? {
            SubscriptionEvent::EventAppeared(_) => events += 1,
            SubscriptionEvent::CaughtUp(_) => break,
            _ => {}
        }
    }
    Ok(events as f64 / begin.elapsed().as_secs_f64())
}
