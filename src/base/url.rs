//! URLs, as far as a token endpoint needs them: scheme, host, port and the rest.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

/// Everything but the unreserved characters of RFC 3986 §2.3.
pub const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `text` with everything but unreserved characters percent-encoded.
pub fn encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, RESERVED).to_string()
}

/// The parts of a URL that matter for where a secret goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url<'a> {
    /// `https` or `http`.
    pub scheme: &'a str,
    /// The host as written; an IPv6 address keeps its brackets.
    pub host: &'a str,
    /// The port, or the scheme's default if none is written.
    pub port: u16,
    /// Path, query and fragment.
    pub rest: &'a str,
}

/// Whether a host, an IPv6 address without its brackets, is this machine.
pub fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|ip: core::net::IpAddr| ip.is_loopback())
}

/// Whether a host is of this machine or of its own network link by its text alone: loopback, link-local, unspecified,
/// a name that RFC 6761 §6.3 gives to this machine, or an address in a form that systems read in different ways.
pub fn is_local(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host);
    match host.parse() {
        Ok(ip) => is_local_address(ip),
        Err(_) => {
            let last = host.rsplit('.').next().unwrap_or_default();
            // `127.1`, `0x7f.1` and `2130706433` are IPv4 addresses to many (WHATWG URL §3.5).
            let is_number = !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x");
            last == "localhost" || is_number
        }
    }
}

/// Whether an address is of this machine or of its own network link: loopback, link-local or unspecified, in IPv6's forms
/// of IPv4 too.
pub fn is_local_address(ip: core::net::IpAddr) -> bool {
    let is_near = |ip: core::net::Ipv4Addr| ip.is_loopback() || ip.is_link_local() || ip.is_unspecified();
    match ip {
        core::net::IpAddr::V4(ip) => is_near(ip),
        core::net::IpAddr::V6(ip) => {
            let is_link_local = ip.segments()[0] & 0xffc0 == 0xfe80;
            ip.is_loopback() || ip.is_unspecified() || is_link_local || ip.to_ipv4().is_some_and(is_near)
        }
    }
}

/// Whether a host, an IPv6 address without its brackets, is an address of this network link alone (RFC 3927, RFC 4291
/// §2.5.6): where a cloud's metadata service answers.
pub fn is_link_local(host: &str) -> bool {
    host.parse().is_ok_and(|ip: core::net::IpAddr| match ip {
        core::net::IpAddr::V4(ip) => ip.is_link_local(),
        core::net::IpAddr::V6(ip) => ip.is_unicast_link_local(),
    })
}

impl<'a> Url<'a> {
    /// Takes `text` apart.
    ///
    /// # Errors
    /// What is wrong, in words that follow the name of the value.
    pub fn parse(text: &'a str) -> Result<Url<'a>, String> {
        let (scheme, after) = Url::parse_start(text)?;
        if text.bytes().any(|b| !(0x21..=0x7e).contains(&b) || b == b'\\') {
            return Err("contains a space, a backslash or another character that must be percent-encoded".into());
        }
        let end = after.find(['/', '?', '#']).unwrap_or(after.len());
        let (authority, rest) = after.split_at(end);
        if authority.contains('@') {
            return Err("contains a user name or password; pass those as separate values".into());
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(inside) => {
                let close = inside.find(']').ok_or("has an invalid host")?;
                inside[..close].parse::<core::net::Ipv6Addr>().map_err(|_| "has an invalid host")?;
                (&authority[..close + 2], &authority[close + 2..])
            }
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().ok().filter(|p| *p != 0).ok_or("has an invalid port")?
            }
            Some(_) => return Err("has an invalid port".into()),
            None if !port.is_empty() => return Err("has an invalid host".into()),
            None if scheme == "https" => 443,
            None => 80,
        };
        let named = host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_');
        if !host.starts_with('[') && (host.is_empty() || !named || host.starts_with(['-', '.'])) {
            return Err("has an invalid host".into());
        }
        let url = Url { scheme, host, port, rest };
        if scheme == "http" && !url.is_loopback() {
            return Err("is http; only https is allowed, except for loopback addresses".into());
        }
        Ok(url)
    }

    /// The scheme, and what follows `://`.
    ///
    /// # Errors
    /// As [`Url::parse`].
    pub fn parse_start(text: &'a str) -> Result<(&'a str, &'a str), String> {
        match text.split_once("://") {
            Some((scheme @ ("https" | "http"), rest)) => Ok((scheme, rest)),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => Ok(("https", rest)),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => Ok(("http", rest)),
            _ => Err("is not an https URL".into()),
        }
    }

    /// Whether its host is this machine.
    pub fn is_loopback(&self) -> bool {
        is_loopback(self.host.trim_start_matches('[').trim_end_matches(']'))
    }

    /// Scheme, host and port in normal form: `https://example.com`, `http://127.0.0.1:8080` (RFC 6454 §6.1).
    pub fn origin(&self) -> String {
        let host = self.host.to_ascii_lowercase();
        match (self.scheme, self.port) {
            ("https", 443) | ("http", 80) => format!("{}://{host}", self.scheme),
            (scheme, port) => format!("{scheme}://{host}:{port}"),
        }
    }
}

