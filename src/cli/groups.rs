//! Which lines become one append: adjacent ones that have the same value at a place in the line.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use thiserror::Error;

use super::input::InputError;
use super::ndjson::Line;

/// The most events of one append.
pub const APPEND_EVENTS_MAX: usize = 65_536;
/// The longest append, in bytes.
pub const APPEND_LEN_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What an event adds to an append beside its texts and bytes; never less than a record header.
const EVENT_OVERHEAD_BYTES: usize = 64;

/// A JSON pointer (RFC 6901) such as `/metadata/commit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer(Vec<String>);

/// Why a text is not a JSON pointer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "not a JSON pointer: it begins with / and names a key at each further /, as in \
     /metadata/commit (~1 stands for / in a key, and ~0 for ~)"
)]
pub struct InvalidPointer;

impl FromStr for Pointer {
    type Err = InvalidPointer;

    fn from_str(text: &str) -> Result<Self, InvalidPointer> {
        let keys = text.strip_prefix('/').ok_or(InvalidPointer)?.split('/');
        let unescaped = keys.map(|key| {
            let mut tildes = key.split('~').skip(1);
            match tildes.all(|behind| behind.starts_with(['0', '1'])) {
                true => Ok(key.replace("~1", "/").replace("~0", "~")),
                false => Err(InvalidPointer),
            }
        });
        unescaped.collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut keys = self.0.iter();
        keys.try_for_each(|key| write!(f, "/{}", key.replace('~', "~0").replace('/', "~1")))
    }
}

impl Pointer {
    /// The value in a line, as the text it has there; none for `null`.
    fn find(&self, line: &Bytes) -> Option<Bytes> {
        let whole = std::str::from_utf8(line).ok()?;
        let found = self.0.iter().try_fold(whole, |text, key| {
            let mut json = serde_json::Deserializer::from_str(text);
            Child(key).deserialize(&mut json).ok()?.map(RawValue::get)
        })?;
        (found != "null").then(|| line.slice_ref(found.as_bytes()))
    }
}

/// The value under a key of an object, or at an index of an array.
struct Child<'k>(&'k str);

impl<'de> DeserializeSeed<'de> for Child<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Child<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is_it) = map.next_key_seed(IsKey(self.0))? {
            match is_it {
                true => found = Some(map.next_value()?),
                false => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let index: Option<usize> = match self.0.starts_with(['0', '+']) && self.0 != "0" {
            true => None,
            false => self.0.parse().ok(),
        };
        let mut found = None;
        let mut at = 0usize;
        while let Some(item) = items.next_element()? {
            if index == Some(at) {
                found = Some(item);
            }
            at += 1;
        }
        Ok(found)
    }
}

/// Whether a key is the one, without copying it.
struct IsKey<'k>(&'k str);

impl<'de> DeserializeSeed<'de> for IsKey<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<bool, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for IsKey<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

/// Whether two JSON texts are the same value: in another order of keys, or with other escapes, too.
fn equal(one: &[u8], other: &[u8]) -> bool {
    let value = |text| serde_json::from_slice::<Value>(text);
    one == other || matches!((value(one), value(other)), (Ok(one), Ok(other)) if one == other)
}

/// Groups the lines of an input into appends: adjacent lines with an equal value at a pointer
/// belong together, and every other line is a group of its own.
#[derive(Debug)]
pub struct Groups<I> {
    lines: I,
    pointer: Option<Pointer>,
    /// The first line of the next group, with its value.
    ahead: Option<(Line, Option<Bytes>)>,
    ended: bool,
}

impl<I: Iterator<Item = Result<(u64, Bytes), InputError>>> Groups<I> {
    /// Groups numbered lines; each line by itself if there is no pointer.
    pub fn new(lines: I, pointer: Option<Pointer>) -> Self {
        Self {
            lines,
            pointer,
            ahead: None,
            ended: false,
        }
    }

    fn next_line(&mut self) -> Result<Option<(Line, Option<Bytes>)>, InputError> {
        if let Some(ahead) = self.ahead.take() {
            return Ok(Some(ahead));
        }
        let Some((number, text)) = self.lines.next().transpose()? else {
            return Ok(None);
        };
        let line = Line::parse(number, &text)?;
        Ok(Some((
            line,
            self.pointer
                .as_ref()
                .and_then(|pointer| pointer.find(&text)),
        )))
    }

    fn next_group(&mut self) -> Result<Option<Vec<Line>>, InputError> {
        let Some((first, value)) = self.next_line()? else {
            return Ok(None);
        };
        let first_line = first.number;
        let mut len_bytes = first.len_bytes() + EVENT_OVERHEAD_BYTES;
        let mut group = vec![first];
        let Some(value) = value else {
            return Ok(Some(group));
        };
        while let Some((line, other)) = self.next_line()? {
            if !other.as_ref().is_some_and(|other| equal(&value, other)) {
                self.ahead = Some((line, other));
                break;
            }
            len_bytes += line.len_bytes() + EVENT_OVERHEAD_BYTES;
            if group.len() == APPEND_EVENTS_MAX || len_bytes > APPEND_LEN_BYTES_MAX {
                return Err(self.too_large(first_line, line.number, &value));
            }
            group.push(line);
        }
        Ok(Some(group))
    }

    fn too_large(&self, first_line: u64, last_line: u64, value: &[u8]) -> InputError {
        let value = String::from_utf8_lossy(value);
        InputError::GroupTooLarge {
            first_line,
            last_line,
            value: value.chars().take(80).collect(),
            pointer: self
                .pointer
                .as_ref()
                .map(Pointer::to_string)
                .unwrap_or_default(),
            events_max: APPEND_EVENTS_MAX,
            len_bytes_max: APPEND_LEN_BYTES_MAX,
        }
    }
}

