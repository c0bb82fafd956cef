//! The functions of a template: a closed list, each pure. The clock and random bytes are values like any other, under
//! names that no file can write.

use super::template::{Gap, Piece, Template};
use ring::{digest, hmac};
use zeroize::Zeroizing;

/// The value with the clock, in milliseconds since 1970.
pub const NOW: &str = "*now";
/// The value with 16 random bytes, as 32 hexadecimal digits.
pub const RANDOM: &str = "*random";
/// The value that asks for words in the place of what is computed, with [`MARKS`] in them.
pub const WORDS: &str = "*words";
/// What stands for `(`, `)` and `, ` in such words: letters alone, which no encoding changes.
pub const MARKS: [(&str, &str); 3] = [("TOKOPEN", "("), ("TOKCLOSE", ")"), ("TOKNEXT", ", ")];

/// How deep functions may stand in each other.
const DEEPEST: usize = 8;

/// A function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// RFC 4648 §4
    Base64,
    /// RFC 4648 §5, without padding
    Base64Url,
    /// Lower-case hexadecimal digits.
    Hex,
    /// FIPS 180-4, the bytes
    Sha256,
    /// RFC 2104, the bytes; the key comes first
    HmacSha256,
    /// A random UUID (RFC 9562 §5.4).
    Uuid,
    /// The time, in the format that its argument names.
    Now,
}

use Function::{Base64, Base64Url, Hex, HmacSha256, Now, Sha256, Uuid};

/// The functions by name, with the number of their arguments.
const FUNCTIONS: [(&str, Function, usize); 7] = [
    ("base64", Base64, 1),
    ("base64url", Base64Url, 1),
    ("hex", Hex, 1),
    ("sha256", Sha256, 1),
    ("hmac-sha256", HmacSha256, 2),
    ("uuid", Uuid, 0),
    ("now", Now, 1),
];

/// The formats of `now`.
const FORMATS: [&str; 3] = ["epoch", "epoch-millis", "rfc3339"];

/// What stands between the braces, with a function in it.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(text: &str) -> Result<Piece, String> {
    let mut parser = Parser { rest: text };
    let piece = parser.piece(0)?;
    match (&piece, parser.rest.trim_start()) {
        (_, rest) if !rest.is_empty() => {
            Err(format!("unexpected `{}` after the function", crate::base::text::escape(rest)))
        }
        (Piece::Made { function: Sha256 | HmacSha256, .. }, _) => {
            Err("a hash is bytes: write hex(…), base64(…) or base64url(…) around it".into())
        }
        (Piece::Made { .. }, _) => Ok(piece),
        _ => Err("expected a function".into()),
    }
}

struct Parser<'t> {
    rest: &'t str,
}

impl Parser<'_> {
    fn takes(&mut self, what: char) -> bool {
        let rest = self.rest.trim_start();
        let behind = rest.strip_prefix(what);
        self.rest = behind.unwrap_or(rest);
        behind.is_some()
    }

    fn piece(&mut self, depth: usize) -> Result<Piece, String> {
        if depth > DEEPEST {
            return Err(format!("functions stand in each other more than {DEEPEST} times"));
        }
        if self.takes('\'') {
            let (text, rest) = self.rest.split_once('\'').ok_or("unclosed `'`")?;
            self.rest = rest;
            return Ok(Piece::Text(text.into()));
        }
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        if self.takes('(') {
            return self.function(name, depth);
        }
        if !crate::base::name::is_value_name(name) {
            return Err("expected a value, a function or a text in '…'".into());
        }
        Ok(Piece::Value { name: name.into(), or: None, optional: self.takes('?') })
    }

    fn function(&mut self, name: &str, depth: usize) -> Result<Piece, String> {
        let Some((_, function, count)) = FUNCTIONS.into_iter().find(|(known, ..)| *known == name) else {
            let names = FUNCTIONS.map(|(name, ..)| name).join(", ");
            return Err(format!("unknown function `{}`; expected one of: {names}", crate::base::text::escape(name)));
        };
        let mut arguments = Vec::new();
        while !self.takes(')') {
            if !arguments.is_empty() && !self.takes(',') {
                return Err("expected `+`, `,` or `)`".into());
            }
            let mut argument = vec![self.piece(depth + 1)?];
            while self.takes('+') {
                argument.push(self.piece(depth + 1)?);
            }
            arguments.push(Template(argument));
        }
        if arguments.len() != count {
            return Err(format!(
                "{name} takes {count} argument{}, not {}",
                if count == 1 { "" } else { "s" },
                arguments.len()
            ));
        }
        if function == Now && !arguments[0].literal().is_some_and(|format| FORMATS.contains(&format)) {
            return Err(format!("now takes one of: '{}'", FORMATS.join("', '")));
        }
        Ok(Piece::Made { function, arguments })
    }
}

