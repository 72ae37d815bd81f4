//! Lines there and back, and what is refused.

use super::*;
use crate::cli::input::LINE_LEN_BYTES_MAX;
use crate::model::Position;
use proptest::prelude::*;

fn parse(text: &str) -> Result<Line, BadLine> {
    Line::parse(7, &Bytes::copy_from_slice(text.as_bytes()))
}

/// What a store that held nothing before would hand out.
fn recorded(line: Line) -> RecordedEvent {
    let revision = Revision::START;
    let (stream, event) = line.into_event(revision);
    RecordedEvent {
        position: Position::START,
        stream,
        revision,
        id: event.id,
        event_type: event.event_type,
        content_type: event.content_type,
        created: event.created.unwrap_or(Timestamp::from_micros(0)),
        tags: event.tags,
        metadata: event.metadata,
        data: event.data,
    }
}

fn line_of(event: &RecordedEvent) -> String {
    let mut out = Vec::new();
    write_line(event, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_line_comes_back_byte_for_byte() {
    for (time, rest) in [
        (
            "2016-02-29T01:23:00Z",
            r#""data":{"b":1,"a":[1.0,1e5]},"metadata":{"n":1}"#,
        ),
        ("1969-01-01T00:00:00.000Z", r#""data":{"a" : "\u00e9\/"}"#),
        (
            "9999-12-31T23:59:59.123456789Z",
            r#""data":null,"metadata":null"#,
        ),
        (
            "0000-01-01T00:00:00.1Z",
            r#""id":"6f9619ff-8b86-4011-b42d-00c04fc964ff","tags":["x:1","y"],"data":"text""#,
        ),
        (
            "2016-02-29T01:23:00Z",
            r#""data_base64":"AP8=","metadata_base64":"/w==""#,
        ),
        (
            "2016-02-29T01:23:00Z",
            r#""content_type":"text/plain","data_base64":"aGk=""#,
        ),
        (
            "2016-02-29T01:23:00Z",
            r#""content_type":"application/json","data_base64":"ew==""#,
        ),
    ] {
        let line = format!(r#"{{"stream":"q\" b\\ s/-1","type":"T","time":"{time}",{rest}}}"#);
        assert_eq!(
            line_of(&recorded(parse(&line).unwrap())),
            format!("{line}\n")
        );
    }
    // Letters beyond ASCII stand as they are.
    let line = "{\"stream\":\"caf\u{e9} \u{1f980}\",\"type\":\"T\",\
                \"time\":\"2016-02-29T01:23:00Z\",\"data\":\"\u{65e5}\"}";
    assert_eq!(
        line_of(&recorded(parse(line).unwrap())),
        format!("{line}\n")
    );
}

#[test]
fn a_line_says_where_its_event_was_read_and_can_be_imported_all_the_same() {
    let line = r#"{"stream":"a-1","type":"T","time":"2016-02-29T01:23:00Z","data":1}"#;
    let event = recorded(parse(line).unwrap());
    let mut out = Vec::new();
    write_recorded(&event, &mut out);
    let text = String::from_utf8(out).unwrap();
    let start =
        r#"{"position":0,"revision":0,"stream":"a-1","type":"T","time":"2016-02-29T01:23:00Z""#;
    let rest = format!(r#","id":"{}","data":1}}"#, event.id);
    assert_eq!(text, format!("{start}{rest}\n"));
    assert_eq!(recorded(parse(&text).unwrap()), event);
}

#[test]
fn keys_come_in_any_order_and_most_can_be_left_out() {
    let line = parse(r#" { "data": 1 , "type": "T", "stream": "\u0061" } "#).unwrap();
    assert_eq!(line.stream.as_str(), "a");
    assert_eq!((&*line.data, &*line.metadata), (&b"1"[..], &b""[..]));
    assert_eq!((line.number, line.id, line.created), (7, None, None));
    assert_eq!(line.content_type, ContentType::Json);
}

#[test]
fn a_missing_id_is_derived_from_the_place_in_the_stream() {
    let stream = StreamName::new("file-rails/\u{e9} \"x\"").unwrap();
    let derived = derived_id(&stream, Revision(17));
    assert_eq!(derived.to_string(), "c1666bf7-2ed2-5075-a8bb-1de1a4644f39");
    let line = parse(r#"{"stream":"file-rails/\u00e9 \"x\"","type":"T","data":1}"#).unwrap();
    assert_eq!(line.into_event(Revision(17)).1.id, derived);
}

#[test]
fn a_bad_line_is_refused_with_its_number_and_what_is_wrong() {
    for (line, message) in [
        ("", "line 7: column 1: expected an object"),
        ("[\"a\",\"T\",1]", "line 7: column 1: expected an object"),
        (
            "{\"stream\":\"a\"",
            "line 7: column 13: EOF while parsing an object",
        ),
        (
            r#"{"type":"T","data":1}"#,
            "line 7: column 21: missing field `stream`",
        ),
        (
            r#"{"stream":"a","data":1}"#,
            "line 7: column 23: missing field `type`",
        ),
        (
            r#"{"stream":"a","type":"T"}"#,
            "line 7: there is neither `data` nor `data_base64`",
        ),
        (
            r#"{"stream":"a","stream":"b"}"#,
            "line 7: column 22: duplicate field `stream`",
        ),
        (
            r#"{"steam":"a"}"#,
            "line 7: column 8: unknown field `steam`, expected one of `stream`",
        ),
        (
            r#"{"stream":1}"#,
            "line 7: column 11: invalid type: integer `1`, expected a string",
        ),
        (
            r#"{"stream":null}"#,
            "line 7: column 14: invalid type: null, expected a string",
        ),
        (
            r#"{"stream":"a","type":"T","data":1} x"#,
            "line 7: column 36: trailing characters",
        ),
        (
            r#"{"stream":"a","type":"T","data":01}"#,
            "line 7: column 34: invalid number",
        ),
        (
            r#"{"stream":"","type":"T","data":1}"#,
            "line 7: stream name is empty",
        ),
        (
            r#"{"stream":"a\n","type":"T","data":1}"#,
            "line 7: stream name holds a control",
        ),
        (
            r#"{"stream":"$all","type":"T","data":1}"#,
            "line 7: stream name \"$all\" is reserved",
        ),
        (
            r#"{"stream":"a","type":"","data":1}"#,
            "line 7: event type is empty",
        ),
        (
            r#"{"stream":"a","type":"T","data":1,"tags":[""]}"#,
            "line 7: tag is empty",
        ),
        (
            r#"{"stream":"a","type":"T","data":1,"tags":"x"}"#,
            "line 7: column 44: invalid type",
        ),
        (
            r#"{"stream":"a","type":"T","data":1,"time":"now"}"#,
            "line 7: `time`: not a time like",
        ),
        (
            r#"{"stream":"a","type":"T","data":1,"time":null}"#,
            "line 7: column 45: invalid type",
        ),
        (
            r#"{"stream":"a","type":"T","data":1,"id":"1"}"#,
            "line 7: `id` is not a UUID like",
        ),
        (
            r#"{"stream":"a","type":"T","data":1,"data_base64":"AA=="}"#,
            "line 7: give either `data`",
        ),
        (
            r#"{"stream":"a","type":"T","data_base64":"AA"}"#,
            "line 7: `data_base64` is not base64",
        ),
        (
            r#"{"stream":"a","type":"T","data_base64":"AB=="}"#,
            "line 7: `data_base64` is not base64",
        ),
        (
            r#"{"stream":"a","type":"T","data":1,"content_type":"text/plain"}"#,
            "line 7: `data` is JSON",
        ),
    ] {
        let error = parse(line).unwrap_err().to_string();
        assert!(error.starts_with(message), "{line}\n{error}");
    }
}

#[test]
fn bytes_that_are_not_utf8_are_refused() {
    let line = b"{\"stream\":\"a\",\"type\":\"T\",\"data\":\"\xff\"}";
    assert!(Line::parse(1, &Bytes::from_static(line)).is_err());
}

#[test]
fn an_event_beyond_its_limits_is_refused() {
    let with_data = |len: usize| {
        let text = "x".repeat(len - 2);
        parse(&format!(r#"{{"stream":"a","type":"T","data":"{text}"}}"#))
    };
    assert!(with_data(PAYLOAD_LEN_BYTES_MAX).is_ok());
    let error = with_data(PAYLOAD_LEN_BYTES_MAX + 1).unwrap_err();
    assert_eq!(error.what, LineError::TooLong(PAYLOAD_LEN_BYTES_MAX + 1));
    let with_tags = |count: usize| {
        let tags = vec!["\"t\""; count].join(",");
        parse(&format!(
            r#"{{"stream":"a","type":"T","data":1,"tags":[{tags}]}}"#
        ))
    };
    assert_eq!(with_tags(TAGS_MAX).unwrap().tags.len(), TAGS_MAX);
    assert_eq!(
        with_tags(TAGS_MAX + 1).unwrap_err().what,
        LineError::TooManyTags(TAGS_MAX + 1)
    );
}

#[test]
fn the_largest_event_fits_a_line_in_base64() {
    let line = parse(r#"{"stream":"a","type":"T","data_base64":""}"#).unwrap();
    let event = RecordedEvent {
        data: vec![0xff; PAYLOAD_LEN_BYTES_MAX].into(),
        ..recorded(line)
    };
    let line = line_of(&event);
    assert!(line.len() <= LINE_LEN_BYTES_MAX);
    assert_eq!(recorded(parse(&line).unwrap()), event);
}

/// Names with everything in them that JSON has to escape, or is tempted to.
fn name() -> impl Strategy<Value = String> {
    "[a-z\"\\\\/\u{e9}\u{1f980}\u{2028} $-]{1,12}"
        .prop_filter("reserved", |name| StreamName::new(name.as_str()).is_ok())
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    let json = [
        "null",
        "{}",
        "{\"a\": [1, 2.50, \"\\u0041\"]}",
        " 1",
        "1\n",
        "[1,\n2]",
        "[1,\r2]",
        "\"\u{e9}\"",
        "{\"a\":}",
        "\"\\ud800\"",
    ];
    prop_oneof![
        proptest::sample::select(json.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 0..20),
    ]
}

fn event() -> impl Strategy<Value = RecordedEvent> {
    let content_types = [
        "application/json",
        "application/octet-stream",
        "text/plain",
        "\"x\\",
    ];
    let head = (
        name(),
        name(),
        any::<Option<u128>>(),
        proptest::sample::select(content_types.to_vec()),
    );
    let times = (
        Timestamp::SECONDS_MIN..=Timestamp::SECONDS_MAX,
        0u32..1_000_000_000,
    );
    let body = (
        proptest::collection::vec(name(), 0..3),
        payload(),
        payload(),
    );
    (head, times, body).prop_map(|((stream, event_type, id, content_type), time, body)| {
        let stream = StreamName::new(stream).unwrap();
        RecordedEvent {
            position: Position::START,
            revision: Revision::START,
            id: id.map_or_else(|| derived_id(&stream, Revision::START), Uuid::from_u128),
            stream,
            event_type: EventType::new(event_type).unwrap(),
            content_type: ContentType::new(content_type).unwrap(),
            created: Timestamp::new(time.0, time.1, 9).unwrap(),
            tags: body
                .0
                .into_iter()
                .map(|tag| Tag::new(tag).unwrap())
                .collect(),
            metadata: body.1.into(),
            data: body.2.into(),
        }
    })
}

proptest! {
    #[test]
    fn every_event_survives_its_line(event in event()) {
        let line = line_of(&event);
        prop_assert_eq!(line.find(['\n', '\r']), Some(line.len() - 1));
        let parsed = parse(&line).unwrap();
        prop_assert_eq!(&recorded(parsed), &event);
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..99)) {
        let _outcome = Line::parse(1, &bytes.into());
    }

    #[test]
    fn a_damaged_line_is_refused_or_read_but_never_panics(at in 0usize..100, byte in any::<u8>()) {
let line = concat!(
            r#"{"stream":"a-1","type":"T","time":"2016-02-29T01:23:00Z","#,
            r#""data":{"b":1},"metadata":{"n":1}}"#
        );
        let mut bytes = line.as_bytes().to_vec();
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
        let _outcome = Line::parse(1, &bytes.into());
    }
}
