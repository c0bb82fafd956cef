//! XML as the JSON that pointers lead through, see [`crate::provider::BodyFormat::Xml`].

use roxmltree::{Document, Node};
use serde_json::{Map, Value};

/// How deep elements may stand in each other.
const DEEPEST: usize = 64;

/// The document in `text`, as an object with its root element.
///
/// # Errors
/// What it is instead.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let text = text.trim_start_matches('\u{feff}').trim();
    if !text.starts_with('<') {
        return Err("it is not XML".into());
    }
    // A parser that goes into each element is not to run out of stack.
    let (mut depth, mut deepest) = (0_usize, 0);
    for (at, _) in text.match_indices('<') {
        match text.as_bytes().get(at + 1) {
            Some(b'/') => depth = depth.saturating_sub(1),
            Some(b'!' | b'?') | None => {}
            Some(_) => depth += 1,
        }
        // An element that is empty by its own tag closes itself.
        if text[at..].split('>').next().is_some_and(|tag| tag.ends_with('/')) {
            depth = depth.saturating_sub(1);
        }
        deepest = deepest.max(depth);
    }
    if deepest > DEEPEST {
        return Err("it is XML that is nested too deep".into());
    }
    let document = Document::parse(text).map_err(|why| match why {
        roxmltree::Error::DtdDetected => "it is XML with a document type (DTD), which is not read".to_string(),
        _ => "it is not XML".to_string(),
    })?;
    let root = document.root_element();
    Ok(Value::Object(Map::from_iter([(root.tag_name().name().to_string(), value(root, 0))])))
}

fn value(node: Node, depth: usize) -> Value {
    let mut object = Map::new();
    for attribute in node.attributes() {
        object.insert(format!("@{}", attribute.name()), attribute.value().into());
    }
    let mut text = String::new();
    for child in node.children().filter(|_| depth < DEEPEST) {
        if child.is_text() {
            text.push_str(child.text().unwrap_or_default());
        } else if child.is_element() {
            let (name, inner) = (child.tag_name().name().to_string(), value(child, depth + 1));
            match object.get_mut(&name) {
                Some(Value::Array(list)) => list.push(inner),
                Some(first) => *first = Value::Array(vec![first.take(), inner]),
                None => drop(object.insert(name, inner)),
            }
        }
    }
    let text = text.trim();
    match (object.is_empty(), text.is_empty()) {
        (true, _) => text.into(),
        (false, true) => Value::Object(object),
        (false, false) => {
            object.insert("#text".into(), text.into());
            Value::Object(object)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn elements_are_objects() {
        let text = "<?xml version=\"1.0\"?>\n<s:Envelope xmlns:s=\"urn:x\"><s:Body a=\"1\"><n>one</n><n> two &amp; </n>\
                    <e/><t k=\"v\">text</t><!-- no --><c><![CDATA[<raw>]]></c></s:Body></s:Envelope>";
        let body = json!({"@a": "1", "n": ["one", "two &"], "e": "", "t": {"@k": "v", "#text": "text"}, "c": "<raw>"});
        assert_eq!(parse(text), Ok(json!({"Envelope": {"Body": body}})));
    }

    #[test]
    fn what_is_no_xml_or_grows_is_refused() {
        let deep = format!("{}x{}", "<a>".repeat(300_000), "</a>".repeat(300_000));
        let wide = format!("<a>{}</a>", "<b/>".repeat(10_000));
        let bomb = "<!DOCTYPE a [<!ENTITY b \"bbbb\"><!ENTITY c \"&b;&b;&b;\">]><a>&c;</a>";
        let outside = "<!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]><a>&b;</a>";
        for text in ["", "{}", "<a>", "<a></b>", "<a>&nbsp;</a>", "<!doctype html><html><p>no", &deep, bomb, outside] {
            assert!(parse(text).is_err(), "{}", &text[..text.len().min(60)]);
        }
        assert!(parse(bomb).is_err_and(|why| why.contains("DTD")));
        assert!(parse(&wide).is_ok());
    }
}
