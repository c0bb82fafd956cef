//! The values of any reply: what counts as absent, as a number, as true.

use serde_json::{Map, Value};

/// `null`, empty and absent are the same.
pub fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_str() == Some("")
}

/// A number, or a string that is one.
pub fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(n) => n.as_f64(),
        Value::String(text) => {
            let text = text.trim();
            let plain = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
            // Rust would also take `inf` and `nan`.
            if plain && text.bytes().any(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
        }
        _ => None,
    }
    .filter(|n: &f64| n.is_finite())
}

/// Whether two scalars are the same by value: `1`, `1.0` and `"1"` are three JSON values and one code.
pub fn same(a: &Value, b: &Value) -> bool {
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a == b,
        _ => match (a, b) {
            (Value::String(a), Value::String(b)) => a == b,
            (Value::Bool(_), _) | (_, Value::Bool(_)) => flag(a).is_some() && flag(a) == flag(b),
            _ => false,
        },
    }
}

/// `true` or `false`, as strings too: a form has nothing else.
pub fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) if text == "true" => Some(true),
        Value::String(text) if text == "false" => Some(false),
        _ => None,
    }
}

/// The first value that is there, of JSON Pointers (RFC 6901).
pub fn first<'v>(value: &'v Value, places: &[String]) -> Option<&'v Value> {
    found(value, places).map(|(_, value)| value)
}

/// The same, and its place.
pub fn found<'v, 'p>(value: &'v Value, places: &'p [String]) -> Option<(&'p str, &'v Value)> {
    let mut there = places.iter().filter_map(|place| Some((place.as_str(), value.pointer(place)?)));
    there.find(|(_, value)| !is_empty(value))
}

/// The member `name`; `None` if it is absent, null or empty.
pub fn member<'m>(object: &'m Map<String, Value>, name: &str) -> Option<&'m Value> {
    object.get(name).filter(|value| !is_empty(value))
}

/// The first of the members `names` that is a string.
pub fn text<'m>(object: &'m Map<String, Value>, names: &[&str]) -> Option<&'m str> {
    names.iter().find_map(|name| member(object, name)?.as_str())
}

/// The member `name` as a whole number, rounded up: a wait must not be shortened.
pub fn whole(object: &Map<String, Value>, name: &str) -> Option<i64> {
    Some(number(member(object, name)?)?.ceil() as i64)
}

/// The value at the first of `places` that is there, as a whole number, rounded up.
pub fn whole_at(value: &Value, places: &[String]) -> Option<i64> {
    Some(number(first(value, places)?)?.ceil() as i64)
}

/// A list of names: a JSON list of strings, or one string of them with spaces or commas between.
pub fn names(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Array(items) => Some(items.iter().filter_map(Value::as_str).map(str::to_string).collect()),
        Value::String(text) => Some(
            text.split(|c: char| c.is_ascii_whitespace() || c == ',')
                .filter(|name| !name.is_empty())
                .map(str::to_string)
                .collect(),
        ),
        _ => None,
    }
}
