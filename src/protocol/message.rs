//! The messages: the wire's own structures, one for each kind of frame.
//!
//! They are frozen: the order of fields and variants is the format. What is new gets a new kind, or
//! a new variant at the end of its list, or a new protocol version. Nothing here is checked beyond
//! its shape; `convert.rs` makes checked values of it.

use bytes::Bytes;
use bytestring::ByteString;
use serde::{Deserialize, Serialize};

use super::append::{self, AppendProblem};
use super::body::{self, BodyError};
use super::error::WireError;
use super::frame;
pub use super::group::{
    Ack, Blob, Deliveries, GroupDefinition, GroupDelivery, GroupEvent, GroupId, GroupIs, GroupList,
    GroupPlace, GroupRequest, GroupSettings, GroupStart, JoinGroup, MemberIs, Nack, NackAction,
    OldestInFlight, Parked,
};
use super::records;
use crate::model::Append;

/// The oldest protocol version that this program speaks.
pub const VERSION_MIN: u16 = 1;
/// The newest protocol version that this program speaks.
pub const VERSION_MAX: u16 = 1;

/// Sixteen bytes as one little-endian number: the same bytes, put in one step instead of sixteen.
/// Every answer to an append has 32 of them.
mod sixteen {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8; 16], to: S) -> Result<S::Ok, S::Error> {
        u128::from_le_bytes(*bytes).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 16], D::Error> {
        u128::deserialize(from).map(u128::to_le_bytes)
    }
}

/// A store, one of its histories, and a place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// The store.
    #[serde(with = "sixteen")]
    pub store: [u8; 16],
    /// The lineage of the store.
    #[serde(with = "sixteen")]
    pub lineage: [u8; 16],
    /// Everything before this position is meant.
    pub end: u64,
}

/// The first message of a client. Its own layout never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The oldest protocol version that the client speaks.
    pub version_min: u16,
    /// The newest protocol version that the client speaks.
    pub version_max: u16,
    /// What the client calls itself, for logs; at most 256 bytes.
    pub client: String,
    /// Who the client is.
    pub authentication: Authentication,
}

/// How a client shows who it is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Authentication {
    /// Not at all.
    None,
    /// By a text that the server has given out.
    Token(String),
    /// By a name and a password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
}

impl std::fmt::Debug for Authentication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Token(_) => f.write_str("Token(..)"),
            Self::Password { user, .. } => write!(f, "Password({user:?}, ..)"),
        }
    }
}

/// The server's answer to [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The protocol version of everything that follows.
    pub version: u16,
    /// The store.
    pub store: [u8; 16],
    /// The store's present lineage.
    pub lineage: [u8; 16],
    /// What the header checksums of records begin with.
    pub record_salt: [u8; 16],
    /// Where the log ended at the hello.
    pub committed: u64,
    /// What the server allows.
    pub limits: Limits,
    /// What the server calls itself.
    pub server: String,
    /// Its version.
    pub server_version: String,
}

/// What a server allows on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The largest length of a frame, in bytes.
    pub frame_len_bytes_max: u32,
    /// The largest append, in bytes of its records.
    pub append_len_bytes_max: u32,
    /// The most events of an append.
    pub append_events_max: u32,
    /// The most credit that a read or subscription can hold, in bytes; more is cut to this.
    pub credit_bytes_max: u64,
    /// The most requests that may wait for their answers.
    pub requests_max: u32,
    /// The most subscriptions.
    pub subscriptions_max: u32,
    /// Whoever has sent nothing for so long sends a heartbeat, in milliseconds.
    pub heartbeat_ms: u32,
    /// Whoever has received nothing for so long closes the connection, in milliseconds.
    pub silence_ms_max: u32,
}

/// Waits until the store has reached a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitFor {
    /// The place.
    pub token: Token,
    /// How long to wait, in milliseconds.
    pub within_ms: u32,
}

/// Asks for events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// Which events.
    pub source: Source,
    /// Where to begin.
    pub from: From,
    /// From newer to older events.
    pub backwards: bool,
    /// How many events at most.
    pub events_max: u64,
    /// How many bytes of records may be sent before more credit is given.
    pub credit_bytes: u64,
    /// What the store must have reached first.
    pub at_least: Option<WaitFor>,
}

/// Which events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// All.
    All,
    /// Those of a stream.
    Stream(String),
    /// Those of a category.
    Category(String),
    /// Those of a type.
    EventType(String),
    /// Those with a tag.
    Tag(String),
    /// Those that a filter chooses.
    Filtered(Filter),
}

