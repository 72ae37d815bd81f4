//! `wire-format.md` says what the code does: its tables are made from the code, its examples are
//! what the code writes and reads. When one is off, the test prints what belongs there. The
//! examples are golden: a change of theirs is a new version of the protocol.
#![cfg(any(feature = "client", feature = "server"))]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use annal::format::{Field, markdown_table};
use annal::protocol::frame;
use annal::protocol::message::*;
use annal::protocol::records::{RUN_FIELDS, Run};
use annal::protocol::{Answer, FrameCodec, Request, StorageKind, WireError};
use annal::{Append, ContentType, EventType, ExpectedRevision, NewEvent, Position, Revision};
use annal::{StreamName, Tag, Timestamp};
use bytes::{Bytes, BytesMut};
use tokio_util::codec::Decoder;
use uuid::Uuid;

const DOCUMENT: &str = include_str!("../src/protocol/wire-format.md");

fn section(heading: &str) -> &'static str {
    let line = format!("\n### {heading}\n");
    let start = DOCUMENT
        .find(&line)
        .unwrap_or_else(|| panic!("no heading {heading}"))
        + line.len();
    let rest = &DOCUMENT[start..];
    &rest[..rest.find("\n#").map_or(rest.len(), |end| end + 1)]
}

fn stands(heading: &str, block: &str) {
    assert!(
        format!("{}\n", section(heading)).contains(&format!("\n{block}\n")),
        "below {heading} has to stand:\n\n{block}"
    );
}

#[test]
fn the_tables_are_the_codes_own() {
    let of = |fields: &[Field]| markdown_table(fields);
    stands("Frame", &of(&frame::FIELDS));
    stands("Run", &of(&RUN_FIELDS));
    for (heading, kinds) in [("Requests", Request::KINDS), ("Answers", Answer::KINDS)] {
        let mut table = String::from("| kind | message | body |\n| --- | --- | --- |\n");
        for (kind, message, body) in kinds {
            let body = if *body == "Vec<records::Run>" {
                "Records"
            } else {
                body
            };
            table += &format!("| {kind:#04x} | {message} | {body} |\n");
        }
        stands(heading, &table);
    }
    assert!(DOCUMENT.contains("16,842,752"));
    assert_eq!(frame::FRAME_LEN_BYTES_MAX, 16_842_752);
}

#[test]
fn the_error_codes_are_the_codes_own() {
    let table = section("Error codes");
    for error in errors() {
        let mut out = Vec::new();
        Answer::Error(error.clone()).put(1, &mut out);
        let code = u32::from_le_bytes(out[frame::HEADER_LEN_BYTES..][..4].try_into().unwrap());
        let name = format!("{error:?}");
        let name = name.split(|c: char| !c.is_alphanumeric()).next().unwrap();
        assert!(
            table.contains(&format!("\n| {code} | {name} | ")),
            "{code} {name}"
        );
    }
    assert_eq!(
        errors().len(),
        table.lines().filter(|line| line.starts_with("| ")).count() - 2
    );
}

fn errors() -> Vec<WireError> {
    let text = || "text".to_owned();
    vec![
        WireError::WrongExpectedRevision {
            stream: text(),
            expected: Expected::Exactly(1),
            found: StreamHead::Deleted(Some(2)),
        },
        WireError::StreamDeleted {
            stream: text(),
            found: StreamHead::Tombstoned,
        },
        WireError::OverLimit {
            what: text(),
            value: 2,
            max: 1,
        },
        WireError::Invalid(text()),
        WireError::RequestIdReused([7; 16]),
        WireError::Busy,
        WireError::IndexRebuilding { done: 1, of: 2 },
        WireError::Unknown(text()),
        WireError::Storage {
            kind: StorageKind::Poisoned,
            text: text(),
        },
        WireError::StreamNotFound(text()),
        WireError::StreamTombstoned(text()),
        WireError::ForeignToken(token()),
        WireError::NotReached {
            reached: 1,
            asked: 2,
            waited_ms: 3,
        },
        WireError::Version { min: 1, max: 1 },
        WireError::Authentication(text()),
        WireError::Unsupported(0x7f),
        WireError::Malformed(text()),
        WireError::PayloadDamaged(3),
        WireError::TooMany {
            what: text(),
            max: 1,
        },
        WireError::GoingAway,
        WireError::Denied(text()),
        WireError::UserNotFound(text()),
        WireError::UserConflict(text()),
        WireError::GroupNotFound {
            source_name: text(),
            group: text(),
        },
        WireError::GroupExists {
            source_name: text(),
            group: text(),
        },
        WireError::GroupDropped(text()),
        WireError::ReplayRunning,
    ]
}

