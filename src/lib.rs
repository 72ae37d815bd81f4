//! Annal is an event store: an embeddable storage engine and a database server in one package.
//!
//! Applications append typed events to named streams with an expected version, read them back, and
//! follow them, catching up from any position and going on live. The README is the tour for users;
//! this page is the map of the code.
//!
//! # Layers
//!
//! A folder is a layer and imports only the layers in its row; `tests/tidy.rs` holds the same
//! table, compares this one with it, and fails on any other import.
//!
//! | layer | may import |
//! | --- | --- |
//! | `model` | - |
//! | `sync` | - |
//! | `disk` | - |
//! | `format` | model |
//! | `log` | model sync disk format |
//! | `index` | model sync disk format log |
//! | `engine` | model sync disk format log index |
//! | `subscription` | model sync engine |
//! | `protocol` | model format |
//! | `tls` | - |
//! | `access` | model engine |
//! | `client` | model format protocol tls |
//! | `server` | model engine subscription protocol access tls |
//! | `grpc` | model engine subscription access tls |
//! | `cli` | everything public |
//!
//! What each of them knows:
//!
//! * [`model`]: event, stream name, position, revision, expectation, filter; no I/O.
//! * `sync`: locks, atomics, threads and the clock of waits, for the layers up to `subscription`; a
//!   scheduler stands in for it in `tests/interleavings`.
//! * [`disk`]: the seam to the operating system; real files, and a simulated disk that loses power.
//! * [`mod@format`]: structures to bytes and back, pure; `storage-format.md` describes it.
//! * `log`: the segmented append-only log: segments, manifest, recovery, readers.
//! * `index`: keys to the positions of their events: memory, tables, merges, rebuilding.
//! * [`engine`]: the store: resolve, stage, sync, publish; reads; idempotence; stream metadata;
//!   scavenging.
//! * [`subscription`]: catch-up and live as one loop, and who is woken when; consumer groups.
//! * `protocol`: the native wire format, pure; `wire-format.md` describes it.
//! * `tls`: certificates and keys from files, for both sides of a connection; reloading them.
//! * `access`: users, and who may do what.
//! * `client`: the native client.
//! * `server`: the native TCP front: sessions, credit, limits.
//! * `grpc`: the front for EventStoreDB's clients, and HTTP on the same port.
//! * `cli`: the `annal` binary, one file a verb.
//!
//! The first eight are always there, without an async runtime. `client`, `server`, `grpc` and `cli`
//! are features of these names; `protocol` comes with either of the first two, `access` with every
//! front, and `tls` with all of them.
//!
//! # Two walks
//!
//! *An append*: `client` makes a frame of it; `server` makes a request of the frame;
//! [`Store::submit`] takes it; `engine/prepare.rs` checks limits; `engine/resolve.rs` finds out at
//! a committed position what may need the disk; `engine/stage.rs` judges it by `engine/verdict.rs`,
//! numbers and encodes it; `engine/commit.rs` hands the unit to `log/writer.rs`: one write, one
//! sync. Then the committed position moves, subscribers wake, and the writer hears.
//!
//! *A subscription*: `server` grants it credit; `subscription` reads up to the committed position,
//! says that it caught up, waits for the keys it follows, and reads on; `engine/read` plans
//! positions from the `index` and takes verified records from the `log`; the bytes that lie on the
//! disk are the bytes that go to the client. For who wants events instead of bytes,
//! `subscription/feed.rs` decodes them, numbers those of virtual streams
//! (`engine/read/listing.rs`) and follows links (`engine/read/resolved.rs`).
//!
//! # What always holds
//!
//! 1. An acknowledged append is on stable storage. Nobody sees less durable data.
//! 2. One append is atomic, across streams too, in one run of positions.
//! 3. Positions are assigned in commit order, without gaps, from 0; the engine takes none for
//!    itself, but for the metadata that brings a deleted stream back.
//! 4. A stream's revisions are 0, 1, 2, ...; appends with an expectation are linearizable.
//! 5. A subscription delivers every matching event once, in order; its checkpoint never runs ahead.
//! 6. Damage is never served and never silently cut; only `repair` takes it out, with consent.
//! 7. The log is the only truth: every index can be deleted and comes back the same.
//! 8. Memory, files, threads and queues are bounded by options.
//! 9. No byte from disk or network makes the process panic.
//!
//! # Where this departs from the first design, and why
//!
//! On the disk:
//!
//! * The data directory is flat: one directory to sync.
//! * A unit header carries no durable floor: a unit is written only after the sync of the one
//!   before it returned, so its own place says the same.
//! * Recovery copies nothing forward. The last unit, if nothing but itself proves that it is
//!   durable, is written once more, the same bytes to the same place, and synced before anybody
//!   sees it: the log keeps one shape, and nothing refers to a place that has moved. (Where units
//!   are aligned to blocks it is only synced.)
//! * A record's header takes 38 bytes, not 36: the created time is absolute, so that a record read
//!   alone is complete. A packed footer saves as much again: about 2 bytes an event instead of 4.
//! * Flushing the index is also a checkpoint of the log, under one manifest: the footer so far of
//!   the segment being written. Opening walks only what lies behind it, so the flush comes at 24
//!   MiB of log, and at most two parts and what is being written have to be walked: 64 MiB.
//! * Index tables are read by place through a bounded cache of checked pages, not mapped: a read
//!   that fails is an error instead of a signal that ends the process, memory is what an option
//!   says, and each page's checksum is found right once, before it is believed.
//! * Ordinals count from the start of their table (revisions are absolute). So a table depends on
//!   its own events only: it can be made again alone, and merging copies long leaves as they are.
//!
//! In the engine:
//!
//! * Staging is done by the callers under one short lock, not by a thread with a queue: it overlaps
//!   with the running sync by itself, and an embedding program is spared two wake-ups an append.
//!   For the same reason a caller that blocks and finds nobody committing commits himself.
//! * A refusal always rests on durable events. Where the grounds are still being written, the
//!   request goes round again behind their sync, instead of an answer that waits.
//! * The store writes one kind of event by itself: the metadata that brings a deleted stream back,
//!   in the same unit as the events that do. EventStoreDB's clients can read it there.
//! * An append that repeats one with an exact expectation is recognised however old that is, from
//!   the events that stand there; the window is for the other expectations.
//!
//! For subscribers and clients:
//!
//! * The streams of EventStoreDB's system projections are lists of the index and are never written:
//!   their links are made when they are read. Stored streams of such names are hidden by them, and
//!   stay readable by [`Store::read_stream`]. `$et-$deleted` lists deletions beside
//!   `$et-$metadata`, not instead of it; and where an event was scavenged, its links are gone too.
//! * A filter whose pattern takes too many tries on a name ends the read with an error. To count
//!   the name as not matching would lose events in silence.
//! * Few waiting subscriptions are woken by whoever commits, in microseconds; the dispatcher's
//!   thread, at most once a millisecond, is for many. Both go through the same list of who waits
//!   for what.
//! * The body of an append has a layout of its own on the wire, because it decides how fast a
//!   server is, and carries the checksums that go to the disk. The other bodies are encoded by
//!   `bincode`.