/// Chooses events by a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// The text.
    pub target: FilterTarget,
    /// The choice.
    pub rule: FilterRule,
}

/// What a filter looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FilterTarget {
    /// The stream's name.
    Stream,
    /// The event's type.
    EventType,
}

/// What a filter asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FilterRule {
    /// That the text begins with one of these.
    Prefixes(Vec<String>),
    /// That a regular expression is found in it.
    Pattern(String),
}

/// Where a read begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum From {
    /// At the first event.
    Start,
    /// At the last event.
    End,
    /// At this revision for a stream, at this position for anything else.
    At(u64),
}

/// Gives a read or a subscription more credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credit {
    /// How many more bytes of records may be sent.
    pub bytes: u64,
}

/// A read or a subscription is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Why.
    pub reason: EndReason,
    /// Where the next read of the same kind goes on; none if there is nothing further that way.
    pub next: Option<u64>,
}

/// Why a read or a subscription is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndReason {
    /// There are no more events.
    Exhausted,
    /// As many events as were asked for were sent.
    EventsMax,
    /// The client cancelled it.
    Cancelled,
}

/// Asks for one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventAt {
    /// The event at a position.
    Position(u64),
    /// The event of a stream with a revision.
    Revision {
        /// The stream.
        stream: String,
        /// The revision.
        revision: u64,
    },
}

/// Asks how a stream is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribeStream {
    /// The stream.
    pub stream: String,
}

/// How a stream is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamDescription {
    /// Where it ends.
    pub head: StreamHead,
    /// Its first event that can be read.
    pub first: Option<u64>,
    /// The position of its last event.
    pub last_position: Option<u64>,
    /// How many events were ever written to it.
    pub events: u64,
    /// Its metadata.
    pub metadata: Option<StreamMetadata>,
}

/// The metadata of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamMetadata {
    /// The revision of the metadata event.
    pub revision: u64,
    /// The data of the metadata event.
    pub json: Vec<u8>,
}

/// Where a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StreamHead {
    /// Nowhere: it was never written.
    Absent,
    /// At this revision.
    At(u64),
    /// At this revision, if any, and it is deleted.
    Deleted(Option<u64>),
    /// It is closed for ever.
    Tombstoned,
}

/// What a writer expects of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expected {
    /// Nothing.
    Any,
    /// That it is not there.
    NoStream,
    /// That it is there.
    StreamExists,
    /// That its last event has this revision.
    Exactly(u64),
}

/// Asks for streams by the beginning of their names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListStreams {
    /// The beginning.
    pub prefix: String,
    /// Only names behind this one, in the order of their bytes.
    pub after: Option<String>,
    /// How many streams at most; the server may send fewer.
    pub streams_max: u32,
}

/// A page of streams, in the order of the bytes of their names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamList {
    /// The streams.
    pub streams: Vec<StreamSummary>,
    /// Whether there are more behind the last one.
    pub more: bool,
}

/// A stream in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSummary {
    /// Its name.
    pub stream: String,
    /// Where it ends.
    pub head: StreamHead,
    /// How many events were ever written to it.
    pub events: u64,
}

/// Asks for the first position whose event was created at a time or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PositionAt {
    /// Whole seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds on top.
    pub nanos: u32,
}

/// A position that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PositionIs {
    /// The position.
    pub position: u64,
}

/// How the server and its store are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusIs {
    /// Where the log ends.
    pub committed: u64,
    /// When the last commit was made, in microseconds since 1970; none if there is none.
    pub committed_us: Option<i64>,
    /// How long the server has been running, in milliseconds.
    pub up_ms: u64,
    /// Further figures by name; a client shows those it does not know as they are.
    pub figures: Vec<(String, u64)>,
    /// Further texts by name.
    pub texts: Vec<(String, String)>,
}

/// Asks for events, those still to come included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribe {
    /// Which events.
    pub source: Source,
    /// Where to begin.
    pub from: SubscribeFrom,
    /// How many bytes of records may be sent before more credit is given.
    pub credit_bytes: u64,
    /// What the store must have reached first.
    pub at_least: Option<WaitFor>,
}

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SubscribeFrom {
    /// With the first event.
    Start,
    /// Behind a position.
    After(u64),
    /// Behind a revision of the stream.
    AfterRevision(u64),
    /// With what is committed from now on.
    End,
}

/// A place that a feed has reached: the subscription is made, has looked at everything before the
/// place, has caught up, or fell behind; the kind of the frame says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Every event before this position was looked at, and sent if it was wanted.
    pub position: u64,
    /// When what stands in front of the position was committed, in microseconds since 1970, if the
    /// server knows it without looking for it.
    pub committed_us: Option<i64>,
}