fn token() -> Token {
    Token {
        store: [1; 16],
        lineage: [2; 16],
        end: 3,
    }
}

fn wait() -> WaitFor {
    WaitFor {
        token: token(),
        within_ms: 500,
    }
}

fn append() -> Append {
    let stream = |name: &str| StreamName::new(name.to_owned()).unwrap();
    let event = NewEvent {
        id: Uuid::from_bytes([3; 16]),
        event_type: EventType::new("Placed").unwrap(),
        content_type: ContentType::Json,
        data: "{\"n\":1}".into(),
        metadata: "{}".into(),
        tags: vec![Tag::new("a:1").unwrap()],
        created: Some(Timestamp::new(1_700_000_000, 500_000_000, 1).unwrap()),
    };
    let expected = ExpectedRevision::Exactly(Revision(4));
    Append::to(stream("order-1"), expected, [event])
        .expect(stream("customer-2"), ExpectedRevision::StreamExists)
        .request(annal::Request {
            principal: String::new(),
            id: Uuid::from_bytes([4; 16]),
        })
}

fn requests() -> Vec<Request> {
    let filter = Filter {
        target: FilterTarget::EventType,
        rule: FilterRule::Prefixes(vec!["Or".into()]),
    };
    let hello = Hello {
        version_min: 1,
        version_max: 1,
        client: "me".into(),
        authentication: Authentication::None,
    };
    vec![
        Request::Hello(hello),
        Request::Heartbeat(Empty),
        Request::Append(append()),
        Request::Append(Append::delete(
            StreamName::new("a-1").unwrap(),
            ExpectedRevision::Any,
        )),
        Request::Read(Read {
            source: Source::Stream("order-1".into()),
            from: From::At(7),
            backwards: true,
            events_max: 10,
            credit_bytes: 65536,
            at_least: Some(wait()),
        }),
        Request::Event(EventAt::Position(7)),
        Request::Event(EventAt::Revision {
            stream: "order-1".into(),
            revision: 2,
        }),
        Request::DescribeStream(DescribeStream {
            stream: "order-1".into(),
        }),
        Request::ListStreams(ListStreams {
            prefix: "order-".into(),
            after: Some("order-1".into()),
            streams_max: 100,
        }),
        Request::PositionAt(PositionAt {
            seconds: -1,
            nanos: 500_000_000,
        }),
        Request::WaitFor(wait()),
        Request::Status(Empty),
        Request::Subscribe(Subscribe {
            source: Source::Filtered(filter),
            from: SubscribeFrom::After(41),
            credit_bytes: 65536,
            at_least: None,
        }),
        Request::Credit(Credit { bytes: 4096 }),
        Request::Cancel(Empty),
        Request::Users(UserRequest::List(Some("ouro".into()))),
        Request::Users(UserRequest::ChangePassword {
            login: "ouro".into(),
            current: Secret("old".into()),
            new: Secret("new".into()),
        }),
        Request::Groups(GroupRequest::List(Some("$all".into()))),
        Request::Groups(GroupRequest::Create(definition())),
        Request::Groups(GroupRequest::Replay(Parked {
            group: group(),
            before: Some(7),
        })),
        Request::JoinGroup(JoinGroup {
            group: group(),
            credit_events: 10,
            connection_name: "me".into(),
        }),
        Request::Ack(Ack { ids: vec![[5; 16]] }),
        Request::Nack(Nack {
            ids: vec![[5; 16]],
            action: NackAction::Park,
            reason: "no".into(),
        }),
    ]
}

