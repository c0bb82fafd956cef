//! The cookies that a reply sets (RFC 6265), where a provider sends a token in one.

use super::request::Response;

impl Response {
    /// The value of the cookie `name` that it sets, the last where it sets it twice (RFC 6265 §5.2); `None` for an empty
    /// one, or one that has ended, which take a cookie away.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let value = self.set_cookie(name)?.split(';').next()?.split_once('=')?.1.trim();
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        let is_over = self.cookie_end(name).is_some_and(|end| end <= self.received.secs());
        (!value.is_empty() && !is_over).then_some(value)
    }

    /// When that cookie ends, in seconds since 1970: by its `Max-Age`, else by its `Expires` (RFC 6265 §5.3).
    pub fn cookie_end(&self, name: &str) -> Option<i64> {
        let line = self.set_cookie(name)?;
        let attribute = |wanted: &str| {
            let pairs = line.split(';').skip(1).filter_map(|part| part.split_once('='));
            pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim()).last()
        };
        let age = attribute("max-age").and_then(|age| age.parse::<i64>().ok());
        let by_age = age.map(|age| self.received.secs().saturating_add(age));
        by_age.or_else(|| {
            let text = attribute("expires")?;
            // Often with hyphens and a year of four digits: `Thu, 01-Jan-1970 00:00:00 GMT`.
            crate::base::date::parse(text).or_else(|| crate::base::date::parse(&text.replace('-', " ")))
        })
    }

    fn set_cookie(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.iter().rev().filter(|(n, _)| n.eq_ignore_ascii_case("set-cookie"));
        let is_it = |line: &str| {
            let pair = line.split(';').next().and_then(|pair| pair.split_once('='));
            pair.is_some_and(|(known, _)| known.trim() == name)
        };
        lines.find(|(_, line)| is_it(line)).map(|(_, line)| line.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Time;

    #[test]
    fn a_cookie_is_the_last_that_is_set() {
        let lines = ["a=1; Path=/; HttpOnly", "b=\"two\"; Secure", "a=3=4", "c=; Max-Age=0"];
        let headers = lines.iter().map(|line| ("Set-Cookie".to_string(), line.to_string())).collect();
        let received = Time::from_secs(0);
        let response = Response { status: 200, headers, body: Vec::new().into(), received };
        assert_eq!((response.cookie("a"), response.cookie("b")), (Some("3=4"), Some("two")));
        assert_eq!((response.cookie("c"), response.cookie("Path"), response.cookie("A")), (None, None, None));
    }

    #[test]
    fn a_cookie_that_has_ended_is_none() {
        let lines = [
            "a=gone; Max-Age=0",
            "b=gone; path=/; expires=Thu, 01-Jan-1970 00:00:00 GMT",
            "c=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=60",
            "d=1; expires=Thu, 01 Jan 1970 00:20:00 GMT",
            "e=1; max-age=soon",
        ];
        let headers = lines.iter().map(|line| ("Set-Cookie".to_string(), line.to_string())).collect();
        let response = Response { status: 200, headers, body: Vec::new().into(), received: Time::from_secs(1000) };
        assert_eq!((response.cookie("a"), response.cookie("b")), (None, None));
        assert_eq!((response.cookie("c"), response.cookie_end("c")), (Some("1"), Some(1060)));
        assert_eq!((response.cookie("d"), response.cookie_end("d")), (Some("1"), Some(1200)));
        assert_eq!((response.cookie("e"), response.cookie_end("e")), (Some("1"), None));
    }
}