impl Function {
    fn name(self) -> &'static str {
        FUNCTIONS.iter().find(|(_, function, _)| *function == self).map_or("", |(name, ..)| name)
    }

    /// Whether each call makes another.
    pub fn differs(self) -> bool {
        matches!(self, Uuid | Now)
    }

    /// As it is written.
    pub(super) fn shown(self, arguments: &[Template]) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => format!("'{text}'"),
            Piece::Value { name, optional, .. } => format!("{name}{}", if *optional { "?" } else { "" }),
            Piece::Made { function, arguments } => function.shown(arguments),
        };
        let argument = |one: &Template| one.0.iter().map(piece).collect::<Vec<_>>().join(" + ");
        format!("{}({})", self.name(), arguments.iter().map(argument).collect::<Vec<_>>().join(", "))
    }

    /// What it makes, as text.
    ///
    /// # Errors
    /// A value is missing.
    pub(super) fn text<'v>(
        self,
        arguments: &[Template],
        value: &dyn Fn(&str) -> Option<&'v str>,
    ) -> Result<Zeroizing<String>, Gap> {
        if value(WORDS).is_some() {
            let [open, close, next] = MARKS.map(|(mark, _)| mark);
            let all = arguments.iter().map(|one| one.fill(value)).collect::<Result<Vec<_>, _>>()?;
            return Ok(Zeroizing::new(format!("{}{open}{}{close}", self.name(), all.join(next))));
        }
        let bytes = self.bytes(arguments, value)?;
        // Of a hash alone, which the parser refuses, no byte would be text.
        Ok(Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn bytes<'v>(
        self,
        arguments: &[Template],
        value: &dyn Fn(&str) -> Option<&'v str>,
    ) -> Result<Zeroizing<Vec<u8>>, Gap> {
        use base64::Engine;
        use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
        let argument = |at: usize| arguments.get(at).map_or(Ok(Zeroizing::default()), |one| joined(one, value));
        let known = |name: &str| value(name).ok_or_else(|| Gap::Missing(name.trim_start_matches('*').into()));
        let text = |text: String| Zeroizing::new(text.into_bytes());
        Ok(match self {
            Base64 => text(STANDARD.encode(&*argument(0)?)),
            Base64Url => text(URL_SAFE_NO_PAD.encode(&*argument(0)?)),
            Hex => text(argument(0)?.iter().map(|byte| format!("{byte:02x}")).collect()),
            Sha256 => Zeroizing::new(digest::digest(&digest::SHA256, &argument(0)?).as_ref().to_vec()),
            HmacSha256 => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, &argument(0)?);
                Zeroizing::new(hmac::sign(&key, &argument(1)?).as_ref().to_vec())
            }
            Uuid => text(uuid(known(RANDOM)?)),
            Now => {
                let millis: i64 = known(NOW)?.parse().unwrap_or_default();
                text(match arguments.first().and_then(Template::literal) {
                    Some("epoch-millis") => millis.to_string(),
                    Some("rfc3339") => crate::base::date::show(millis.div_euclid(1000)),
                    _ => millis.div_euclid(1000).to_string(),
                })
            }
        })
    }
}

/// The pieces of an argument, one behind the other.
fn joined<'v>(template: &Template, value: &dyn Fn(&str) -> Option<&'v str>) -> Result<Zeroizing<Vec<u8>>, Gap> {
    let mut all = Zeroizing::default();
    for piece in &template.0 {
        match piece {
            Piece::Made { function, arguments } => Vec::extend(&mut all, function.bytes(arguments, value)?.iter()),
            other => {
                let text = Zeroizing::new(Template(vec![other.clone()]).fill(value)?);
                Vec::extend(&mut all, text.as_bytes());
            }
        }
    }
    Ok(all)
}