/// An append is on stable storage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The position of the first event; where the log ended if there is none.
    pub first: u64,
    /// The position of the writer's last event.
    pub last: Option<u64>,
    /// The last revisions of the written streams.
    pub revisions: Vec<(ByteString, u64)>,
    /// Covers the append.
    pub token: Token,
    /// Whether an earlier request had done the work.
    pub repeated: bool,
}

/// Looks at users, or changes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserRequest {
    /// Shows all users, or one.
    List(Option<String>),
    /// Makes a user.
    Create {
        /// What he is called.
        login: String,
        /// His name for people.
        full_name: String,
        /// His groups.
        groups: Vec<String>,
        /// His password.
        password: Secret,
    },
    /// Gives a user another full name and other groups.
    Update {
        /// Which user.
        login: String,
        /// His name for people.
        full_name: String,
        /// His groups.
        groups: Vec<String>,
    },
    /// Removes a user.
    Delete(String),
    /// Lets a user in again.
    Enable(String),
    /// Keeps a user out.
    Disable(String),
    /// Changes a password for whoever knows the one before.
    ChangePassword {
        /// Which user.
        login: String,
        /// The password before.
        current: Secret,
        /// The new one.
        new: Secret,
    },
    /// Gives a user another password.
    ResetPassword {
        /// Which user.
        login: String,
        /// The new password.
        new: Secret,
    },
}

/// A text that is shown to nobody.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The users that were asked for; none if something was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserList {
    /// In the order of their logins.
    pub users: Vec<UserIs>,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserIs {
    /// What he is called.
    pub login: String,
    /// His name for people.
    pub full_name: String,
    /// His groups.
    pub groups: Vec<String>,
    /// Whether he is kept out.
    pub disabled: bool,
    /// When he was made, in microseconds since 1970.
    pub created_us: i64,
    /// When he was changed last, in microseconds since 1970.
    pub updated_us: i64,
    /// How often he was changed since he was made.
    pub revision: u64,
}

/// A body that is not looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty;

/// What can stand behind a frame's header.
trait Body: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn take(bytes: Bytes, message: &'static str) -> Result<Self, MessageError>;
}

macro_rules! control_bodies {
    ($($body:ty)*) => {$(
        impl Body for $body {
            fn put(&self, out: &mut Vec<u8>) {
                body::put(self, out);
            }
            fn take(bytes: Bytes, message: &'static str) -> Result<Self, MessageError> {
                Ok(body::take(&bytes, message)?)
            }
        }
    )*};
}

control_bodies! {
    Hello Welcome WaitFor Read EventAt DescribeStream ListStreams PositionAt Subscribe Credit Empty
    UserRequest UserList GroupRequest GroupList JoinGroup Ack Nack Deliveries Receipt End
    StreamDescription StreamList PositionIs StatusIs Mark WireError
}

impl Body for Append {
    fn put(&self, out: &mut Vec<u8>) {
        append::put(self, out);
    }
    fn take(bytes: Bytes, message: &'static str) -> Result<Self, MessageError> {
        append::take(&bytes).map_err(|problem| match problem {
            AppendProblem::PayloadDamaged(event) => MessageError::PayloadDamaged(event),
            other => BodyError {
                message,
                problem: other.to_string(),
            }
            .into(),
        })
    }
}

impl Body for Vec<records::Run> {
    fn put(&self, out: &mut Vec<u8>) {
        records::put_runs(self, out);
    }
    fn take(bytes: Bytes, message: &'static str) -> Result<Self, MessageError> {
        records::take_runs(&bytes).map_err(|error| {
            BodyError {
                message,
                problem: error.to_string(),
            }
            .into()
        })
    }
}

/// Why a frame is not a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Nobody here knows this kind. The connection goes on.
    #[error("there is no message of kind {0:#04x} in this direction")]
    Unknown(u8),
    /// The body is not what the kind says.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// An event of an append does not fit the checksum that its writer gave it.
    #[error("event {0} was damaged on its way here")]
    PayloadDamaged(u32),
}

