//! Which conversation an event belongs to.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::{StreamName, VirtualStream};

/// The correlation id in the metadata of an event: the text that it has as JSON under
/// `$correlationId`, written just so, if `$bc-ID` can be the name of a stream.
#[must_use]
pub fn correlation_id(metadata: &[u8]) -> Option<String> {
    let name = VirtualStream::CORRELATION_ID.trim_start_matches('$');
    // Few events have one, and looking is cheaper than parsing.
    let mut behind_dollars = metadata.split(|byte| *byte == b'$').skip(1);
    if !behind_dollars.any(|text| text.starts_with(name.as_bytes())) {
        return None;
    }
    let mut object: BTreeMap<String, &RawValue> = serde_json::from_slice(metadata).ok()?;
    let value = object.remove(VirtualStream::CORRELATION_ID)?;
    let id: String = serde_json::from_str(value.get()).ok()?;
    let is_name = !id.is_empty() && StreamName::new(format!("$bc-{id}")).is_ok();
    is_name.then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_text_in_the_outermost_object() {
        let id = |json: &str| correlation_id(json.as_bytes());
        let found = Some("a-1".to_owned());
        assert_eq!(id(r#"{"$correlationId":"a-1"}"#), found);
        assert_eq!(
            id(r#"{"x":{"y":"$"},"$correlationId" : "a\u002d1"}"#),
            found
        );
        assert_eq!(
            id(r#"{"$correlationId":"b","$correlationId":"a-1"}"#),
            found
        );
        for json in [
            "",
            "$correlationId",
            r#"{"$correlationId":"a-1"} x"#,
            r#"{"$correlationId":"a-1",}"#,
            "[]",
            r#"{"$correlationId":7}"#,
            r#"{"$correlationId":""}"#,
            r#"{"$correlationId":"a\n"}"#,
            r#"{"x":{"$correlationId":"a-1"}}"#,
            r#"{"correlationId":"a-1"}"#,
        ] {
            assert_eq!(id(json), None, "{json}");
        }
        let long = format!(r#"{{"$correlationId":"{}"}}"#, "x".repeat(1_021));
        assert_eq!(id(&long), None);
    }
}