#[cfg(all(doctest, feature = "client"))]
#[doc = include_str!("../README.md")]
mod readme {}

#[cfg(any(feature = "server", feature = "grpc"))]
pub mod access;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
pub mod disk;
pub mod engine;
pub mod format;
#[cfg(feature = "grpc")]
pub mod grpc;
mod index;
mod log;
pub mod model;
#[cfg(any(feature = "client", feature = "server"))]
pub mod protocol;
#[cfg(feature = "server")]
pub mod server;
pub mod subscription;
mod sync;
#[cfg(any(feature = "client", feature = "server", feature = "grpc"))]
pub mod tls;

#[cfg(feature = "client")]
pub use client::Client;
pub use engine::{
    AppendError, Background, Batch, BatchLimit, Bounds, Events, Histogram, Looked, OpenError,
    Origin, ProjectionState, ReadError, ResolvedEvent, ResolvedEvents, Run, ScavengeError,
    ScavengeHandle, ScavengeInfo, ScavengeOptions, ScavengeStatus, Store, StoreOptions, StoreStats,
    StoredMetadata, StreamInfo, StreamSummary, repair,
};
#[cfg(feature = "grpc")]
pub use grpc::{GrpcError, GrpcOptions, GrpcServer};
pub use log::{
    FileFinding, FileRole, LogVerification, LostRange, RecoveryReport, StorageError, TornTail,
    VerifyProgress,
};
pub use model::{
    Append, ContentType, Direction, Ending, EventFilter, EventType, ExpectedRevision, FilterRule,
    FilterTarget, GroupName, GroupSettings, GroupSource, GroupStart, GroupStrategy, InvalidFilter,
    InvalidGroup, InvalidText, InvalidTimestamp, Lineage, Link, MediaType, NewEvent, Pattern,
    PatternTooCostly, Position, Projection, ReadFrom, Receipt, RecordedEvent, Request, Revision,
    Source, StateChange, StateSpace, StoreId, StreamHead, StreamMetadata, StreamName,
    SubscribeFrom, Tag, Timestamp, Token, VirtualStream,
};
#[cfg(feature = "server")]
pub use server::{ServeError, Server, ServerOptions};
pub use subscription::{
    CaughtUp, Delivery, Feed, FeedNotice, FeedOptions, FeedSource, GroupError, GroupInfo,
    GroupOptions, GroupPlace, GroupStatus, Groups, InFlightInfo, JoinOptions, Measurement, Member,
    MemberError, MemberHandle, MemberInfo, NackAction, Notice, Progress, SubscribeOptions,
    Subscription, SubscriptionStats,
};
