//! JSON that two readers could read differently: an object in which a name appears twice (RFC 8259 §4).

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::BTreeSet;
use std::fmt;

/// Whether a name appears twice in an object of `text`, at any depth. `text` is JSON that was parsed already, and so is
/// nested no deeper than `serde_json` goes.
pub fn has_repeated_names(text: &str) -> bool {
    let are_within = |values: Vec<&RawValue>| values.iter().any(|value| has_repeated_names(value.get()));
    match text.trim_start().as_bytes().first() {
        Some(b'{') => match serde_json::from_str::<Object>(text) {
            Ok(object) => are_within(object.0),
            Err(error) => error.is_data(),
        },
        Some(b'[') => serde_json::from_str::<Vec<&RawValue>>(text).is_ok_and(are_within),
        _ => false,
    }
}

/// The values of an object of which each name appears once.
struct Object<'t>(Vec<&'t RawValue>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<'de>, D::Error> {
        deserializer.deserialize_map(Object(Vec::new()))
    }
}

impl<'de> Visitor<'de> for Object<'de> {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<Object<'de>, A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(name) = object.next_key::<String>()? {
            if !seen.insert(name) {
                return Err(A::Error::custom("a name appears twice"));
            }
            self.0.push(object.next_value()?);
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_appears_twice_is_found_at_any_depth_however_it_is_escaped() {
        for text in
            [r#"{"a":1,"a":1}"#, r#"{"a":1,"b":{"c":[{"d":1,"d":2}]}}"#, r#"{"access_token":1,"access\u005ftoken":2}"#]
        {
            assert!(has_repeated_names(text), "{text}");
        }
        for text in [r#"{"a":{"a":1},"b":[{"a":1},{"a":-2.5,"A":null}],"c":"x","d":true}"#, "[]", "1", "", "{", "[1"] {
            assert!(!has_repeated_names(text), "{text}");
        }
    }
}
