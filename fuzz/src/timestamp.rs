//! A text that is taken as a time comes back as it was; a time that is made is taken back.

use annal::model::Timestamp;

use crate::input::Input;

pub fn run(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input)
        && let Ok(time) = text.parse::<Timestamp>()
    {
        assert_eq!(time.to_string(), text);
    }
    let mut input = Input(input);
    let (seconds, nanos, decimals) = (input.number(), input.number(), input.byte());
    let seconds = seconds.cast_signed();
    let nanos = u32::try_from(nanos % 2_000_000_000).unwrap();
    if let Ok(time) = Timestamp::new(seconds, nanos, decimals % 12) {
        assert_eq!(time.to_string().parse(), Ok(time));
    }
    let time = Timestamp::from_micros(seconds);
    assert_eq!(time.to_string().parse(), Ok(time));
}

pub fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "2026-11-28T18:43:00Z",
        "2024-02-29T23:59:59.999999999Z",
        "0001-01-01T00:00:00.5Z",
        "9999-12-31T23:59:59.000001Z",
        "1969-12-31T23:59:59.1Z",
    ];
    let parts = [
        (0u64, 0u64),
        (1_735_689_600, 123_456_789),
        (u64::MAX, 999_999_999),
    ];
    let parts = parts.map(|(seconds, nanos)| {
        let mut bytes = [seconds.to_le_bytes(), nanos.to_le_bytes()].concat();
        bytes.push(9);
        bytes
    });
    texts
        .map(|text| text.as_bytes().to_vec())
        .into_iter()
        .chain(parts)
        .collect()
}
