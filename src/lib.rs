//! Annal is an event store: an embeddable storage engine and a database server in one package.
//!
//! Applications append typed events to named streams with an expected version, read them back, and
//! follow them, catching up from any position and going on live. The README is the tour for users;
//! this page is the map of the code.
//!
//! # Layers
//!
//! A folder is a layer and imports only the layers in its row; `tests/tidy.rs` holds the table and
//! fails on any other import.
//!
//! | layer | what it knows | may import |
//! | --- | --- | --- |
//! | [`model`] | event, stream name, position, revision, expectation, filter; no I/O | - |
//! | [`disk`] | the seam to the operating system; real files, and a simulated disk that loses power | - |
//! | [`mod@format`] | structures to bytes and back, pure; `storage-format.md` describes it | model |
//! | `log` | the segmented append-only log: segments, manifest, recovery, readers | model disk format |
//! | `index` | keys to the positions of their events: memory, tables, merges, rebuilding | + log |
//! | [`engine`] | the store: resolve, stage, sync, publish; reads; idempotence; stream metadata | + index |
//! | [`subscription`] | catch-up and live as one loop, and who is woken when | model engine |
//! | [`protocol`] | the native wire format, pure; `wire-format.md` describes it | model format |
//! | [`client`] | the native client | model protocol |
//! | [`server`] | the native TCP front: sessions, credit, limits | model engine subscription protocol |
//! | `cli` | the `annal` binary, one file a verb | everything public |
//!
//! # Two walks
//!
//! *An append*: `client` makes a frame of it; `server` makes a request of the frame;
//! [`Store::submit`] takes it; `engine/prepare.rs` checks limits; `engine/resolve.rs` finds out at a
//! committed position what may need the disk; `engine/stage.rs` judges it by `engine/verdict.rs`,
//! numbers and encodes it; `engine/commit.rs` hands the unit to `log/writer.rs`: one write, one sync.
//! Then the committed position moves, subscribers wake, and the writer hears.
//!
//! *A subscription*: `server` grants it credit; `subscription` reads up to the committed position,
//! says that it caught up, waits for the keys it follows, and reads on; `engine/read` plans
//! positions from the `index` and takes verified records from the `log`; the bytes that lie on the
//! disk are the bytes that go to the client.
//!
//! # What always holds
//!
//! 1. An acknowledged append is on stable storage. Nobody sees less durable data.
//! 2. One append is atomic, across streams too, in one run of positions.
//! 3. Positions are assigned in commit order, without gaps, from 0; the engine takes none for itself,
//!    but for the metadata that brings a deleted stream back.
//! 4. A stream's revisions are 0, 1, 2, ...; appends with an expectation are linearizable.
//! 5. A subscription delivers every matching event once, in order; its checkpoint never runs ahead.
//! 6. Damage is never served and never silently cut.
//! 7. The log is the only truth: every index can be deleted and comes back the same.
//! 8. Memory, files, threads and queues are bounded by options.
//! 9. No byte from disk or network makes the process panic.
//!
//! # Where this departs from the first design, and why
//!
//! * A unit header carries no durable floor: a unit is written only after the sync of the one before
//!   it returned, so its own place says the same.
//! * Staging is done by the callers under one short lock, not by a thread with a queue: it overlaps
//!   with the running sync by itself, and an embedding program is spared two wake-ups an append.
//! * A refusal always rests on durable events. Where the grounds are still being written, the
//!   request goes round again behind their sync, instead of an answer that waits.
//! * The data directory is flat: one directory to sync.

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
pub mod disk;
pub mod engine;
pub mod format;
mod index;
mod log;
pub mod model;
#[cfg(any(feature = "client", feature = "server"))]
pub mod protocol;
#[cfg(feature = "server")]
pub mod server;
pub mod subscription;

#[cfg(feature = "client")]
pub use client::Client;
pub use engine::{
    AppendError, Background, Batch, BatchLimit, Events, OpenError, ReadError, Run, Store,
    StoreOptions, StoredMetadata, StreamInfo, StreamSummary,
};
pub use log::{
    FileFinding, LogVerification, RecoveryReport, StorageError, TornTail, VerifyProgress,
};
pub use model::{
    Append, ContentType, Direction, Ending, EventFilter, EventType, ExpectedRevision, FilterRule,
    FilterTarget, InvalidFilter, InvalidText, InvalidTimestamp, Lineage, MediaType, NewEvent,
    Position, ReadFrom, Receipt, RecordedEvent, Request, Revision, Source, StoreId, StreamHead,
    StreamMetadata, StreamName, SubscribeFrom, Tag, Timestamp, Token,
};
#[cfg(feature = "server")]
pub use server::{ServeError, Server, ServerOptions};
pub use subscription::{Notice, Progress, SubscribeOptions, Subscription};