fn group() -> GroupId {
    GroupId {
        source: "order-1".into(),
        group: "billing".into(),
    }
}

fn definition() -> GroupDefinition {
    GroupDefinition {
        group: group(),
        filter: None,
        start: GroupStart::Revision(4),
        settings: GroupSettings {
            resolve_links: true,
            extra_statistics: false,
            message_timeout_us: 1,
            max_retry_count: 2,
            checkpoint_after_us: 3,
            min_checkpoint_count: 4,
            max_checkpoint_count: 5,
            max_member_count: 6,
            live_buffer_size: 7,
            read_batch_size: 8,
            history_buffer_size: 9,
            strategy: "Ordered".into(),
        },
    }
}

fn group_answers() -> Vec<Answer> {
    let place = GroupPlace {
        position: 9,
        revision: Some(3),
    };
    let event = GroupEvent {
        position: 9,
        stream: "order-1".into(),
        revision: 3,
        id: [5; 16],
        event_type: "Placed".into(),
        content_type: "application/json".into(),
        created_seconds: -1,
        created_nanos: 0,
        created_decimals: 3,
        tags: vec!["a:1".into()],
        metadata: Blob::default(),
        data: Blob("{}".into()),
    };
    vec![
        Answer::Groups(GroupList {
            groups: vec![GroupIs {
                definition: definition(),
                status: "Live".into(),
                last_checkpoint: None,
                last_known: Some(place),
                last_delivered: Some(place),
                last_acknowledged: None,
                oldest_in_flight: Some(OldestInFlight {
                    id: [5; 16],
                    stream: "order-1".into(),
                    revision: 3,
                    position: 9,
                    retry_count: 1,
                    connection_name: "me".into(),
                    since_us: -1,
                }),
                failure: None,
                figures: vec![("in_flight_count".into(), 1)],
                members: vec![MemberIs {
                    from: "a".into(),
                    principal: "b".into(),
                    connection_name: "me".into(),
                    figures: Vec::new(),
                }],
            }],
        }),
        Answer::Joined(Empty),
        Answer::Deliveries(Deliveries {
            events: vec![GroupDelivery {
                event: Some(event),
                link: None,
                retry_count: 1,
            }],
        }),
    ]
}

