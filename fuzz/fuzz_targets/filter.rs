//! No pattern that is taken makes matching panic, and prefixes match what begins with them.
#![no_main]

use annal::model::{EventFilter, FilterTarget};
use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    pattern: &'a str,
    prefixes: Vec<&'a str>,
    stream: &'a str,
    event_type: &'a str,
}

fuzz_target!(|input: Input<'_>| {
    let Input {
        pattern,
        prefixes,
        stream,
        event_type,
    } = input;
    for target in [FilterTarget::Stream, FilterTarget::EventType] {
        if let Ok(filter) = EventFilter::pattern(target, pattern) {
            let _ = filter.matches(stream, event_type);
        }
    }
    if let Ok(filter) = EventFilter::prefixes(FilterTarget::Stream, prefixes.iter().copied()) {
        let expected = prefixes.iter().any(|prefix| stream.starts_with(prefix));
        assert_eq!(filter.matches(stream, event_type), Ok(expected));
    }
});