impl<I: Iterator<Item = Result<(u64, Bytes), InputError>>> Iterator for Groups<I> {
    type Item = Result<Vec<Line>, InputError>;

    /// At least one line; ends after the first error. The lines of a group whose end was not
    /// reached, because what follows is wrong, are not given out.
    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let group = self.next_group();
        self.ended = !matches!(group, Ok(Some(_)));
        group.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    use crate::cli::input::Lines;

    fn pointer(text: &str) -> Pointer {
        text.parse().unwrap()
    }

    fn found(at: &str, line: &str) -> Option<String> {
        let line = Bytes::copy_from_slice(line.as_bytes());
        let value = pointer(at).find(&line)?;
        Some(String::from_utf8(value.to_vec()).unwrap())
    }

    /// The line numbers of each group, and the error at the end.
    fn grouped(at: Option<&str>, metadata: &[&str]) -> (Vec<Vec<u64>>, Option<InputError>) {
        let lines = metadata.iter().map(|metadata| {
            format!("{{\"stream\":\"a\",\"type\":\"T\",\"data\":1,\"metadata\":{metadata}}}\n")
        });
        let text: String = lines.collect();
        let lines = Lines::from_reader(Cursor::new(text.into_bytes()), None).unwrap();
        let mut numbers = Vec::new();
        for group in Groups::new(lines, at.map(pointer)) {
            match group {
                Ok(group) => numbers.push(group.iter().map(|line| line.number).collect()),
                Err(error) => return (numbers, Some(error)),
            }
        }
        (numbers, None)
    }

    #[test]
    fn a_pointer_finds_what_rfc_6901_says() {
        let line = r#"{"a":{"b/c":[10,{"~":"x"}],"":7,"a":1,"a":2},"n":null,"1":5}"#;
        assert_eq!(found("/a/b~1c/0", line).as_deref(), Some("10"));
        assert_eq!(found("/a/b~1c/1/~0", line).as_deref(), Some("\"x\""));
        assert_eq!(found("/a/", line).as_deref(), Some("7"));
        assert_eq!(found("/a/a", line).as_deref(), Some("2"));
        assert_eq!(found("/1", line).as_deref(), Some("5"));
        for nothing in [
            "/b",
            "/n",
            "/a/b~1c/2",
            "/a/b~1c/00",
            "/a/b~1c/-",
            "/1/x",
            "/n/x",
        ] {
            assert_eq!(found(nothing, line), None, "{nothing}");
        }
        for text in ["/a/b~1c/0", "/", "/a//", "/~0~1"] {
            assert_eq!(pointer(text).to_string(), text);
        }
        for text in ["", "a", "/~", "/~2", "/a~"] {
            assert!(text.parse::<Pointer>().is_err(), "{text}");
        }
    }

    #[test]
    fn adjacent_lines_with_an_equal_value_are_one_group() {
        let one = r#"{"commit":"x"}"#;
        let same = r#"{"n":1,"commit":"\u0078"}"#;
        let other = r#"{"commit":"y"}"#;
        let (groups, error) = grouped(Some("/metadata/commit"), &[one, same, other, one, one]);
        assert_eq!(groups, [vec![1, 2], vec![3], vec![4, 5]]);
        assert!(error.is_none());
    }

    #[test]
    fn lines_without_the_value_stand_alone() {
        let lines = ["{}", "{}", r#"{"commit":null}"#, r#"{"commit":null}"#, "[]"];
        let (groups, _) = grouped(Some("/metadata/commit"), &lines);
        assert_eq!(groups, [vec![1], vec![2], vec![3], vec![4], vec![5]]);
        let (groups, _) = grouped(None, &[r#"{"commit":1}"#; 2]);
        assert_eq!(groups, [vec![1], vec![2]]);
    }

    #[test]
    fn a_group_before_a_bad_line_is_not_given_out() {
        let (groups, error) = grouped(Some("/metadata/c"), &[r#"{"c":1}"#, r#"{"c":2}"#, "{"]);
        assert_eq!(groups, [vec![1]]);
        assert!(error.unwrap().to_string().starts_with("line 3: "));
    }

    #[test]
    fn a_group_is_not_larger_than_an_append() {
        let line = r#"{"commit":"x"}"#;
        let (groups, error) = grouped(Some("/metadata/commit"), &vec![line; APPEND_EVENTS_MAX]);
        assert_eq!(groups[0].len(), APPEND_EVENTS_MAX);
        assert!(error.is_none());
        let (groups, error) = grouped(Some("/metadata/commit"), &vec![line; APPEND_EVENTS_MAX + 1]);
        assert!(groups.is_empty());
        let message = error.unwrap().to_string();
        let start = "lines 1 to 65537 all have \"x\" at /metadata/commit, and one append takes";
        assert!(message.starts_with(start), "{message}");
        let long = format!(r#"{{"commit":"x","fill":"{}"}}"#, "x".repeat(6 << 20));
        let (groups, error) = grouped(Some("/metadata/commit"), &[&long, &long, &long]);
        assert!(groups.is_empty());
        assert!(matches!(
            error,
            Some(InputError::GroupTooLarge { last_line: 3, .. })
        ));
        assert!(
            grouped(Some("/metadata/commit"), &[&long, &long])
                .1
                .is_none()
        );
    }
}