macro_rules! messages {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$what:meta])* $kind:literal $constant:ident $variant:ident($body:ty),)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub enum $name {
            $($(#[$what])* $variant($body),)*
        }

        impl $name {
            /// The kind of each message, its name and the name of its body, for the document.
            pub const KINDS: &[(u8, &str, &str)] =
                &[$(($kind, stringify!($variant), stringify!($body)),)*];

            $(
                #[doc = concat!("The kind of [`", stringify!($name::$variant), "`].")]
                pub const $constant: u8 = $kind;
            )*

            /// The kind of this message.
            #[must_use]
            pub fn kind(&self) -> u8 {
                match self {
                    $(Self::$variant(_) => $kind,)*
                }
            }

            /// Reads the message of a frame.
            ///
            /// # Errors
            /// See [`MessageError`].
            pub fn decode(kind: u8, body: Bytes) -> Result<Self, MessageError> {
                match kind {
                    $($kind => Ok(Self::$variant(Body::take(body, stringify!($variant))?)),)*
                    other => Err(MessageError::Unknown(other)),
                }
            }

            /// Appends the message as a whole frame.
            pub fn put(&self, correlation: u64, out: &mut Vec<u8>) {
                frame::put_frame(out, self.kind(), correlation, |out| match self {
                    $(Self::$variant(body) => Body::put(body, out),)*
                });
            }
        }
    };
}

messages! {
    /// What a client sends.
    Request {
        /// The first message.
        0x01 HELLO Hello(Hello),
        /// The client is still there.
        0x02 HEARTBEAT Heartbeat(Empty),
        /// Change streams.
        0x03 APPEND Append(Append),
        /// Send events.
        0x04 READ Read(Read),
        /// Send one event.
        0x05 EVENT Event(EventAt),
        /// Describe a stream.
        0x06 DESCRIBE_STREAM DescribeStream(DescribeStream),
        /// List streams.
        0x07 LIST_STREAMS ListStreams(ListStreams),
        /// Find a position by its time.
        0x08 POSITION_AT PositionAt(PositionAt),
        /// Say when a place is reached.
        0x09 WAIT_FOR WaitFor(WaitFor),
        /// Say how everything is.
        0x0a STATUS Status(Empty),
        /// Send events, also those to come.
        0x0b SUBSCRIBE Subscribe(Subscribe),
        /// Send more.
        0x0c CREDIT Credit(Credit),
        /// Send no more.
        0x0d CANCEL Cancel(Empty),
        /// Look at users, or change them.
        0x20 USERS Users(UserRequest),
        /// Look at consumer groups, or change them.
        0x30 GROUPS Groups(GroupRequest),
        /// Become a member of a group.
        0x31 JOIN_GROUP JoinGroup(JoinGroup),
        /// Of a member: events are handled.
        0x32 ACK Ack(Ack),
        /// Of a member: events are not handled.
        0x33 NACK Nack(Nack),
    }
}

messages! {
    /// What a server sends.
    Answer {
        /// To a hello: go on.
        0x81 WELCOME Welcome(Welcome),
        /// The server is still there.
        0x82 HEARTBEAT Heartbeat(Empty),
        /// To an append: done.
        0x83 RECEIPT Receipt(Receipt),
        /// To a read, a subscription, and the question for one event: records.
        0x84 RECORDS Records(Vec<records::Run>),
        /// To a read or subscription: that was all.
        0x85 END End(End),
        /// To the question for a stream.
        0x86 STREAM_DESCRIPTION StreamDescription(StreamDescription),
        /// To the question for streams.
        0x87 STREAM_LIST StreamList(StreamList),
        /// To the questions for a position.
        0x88 POSITION Position(PositionIs),
        /// To the question how everything is.
        0x89 STATUS Status(StatusIs),
        /// To a subscription: it begins here.
        0x8a SUBSCRIBED Subscribed(Mark),
        /// To a subscription: it has looked so far.
        0x8b CHECKPOINT Checkpoint(Mark),
        /// To a subscription: it has sent everything there is.
        0x8c CAUGHT_UP CaughtUp(Mark),
        /// To a subscription: more has come than could be sent.
        0x8d FELL_BEHIND FellBehind(Mark),
        /// Every subscription of this connection that has caught up has looked so far.
        0x8e IDLE Idle(Mark),
        /// To any request: it failed, and is over.
        0x8f ERROR Error(WireError),
        /// No further request is taken; those that were are answered.
        0x90 GOING_AWAY GoingAway(Empty),
        /// To a question for users, or a change of them: done.
        0xa0 USERS Users(UserList),
        /// To a question for groups, or a change of them: done.
        0xb0 GROUPS Groups(GroupList),
        /// To a member: it is one.
        0xb1 JOINED Joined(Empty),
        /// To a member: events.
        0xb2 DELIVERIES Deliveries(Deliveries),
    }
}
