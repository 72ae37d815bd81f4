//! Names and tags are refused or kept exactly, and keep their limits.
#![no_main]

use annal::model::{ContentType, EventType, StreamName, Tag};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let bytes = Bytes::copy_from_slice(input);
    if let Ok(stream) = StreamName::from_bytes(bytes.clone()) {
        assert_eq!(stream.as_str().as_bytes(), input);
        assert!((1..=StreamName::LEN_BYTES_MAX).contains(&input.len()));
        if let Some(metadata) = stream.metadata_stream() {
            assert_eq!(metadata.described(), Some(stream.as_str()));
            assert!(metadata.is_system());
        }
        let _ = stream.category();
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
});
