//! Records: what the second version calls events.
//!
//! A record's properties and its schema are kept as the event's metadata, a JSON object, which is
//! how readers get them.

use std::collections::BTreeMap;

use prost::Message;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use serde_json::{Map, Number, Value as Json};
use unicode_normalization::is_nfc;
use uuid::Uuid;

use super::refused::{Refused, invalid};
use crate::grpc::wire::kurrentdb::protocol::v2::streams::{AppendRecord, SchemaFormat, SchemaInfo};
use crate::model::{ContentType, EventType, NewEvent, StreamName};

/// How deep the values of a property may lie in each other.
const DEPTH_MAX: usize = 64;
/// Up to here every whole number is one of its own in a double.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// A stream that records go to.
pub(super) fn stream(name: String) -> Result<StreamName, Refused> {
    StreamName::new(name).map_err(|error| invalid("stream", error.to_string()))
}

/// An event made of a record, and how many bytes it counts.
pub(super) fn event(record: AppendRecord) -> Result<(NewEvent, usize), Refused> {
    let properties_len: usize = record
        .properties
        .iter()
        .map(|(key, value)| key.len() + value.encoded_len())
        .sum();
    let AppendRecord {
        record_id,
        properties,
        schema,
        data,
        ..
    } = record;
    let missing = || invalid("schema", "a record has a schema");
    let SchemaInfo { format, name, id } = schema.ok_or_else(missing)?;
    let (format, content_type) = match SchemaFormat::try_from(format) {
        Ok(SchemaFormat::Json) => ("Json", ContentType::Json),
        Ok(SchemaFormat::Protobuf) => ("Protobuf", ContentType::Binary),
        Ok(SchemaFormat::Avro) => ("Avro", ContentType::Binary),
        Ok(SchemaFormat::Bytes) => ("Bytes", ContentType::Binary),
        Ok(SchemaFormat::Unspecified) | Err(_) => {
            return Err(invalid("schema.format", "there is no such format"));
        }
    };
    let in_a_name = |c: char| c.is_alphanumeric() || "_.$:-".contains(c);
    if name.is_empty() || !name.chars().all(in_a_name) || !is_nfc(&name) {
        return Err(invalid(
            "schema.name",
            "a schema's name is made of letters, digits and _.$:-, composed as in NFC",
        ));
    }
    let id_of_record = record_id.map_or_else(|| Ok(Uuid::new_v4()), |text| checked_id(&text))?;
    let mut metadata = Map::new();
    // Sorted, so that the same record always becomes the same bytes.
    for (key, value) in BTreeMap::from_iter(properties) {
        metadata.insert(key, json(value, DEPTH_MAX)?);
    }
    let len_bytes = data.len() + properties_len + name.len();
    metadata.insert("$schema.name".to_owned(), name.clone().into());
    metadata.insert("$schema.format".to_owned(), format.into());
    if let Some(id) = id {
        metadata.insert("$schema.id".to_owned(), id.into());
    }
    let event_type =
        EventType::new(name).map_err(|error| invalid("schema.name", error.to_string()))?;
    let event = NewEvent {
        id: id_of_record,
        event_type,
        content_type,
        data,
        metadata: Json::Object(metadata).to_string().into(),
        tags: Vec::new(),
        created: None,
    };
    Ok((event, len_bytes))
}

fn checked_id(text: &str) -> Result<Uuid, Refused> {
    match Uuid::try_parse(text) {
        Ok(id) if !id.is_nil() => Ok(id),
        _ => Err(invalid("record_id", format!("{text:?} is no id"))),
    }
}

/// A property as JSON.
fn json(value: Value, depth: usize) -> Result<Json, Refused> {
    let problem = |problem: &str| invalid("properties", problem);
    let Some(depth) = depth.checked_sub(1) else {
        return Err(problem("the values lie too deep in each other"));
    };
    let kind = value.kind.ok_or_else(|| problem("a value has a kind"))?;
    Ok(match kind {
        Kind::NullValue(_) => Json::Null,
        Kind::BoolValue(yes) => yes.into(),
        Kind::StringValue(text) => text.into(),
        Kind::NumberValue(number) => {
            Json::Number(json_number(number).ok_or_else(|| problem("JSON has no such number"))?)
        }
        Kind::ListValue(ListValue { values }) => {
            let values = values.into_iter().map(|value| json(value, depth));
            Json::Array(values.collect::<Result<_, _>>()?)
        }
        Kind::StructValue(Struct { fields }) => {
            let fields = fields.into_iter();
            let fields = fields.map(|(key, value)| json(value, depth).map(|value| (key, value)));
            Json::Object(fields.collect::<Result<_, _>>()?)
        }
    })
}

/// Whole numbers have no decimals.
fn json_number(number: f64) -> Option<Number> {
    match number.fract() == 0.0 && number.abs() <= WHOLE_MAX {
        true => format!("{number:.0}").parse().ok(),
        false => Number::from_f64(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, format: SchemaFormat) -> AppendRecord {
        AppendRecord {
            schema: Some(SchemaInfo {
                format: format.into(),
                name: name.to_owned(),
                id: None,
            }),
            ..AppendRecord::default()
        }
    }

    fn value(kind: Kind) -> Value {
        Value { kind: Some(kind) }
    }

    #[test]
    fn properties_and_schema_become_metadata() {
        let mut given = record("order-placed", SchemaFormat::Json);
        let list = ListValue {
            values: vec![value(Kind::NumberValue(2.0)), value(Kind::NullValue(0))],
        };
        given
            .properties
            .insert("b".into(), value(Kind::ListValue(list)));
        given
            .properties
            .insert("a".into(), value(Kind::NumberValue(-1.5)));
        let (event, _) = event(given).expect("it is a record");
        let text =
            r#"{"a":-1.5,"b":[2,null],"$schema.name":"order-placed","$schema.format":"Json"}"#;
        assert_eq!(event.metadata, text);
        assert_eq!(event.content_type, ContentType::Json);
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let bytes = SchemaFormat::Bytes;
        let mut without_kind = record("a", bytes);
        without_kind
            .properties
            .insert("a".into(), Value { kind: None });
        let mut not_a_number = record("a", bytes);
        let nan = value(Kind::NumberValue(f64::NAN));
        not_a_number.properties.insert("a".into(), nan);
        let mut nil = record("a", bytes);
        nil.record_id = Some(Uuid::nil().to_string());
        let nested = (0..100).fold(value(Kind::BoolValue(true)), |inner, _| {
            value(Kind::ListValue(ListValue {
                values: vec![inner],
            }))
        });
        let mut deep = record("a", bytes);
        deep.properties.insert("a".into(), nested);
        for wrong in [
            AppendRecord::default(),
            record("", bytes),
            record("a b", bytes),
            // A letter and its accent apart; an ohm, which stands for a letter.
            record("cafe\u{301}", bytes),
            record("\u{2126}", bytes),
            record("a", SchemaFormat::Unspecified),
            without_kind,
            not_a_number,
            nil,
            deep,
        ] {
            assert!(event(wrong.clone()).is_err(), "{wrong:?}");
        }
        assert!(event(record("caf\u{e9}", bytes)).is_ok());
    }
}
