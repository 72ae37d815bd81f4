//! State records, for the reader of stores: their changes in units, and the file that says what
//! they are at a place.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::manifest::State;
use super::{Files, Input, envelope};

/// What the state records are, by space and key.
pub(crate) type States = BTreeMap<(u8, Bytes), Bytes>;

/// Reads the change that stands in a trailer.
pub(super) fn change(input: &mut Input<'_>) -> (u8, Bytes, Option<Bytes>) {
    let space = u8::try_from(input.number(1)).unwrap();
    assert_ne!(space, 0);
    let len = input.length();
    let key = input.text(len);
    let value = input.length().checked_sub(1).map(|len| input.text(len));
    (space, key, value)
}

/// The last one counts.
pub(super) fn apply(states: &mut States, space: u8, key: Bytes, value: Option<Bytes>) {
    match value {
        Some(value) => states.insert((space, key), value),
        None => states.remove(&(space, key)),
    };
}

/// Reads the file that the manifest names, if there was anything to keep.
pub(super) fn state_file(files: &Files, entry: &State) -> States {
    let mut states = States::new();
    if entry.number == 0 || entry.len == 0 {
        return states;
    }
    let file = &files[&format!("state-{:08x}", entry.number)];
    let mut input = envelope(file, entry.len, b"AnSr");
    assert_eq!(entry.len, file.len());
    assert_eq!(input.number(4), entry.number);
    loop {
        let space = u8::try_from(input.number(1)).unwrap();
        if space == 0 {
            break;
        }
        let len = input.length();
        let key = input.text(len);
        let len = input.length();
        let value = input.text(len);
        let before = states.last_key_value().map(|(key, _)| key.clone());
        assert!(before < Some((space, key.clone())), "out of order");
        states.insert((space, key), value);
    }
    let requests = input.0;
    assert_eq!(requests.len() % 36, 0);
    states
}
