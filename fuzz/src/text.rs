//! Names and tags are refused or kept exactly and keep their limits; what stands in the data of
//! metadata events and links is read or passed over.

use annal::model::{
    ContentType, EventType, GroupName, Link, Projection, StreamMetadata, StreamName, Tag,
    VirtualStream,
};
use bytes::Bytes;

pub fn run(input: &[u8]) {
    let bytes = Bytes::copy_from_slice(input);
    if let Ok(stream) = StreamName::from_bytes(bytes.clone()) {
        assert_eq!(stream.as_str().as_bytes(), input);
        assert!((1..=StreamName::LEN_BYTES_MAX).contains(&input.len()));
        if let Some(metadata) = stream.metadata_stream() {
            assert_eq!(metadata.described(), Some(stream.as_str()));
            assert!(metadata.is_system());
        }
        let _category = stream.category();
        let _listing = VirtualStream::of(&stream);
    }
    if let Ok(event_type) = EventType::from_bytes(bytes.clone()) {
        assert_eq!(event_type.as_str().as_bytes(), input);
    }
    if let Ok(tag) = Tag::from_bytes(bytes.clone()) {
        assert_eq!(tag.as_str().as_bytes(), input);
    }
    if let Ok(content_type) = ContentType::from_bytes(bytes) {
        assert_eq!(content_type.as_str().as_bytes(), input);
    }
    if let Ok(text) = std::str::from_utf8(input) {
        if let Ok(name) = GroupName::new(text) {
            assert_eq!(name.as_str(), text);
        }
        let _projection = Projection::of_name(text);
    }
    if let Some(link) = Link::parse(input) {
        assert_eq!(Link::parse(link.to_string().as_bytes()), Some(link));
    }
    let metadata = StreamMetadata::parse(input);
    assert!(metadata.max_count != Some(0));
}

pub fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "order-1",
        "$$order-1",
        "$ce-order",
        "$et-OrderPlaced",
        "$bc-0b0e2d3c-0000-4000-8000-000000000001",
        "$streams",
        "$by_category",
        "application/json",
        "text/plain; charset=utf-8",
        "customer:7",
        "7@order-1",
        "\u{e9}\u{2603}",
        r#"{"$maxAge":60,"$maxCount":10,"$tb":3,"$acl":{"$r":["$all"],"$w":"ann"}}"#,
        r#"{"$tb":9223372036854775807}"#,
    ];
    texts.map(|text| text.as_bytes().to_vec()).into()
}