/// The origin that a host of `hosts` means: `host`, `host:port` or an origin; https and 443 unless written. Exact, since a
/// pattern that matches too much gives a token away (CVE-2024-53858).
///
/// # Errors
/// What is wrong.
pub fn host_origin(text: &str) -> Result<String, String> {
    const EXPECTED: &str = "expected host, host:port or an origin";
    if text.contains('*') {
        return Err(format!("{EXPECTED}; there are no wildcards: list each host"));
    }
    let url = if text.contains("://") { text.to_string() } else { format!("https://{text}") };
    match Url::parse(&url) {
        Ok(url) if url.rest.is_empty() => Ok(url.origin()),
        Ok(_) => Err(format!("{EXPECTED}, without a path")),
        Err(why) => Err(format!("{EXPECTED}; it {why}")),
    }
}

/// Checks a value that is the beginning of a URL: https or loopback, without user info, query and fragment; a trailing
/// slash is dropped, since a path follows.
///
/// # Errors
/// What is wrong, in words that follow the name of the value.
pub fn base(text: &str) -> Result<&str, String> {
    let url = Url::parse(text)?;
    if url.rest.contains(['?', '#']) {
        return Err("has a query or a fragment".into());
    }
    Ok(text.strip_suffix('/').unwrap_or(text))
}

/// Checks a value that is a whole URL: as [`base`], but a query is allowed (RFC 6749 §3.2).
///
/// # Errors
/// What is wrong, in words that follow the name of the value.
pub fn endpoint(text: &str) -> Result<(), String> {
    match Url::parse(text)?.rest.contains('#') {
        true => Err("has a fragment".into()),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_what_cannot_leave_the_machine() {
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.255.0.9", "::1"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in
            ["127.0.0.1.example", "localhost.example", "10.0.0.1", "::2", "::ffff:127.0.0.1", "0.0.0.0", "127.1"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn local_hosts_are_told_by_their_text() {
        for host in [
            "localhost",
            "a.localhost",
            "LOCALHOST.",
            "127.0.0.1",
            "127.0.0.1.",
            "127.9.9.9",
            "169.254.169.254",
            "0.0.0.0",
            "[::1]",
            "[::]",
            "[fe80::1]",
            "[febf::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:169.254.169.254]",
            "127.1",
            "2130706433",
            "0x7f.1",
            "0x7f000001",
            "a.1",
        ] {
            assert!(is_local(host), "{host}");
        }
        for host in
            ["example.com", "10.0.0.1", "192.168.0.1", "[fec0::1]", "[2001:db8::1]", "localhost.example", "1a.example"]
        {
            assert!(!is_local(host), "{host}");
        }
    }

    #[test]
    fn link_local_is_what_no_router_passes_on() {
        for host in ["169.254.169.254", "169.254.0.1", "fe80::1"] {
            assert!(is_link_local(host), "{host}");
        }
        for host in ["169.253.1.1", "169.254.169.254.example", "metadata", "127.0.0.1", "fd00::1", "::1", "2852039166"]
        {
            assert!(!is_link_local(host), "{host}");
        }
    }

    #[test]
    fn a_url_is_taken_apart() {
        let url = Url::parse("https://Example.com/a?b").expect("a URL");
        assert_eq!((url.origin().as_str(), url.rest), ("https://example.com", "/a?b"));
        assert_eq!(Url::parse("https://[::1]:8443").map(|u| u.origin()), Ok("https://[::1]:8443".into()));
        assert_eq!(Url::parse("http://127.0.0.1:80/x").map(|u| u.origin()), Ok("http://127.0.0.1".into()));
        assert_eq!(base("https://a.example/x/"), Ok("https://a.example/x"));
    }

    #[test]
    fn a_host_is_an_origin() {
        for (text, origin) in [
            ("api.example.com", "https://api.example.com"),
            ("API.Example.com:443", "https://api.example.com"),
            ("api.example.com:8443", "https://api.example.com:8443"),
            ("https://api.example.com", "https://api.example.com"),
            ("HTTPS://api.example.com:8443", "https://api.example.com:8443"),
            ("[::1]:8443", "https://[::1]:8443"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ] {
            assert_eq!(host_origin(text).as_deref(), Ok(origin), "{text}");
        }
        for text in [
            "",
            "*.example.com",
            "https://*",
            "api.example.com/",
            "https://api.example.com/v1",
            "api.example.com?x",
            "http://api.example.com",
            "ftp://api.example.com",
            "u@api.example.com",
            "api.example.com:0",
            "api.example.com:",
            ".example.com",
            "a\nb",
            "a\0b",
            "a b",
        ] {
            assert!(host_origin(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_could_lead_elsewhere_is_refused() {
        for text in [
            "",
            "example.com",
            "ftp://a",
            "http://example.com",
            "https://",
            "https:///x",
            "https://a b",
            "https://u@h",
            "https://u:p@h",
            "https://h:99999",
            "https://h:",
            "https://h:0",
            "https://[::1",
            "https://[zz]",
            "https://é",
            "https://-x",
            "https://h\\@evil",
            "https://h\n",
            "http://127.0.0.1.example.com",
            "http://localhost.example.com",
            "javascript:alert(1)",
            "https://127.0.0.1:80:80",
            "https://a%2eb",
        ] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
        assert!(base("https://a?x").is_err() && base("https://a#x").is_err());
    }
}
