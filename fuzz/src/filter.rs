//! No pattern that is taken makes matching panic, and prefixes match what begins with them.

use annal::model::{EventFilter, FilterTarget};

use crate::input::{Input, of_parts};

pub fn run(input: &[u8]) {
    let mut input = Input(input);
    let (Some(pattern), Some(stream), Some(event_type)) =
        (input.text(), input.text(), input.text())
    else {
        return;
    };
    for target in [FilterTarget::Stream, FilterTarget::EventType] {
        if let Ok(filter) = EventFilter::pattern(target, pattern) {
            let _matched = filter.matches(stream, event_type);
        }
    }
    let mut prefixes = Vec::new();
    while !input.0.is_empty() {
        prefixes.extend(input.text());
    }
    if let Ok(filter) = EventFilter::prefixes(FilterTarget::Stream, prefixes.iter().copied()) {
        let expected = prefixes.iter().any(|prefix| stream.starts_with(prefix));
        assert_eq!(filter.matches(stream, event_type), Ok(expected));
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let inputs: [&[&str]; 7] = [
        &["^order-[0-9]+$", "order-17", "Placed", "order-", "invoice-"],
        &["^(?!\\$).*", "$all", "$metadata", "$"],
        &["(a|b)*c{2,3}?", "ababcc", "x"],
        &["^(a+)+$", "aaaaaaaaaaaaaaaaaaaaaaaa!", "x", ""],
        &["(?i)\\p{Lu}(?<=x)y\\b", "XY", "\u{c9}t\u{e9}"],
        &["(\\w)\\1", "aa", "bb"],
        // A condition on a group that is not there.
        &["^(?(2)i)a", "$"],
    ];
    inputs.map(of_parts).into()
}