fn answers() -> Vec<Answer> {
    let limits = Limits {
        frame_len_bytes_max: 1,
        append_len_bytes_max: 2,
        append_events_max: 3,
        credit_bytes_max: 4,
        requests_max: 5,
        subscriptions_max: 6,
        heartbeat_ms: 7,
        silence_ms_max: 8,
    };
    let mark = Mark {
        position: 9,
        committed_us: Some(-1),
    };
    let run = Run {
        first: Position(5),
        count: 1,
        bytes: Bytes::from_static(b"record"),
    };
    let mut answers = vec![
        Answer::Welcome(Welcome {
            version: 1,
            store: [1; 16],
            lineage: [2; 16],
            record_salt: [3; 16],
            committed: 4,
            limits,
            server: "annal".into(),
            server_version: "0.1.0".into(),
        }),
        Answer::Heartbeat(Empty),
        Answer::Receipt(Receipt {
            first: 5,
            last: Some(5),
            revisions: vec![("order-1".into(), 5)],
            token: token(),
            repeated: false,
        }),
        Answer::Records(vec![run]),
        Answer::End(End {
            reason: EndReason::EventsMax,
            next: Some(6),
        }),
        Answer::StreamDescription(StreamDescription {
            head: StreamHead::At(5),
            first: Some(0),
            last_position: Some(9),
            events: 6,
            metadata: Some(StreamMetadata {
                revision: 0,
                json: b"{}".to_vec(),
            }),
        }),
        Answer::StreamList(StreamList {
            streams: vec![StreamSummary {
                stream: "order-1".into(),
                head: StreamHead::Absent,
                events: 0,
            }],
            more: true,
        }),
        Answer::Position(PositionIs { position: 9 }),
        Answer::Status(StatusIs {
            committed: 9,
            committed_us: Some(1),
            up_ms: 2,
            figures: vec![("connections".into(), 1)],
            texts: vec![("a".into(), "b".into())],
        }),
        Answer::Subscribed(Mark {
            committed_us: None,
            ..mark
        }),
        Answer::Checkpoint(mark),
        Answer::CaughtUp(mark),
        Answer::FellBehind(mark),
        Answer::Idle(mark),
        Answer::GoingAway(Empty),
        Answer::Users(UserList {
            users: vec![UserIs {
                login: "ouro".into(),
                full_name: "Ouro".into(),
                groups: vec!["$admins".into()],
                disabled: false,
                created_us: -1,
                updated_us: 1,
                revision: 2,
            }],
        }),
    ];
    answers.extend(group_answers());
    answers.extend(errors().into_iter().map(Answer::Error));
    answers
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The examples, each with the debug form of its message.
fn examples() -> Vec<(String, Vec<u8>, String)> {
    let framed = |put: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        put(&mut out);
        out
    };
    let mut examples = Vec::new();
    for request in requests() {
        let bytes = framed(&|out| request.put(1, out));
        let name = Request::KINDS
            .iter()
            .find(|kind| kind.0 == request.kind())
            .unwrap()
            .1;
        examples.push((name.to_owned(), bytes, format!("{request:?}")));
    }
    for answer in answers() {
        let bytes = framed(&|out| answer.put(1, out));
        let name = Answer::KINDS
            .iter()
            .find(|kind| kind.0 == answer.kind())
            .unwrap()
            .1;
        let name = match &answer {
            Answer::Error(error) => {
                let text = format!("{error:?}");
                let variant = text.split(|c: char| !c.is_alphanumeric()).next().unwrap();
                format!("{name} {variant}")
            }
            _ => name.to_owned(),
        };
        examples.push((name, bytes, format!("{answer:?}")));
    }
    examples
}

/// The examples as they stand in the document: the name, and the bytes in lines of at most 96.
fn render() -> String {
    let mut text = String::from("```text\n");
    for (name, bytes, _) in examples() {
        text += &format!("{name}\n");
        let hex = hex(&bytes);
        let header = 2 * frame::HEADER_LEN_BYTES;
        text += &format!("  {} {} {}\n", &hex[..8], &hex[8..10], &hex[10..header]);
        for line in hex.as_bytes()[header..].chunks(96) {
            text += &format!("  {}\n", std::str::from_utf8(line).unwrap());
        }
    }
    text + "```\n"
}

#[test]
fn the_examples_are_what_the_code_writes() {
    stands("Example frames", &render());
}

#[test]
fn the_examples_are_what_the_code_reads() {
    let text = section("Example frames");
    let inner = text
        .split("```text\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let mut read = Vec::new();
    let mut digits = String::new();
    for line in inner.lines().chain(["end"]) {
        if let Some(more) = line.strip_prefix("  ") {
            digits.extend(more.chars().filter(|c| *c != ' '));
            continue;
        }
        if !digits.is_empty() {
            let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
            let bytes: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
            let mut inbox = BytesMut::from(&bytes[..]);
            let frame = FrameCodec.decode(&mut inbox).unwrap().unwrap();
            assert!(inbox.is_empty() && frame.correlation == 1);
            read.push(match frame.kind < 0x80 {
                true => format!("{:?}", Request::decode(frame.kind, frame.body).unwrap()),
                false => format!("{:?}", Answer::decode(frame.kind, frame.body).unwrap()),
            });
            digits.clear();
        }
    }
    // A request that was read knows the checksums that came with it.
    let written = examples().into_iter().map(|(.., message)| message);
    for (read, written) in read.iter().zip(written) {
        let known = |text: &str| text.split("payload_checksums").next().unwrap().to_owned();
        assert_eq!(known(read), known(&written));
    }
    assert_eq!(read.len(), examples().len());
}
