//! JSON that two readers could read differently: an object in which a name appears twice (RFC 8259 §4).

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeSet;
use std::fmt;

/// Whether a name appears twice in an object of `text`, at any depth. `text` is valid JSON; what is none has no names.
pub fn has_repeated_names(text: &str) -> bool {
    serde_json::from_str::<Names>(text).is_err_and(|error| error.is_data())
}

/// A value of which the names alone are looked at.
struct Names;

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Names, D::Error> {
        deserializer.deserialize_any(Names)
    }
}

impl<'de> Visitor<'de> for Names {
    type Value = Names;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Names, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Names, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Names, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Names, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Names, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Names, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Names, A::Error> {
        while list.next_element::<Names>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Names, A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(name) = object.next_key::<String>()? {
            if !seen.insert(name) {
                return Err(A::Error::custom("a name appears twice"));
            }
            object.next_value::<Names>()?;
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
        for text in [r#"{"a":{"a":1},"b":[{"a":1},{"a":-2.5,"A":null}],"c":"x","d":true}"#, "[]", "1", "", "{"] {
            assert!(!has_repeated_names(text), "{text}");
        }
    }
}