/// RFC 9562 §5.4, of 32 hexadecimal digits.
fn uuid(random: &str) -> String {
    let part = |from: usize, to: usize| random.get(from..to).unwrap_or_default();
    let variant = u8::from_str_radix(part(16, 17), 16).unwrap_or_default() & 3 | 8;
    format!("{}-{}-4{}-{variant:x}{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str) -> Result<String, Gap> {
        Template::parse(text).unwrap_or_else(|why| panic!("{text}: {why}")).fill(|name| match name {
            "id" => Some("Aladdin"),
            "secret" => Some("open sesame"),
            "key" => Some("Jefe"),
            "key_1" => Some(
                "\u{b}\u{b}\u{b}\u{b}\u{b}\u{b}\u{b}\u{b}\u{b}\u{b}\u{b}\u{b}\u{b}\u{b}\u{b}\u{b}\u{b}\u{b}\u{b}\u{b}",
            ),
            NOW => Some("1800000000123"),
            RANDOM => Some("919108f752d1f3201bacf847db4148a8"),
            _ => None,
        })
    }

    #[test]
    fn each_function_is_that_of_its_standard() {
        for (text, made) in [
            // RFC 7617 §2
            ("Basic {base64(id + ':' + secret)}", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            // RFC 4648 §10
            ("{base64('')} {base64('f')} {base64('fo')} {base64('foo')}", " Zg== Zm8= Zm9v"),
            ("{base64('foob')} {base64('fooba')} {base64('foobar')}", "Zm9vYg== Zm9vYmE= Zm9vYmFy"),
            ("{hex('')} {hex('f')} {hex('foobar')}", " 66 666f6f626172"),
            // RFC 7636 appendix B: `-` and `_`, and no padding.
            (
                "{base64url(sha256('dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk'))}",
                "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
            ),
            // FIPS 180-4, by the examples of NIST: of one block and of two.
            ("{hex(sha256('abc'))}", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                "{hex(sha256('abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq'))}",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            ),
            // RFC 4231 §4.2 and §4.3
            (
                "{hex(hmac-sha256(key_1, 'Hi There'))}",
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                "{hex(hmac-sha256(key, 'what do ya want ' + 'for nothing?'))}",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            // RFC 9562 appendix A.3, of its random bits
            ("{uuid()}", "919108f7-52d1-4320-9bac-f847db4148a8"),
            ("{now('epoch')} {now('epoch-millis')} {now('rfc3339')}", "1800000000 1800000000123 2027-01-15T08:00:00Z"),
            // Sabre: an ID and a secret, each encoded, encoded again.
            ("{base64(base64(id) + ':' + base64(secret))}", "UVd4aFpHUnBiZz09OmIzQmxiaUJ6WlhOaGJXVT0="),
        ] {
            assert_eq!(fill(text).as_deref(), Ok(made), "{text}");
        }
        assert_eq!(fill("{base64(nothing)}"), Err(Gap::Missing("nothing".into())));
        assert_eq!(fill("{base64(nothing?)}"), Err(Gap::Dropped));
    }

    #[test]
    fn what_is_no_function_is_told() {
        for (text, says) in [
            ("{md5(id)}", "unknown function `md5`; expected one of: base64, base64url, hex, sha256"),
            ("{sha256(id)}", "a hash is bytes"),
            ("{hmac-sha256(id)}", "takes 2 arguments, not 1"),
            ("{base64(id secret)}", "expected `+`, `,` or `)`"),
            ("{base64('x)}", "unclosed `'`"),
            ("{base64(id) + id}", "unexpected `+ id` after the function"),
            ("{base64(ID)}", "expected a value, a function or a text"),
            ("{now('tomorrow')}", "now takes one of: 'epoch', 'epoch-millis', 'rfc3339'"),
            ("{base64(id", "unclosed `{`"),
        ] {
            let said = Template::parse(text).expect_err(text);
            assert!(said.contains(says), "{text}: {said}");
        }
        let deep = format!("{{{}id{}}}", "hex(".repeat(10), ")".repeat(10));
        assert!(Template::parse(&deep).expect_err("too deep").contains("more than 8 times"));
    }

    #[test]
    fn it_is_shown_as_it_is_written() {
        for text in ["{base64(id + ':' + secret?)}", "a {hex(hmac-sha256(key, sha256('x')))} b", "{uuid()}"] {
            assert_eq!(Template::parse(text).expect("a template").to_string(), text);
        }
        let words = Template::parse("{base64(id + ':' + id)}").expect("a template");
        let filled = words.fill(|name| (name == WORDS || name == "id").then_some("x"));
        assert_eq!(filled.as_deref(), Ok("base64TOKOPENx:xTOKCLOSE"));
    }
}
