//! A text that is taken as a time comes back as it was; a time that is made is taken back.
#![no_main]

use annal::model::Timestamp;
use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    Text(&'a str),
    Parts {
        seconds: i64,
        nanos: u32,
        decimals: u8,
    },
    Micros(i64),
}

fuzz_target!(|input: Input<'_>| {
    match input {
        Input::Text(text) => {
            if let Ok(time) = text.parse::<Timestamp>() {
                assert_eq!(time.to_string(), text);
            }
        }
        Input::Parts {
            seconds,
            nanos,
            decimals,
        } => {
            if let Ok(time) = Timestamp::new(seconds, nanos, decimals) {
                assert_eq!(time.to_string().parse(), Ok(time));
            }
        }
        Input::Micros(micros) => {
            let time = Timestamp::from_micros(micros);
            assert_eq!(time.to_string().parse(), Ok(time));
        }
    }
});
