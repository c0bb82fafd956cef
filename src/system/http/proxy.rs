//! Which proxy a request goes through: curl's rules, which ureq's own reading of the environment does not follow
//! (it takes one variable for every scheme and silently goes direct where that one cannot be read).

use crate::base::error::{Error, Kind, Result};
use percent_encoding::percent_decode_str;
use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use zeroize::Zeroizing;

/// The variables that are read. `HTTP_PROXY` is not among them: a CGI server sets it from a request's header
/// (CVE-2016-5388), so curl reads only the lower-case one.
const NAMES: [&str; 7] = ["https_proxy", "HTTPS_PROXY", "http_proxy", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"];

/// The proxy variables that are set and not empty, unread.
#[derive(Clone, Default)]
pub struct Variables(Vec<(&'static str, OsString)>);

/// A proxy as one of the variables gives it.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// The variable that named it.
    pub variable: &'static str,
    /// `http`, `https`, `socks4`, `socks4a`, `socks5` or `socks5h`.
    pub scheme: &'static str,
    /// The host, an IPv6 address without brackets.
    pub host: String,
    /// The port; by default 443 for `https`, else 1080, as in curl.
    pub port: u16,
    /// The user, decoded.
    pub user: Option<String>,
    /// The password, decoded.
    pub password: Option<Zeroizing<String>>,
}

impl Variables {
    /// Reads the variables; an empty one counts as absent (curl's `curl_getenv`).
    pub fn from_env(get: impl Fn(&str) -> Option<OsString>) -> Variables {
        Variables(
            NAMES
                .into_iter()
                .filter_map(|name| get(name).map(|value| (name, value)))
                .filter(|(_, value)| !value.is_empty())
                .collect(),
        )
    }

    fn first(&self, names: &[&str]) -> Option<(&'static str, &OsStr)> {
        names.iter().find_map(|name| {
            let (name, value) = self.0.iter().find(|(n, _)| n == name)?;
            Some((*name, value.as_os_str()))
        })
    }

    /// The proxy for a request to `host` (an IPv6 address without brackets), or `None` for a direct connection.
    ///
    /// # Errors
    /// [`Kind::Usage`] if the variable that counts cannot be read as a proxy; its value is not shown, for it
    /// may hold a password.
    pub fn proxy_for(&self, scheme: &str, host: &str) -> Result<Option<Proxy>> {
        let names: &[&str] = match scheme {
            "https" => &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"],
            _ => &["http_proxy", "all_proxy", "ALL_PROXY"],
        };
        let Some((variable, value)) = self.first(names) else {
            return Ok(None);
        };
        if self.is_exempt(host) {
            return Ok(None);
        }
        let proxy =
            value.to_str().ok_or("it is not UTF-8").and_then(|value| parse(variable, value)).map_err(|why| {
                Error::new(Kind::Usage, format!("the proxy in {variable} cannot be used"), why).hint(format!(
                    "set {variable} to http://HOST:PORT (or https, socks4, socks4a, socks5, socks5h), or unset it"
                ))
            })?;
        // Plain http is for this machine only; a proxy elsewhere would send it over the network.
        Ok(Some(proxy).filter(|proxy| scheme == "https" || crate::base::url::is_loopback(&proxy.host)))
    }

    fn is_exempt(&self, host: &str) -> bool {
        self.first(&["no_proxy", "NO_PROXY"]).is_some_and(|(_, list)| is_listed(&list.to_string_lossy(), host))
    }
}

impl Proxy {
    /// The proxy without user and password.
    pub fn shown(&self) -> String {
        format!("{}://{}:{}", self.scheme, super::bracketed(&self.host), self.port)
    }

    /// Whether curl sends this kind of proxy an address, looked up here, instead of a name.
    pub fn takes_addresses(&self) -> bool {
        matches!(self.scheme, "socks4" | "socks5")
    }
}

/// Reads one proxy. The error never repeats the value.
fn parse(variable: &'static str, value: &str) -> std::result::Result<Proxy, &'static str> {
    let value = value.trim();
    let (scheme, rest) = value.split_once("://").unwrap_or(("http", value));
    let scheme = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"]
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(scheme))
        .or(Some("socks4").filter(|_| scheme.eq_ignore_ascii_case("socks")))
        .ok_or("its scheme must be http, https, socks4, socks4a, socks5 or socks5h")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    // A password with an unencoded `/` would be cut in the middle, and half of it taken for a host.
    if rest.len() > authority.len() && rest[authority.len()..].contains('@') {
        return Err("its user or password contains a character that must be percent-encoded");
    }
    let (userinfo, address) = match authority.rsplit_once('@') {
        Some((userinfo, address)) => (Some(userinfo), address),
        None => (None, authority),
    };
    let (host, port) = match address.strip_prefix('[') {
        Some(v6) => {
            let (host, port) = v6.split_once(']').ok_or("its IPv6 address has no closing bracket")?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| "its brackets do not contain an IPv6 address")?;
            match port.strip_prefix(':') {
                Some(port) => (host, port),
                None if port.is_empty() => (host, ""),
                None => return Err("its port is not a number from 1 to 65535"),
            }
        }
        None => address.split_once(':').unwrap_or((address, "")),
    };
    let named = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
    if host.is_empty() || host.starts_with('-') || !host.chars().all(named) {
        return Err("its host is missing or not a host name");
    }
    let port = match (port, scheme) {
        ("", "https") => 443,
        ("", _) => 1080,
        // Rust would also take `+80`.
        (port, _) => match port.parse() {
            Ok(number) if number > 0 && !port.starts_with('+') => number,
            _ => return Err("its port is not a number from 1 to 65535"),
        },
    };
    let decode = |text: &str| match percent_decode_str(text).decode_utf8() {
        Ok(text) if !text.contains(['\r', '\n', '\0']) => Ok(text.into_owned()),
        _ => Err("its user or password is not UTF-8, or contains a line break"),
    };
    let (user, password) = match userinfo.map(|u| u.split_once(':').unwrap_or((u, ""))) {
        Some((user, password)) => (Some(decode(user)?), Some(Zeroizing::new(decode(password)?))),
        None => (None, None),
    };
    Ok(Proxy { variable, scheme, host: host.to_string(), port, user, password: password.filter(|p| !p.is_empty()) })
}

/// Whether `NO_PROXY`'s `list` names `host`: words between commas and white space; `*` is every host; a name is
/// that host and all below it, with or without a leading dot; an address is that address, with `/bits` its network
/// (curl's `Curl_check_noproxy`).
pub fn is_listed(list: &str, host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let address: Option<IpAddr> = host.parse().ok();
    list.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty()).any(|word| {
        if word == "*" {
            return true;
        }
        match address {
            Some(address) => is_in_network(word, address),
            None => {
                let word = word.strip_suffix('.').unwrap_or(word).to_ascii_lowercase();
                let word = word.strip_prefix('.').unwrap_or(&word);
                host.strip_suffix(word)
                    .is_some_and(|above| !word.is_empty() && (above.is_empty() || above.ends_with('.')))
            }
        }
    })
}

/// Whether `word`, an address or a network `address/bits`, covers `address`.
fn is_in_network(word: &str, address: IpAddr) -> bool {
    let (network, bits) = word.split_once('/').map_or((word, None), |(n, b)| (n, Some(b)));
    let network = network.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(network);
    let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.map(str::parse::<u32>).transpose()) else {
        return false;
    };
    match (network, address) {
        (IpAddr::V4(n), IpAddr::V4(a)) => {
            let bits = bits.unwrap_or(32);
            bits <= 32 && u32::from(n).checked_shr(32 - bits) == u32::from(a).checked_shr(32 - bits)
        }
        (IpAddr::V6(n), IpAddr::V6(a)) => {
            let bits = bits.unwrap_or(128);
            bits <= 128 && u128::from(n).checked_shr(128 - bits) == u128::from(a).checked_shr(128 - bits)
        }
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn variables(set: &[(&str, &str)]) -> Variables {
        Variables::from_env(|name| set.iter().find(|(n, _)| *n == name).map(|(_, v)| OsString::from(v)))
    }

    fn chosen(set: &[(&str, &str)], https: bool, host: &str) -> Option<String> {
        variables(set).proxy_for(if https { "https" } else { "http" }, host).unwrap().map(|p| p.shown())
    }

    #[test]
    fn the_variable_is_chosen_as_curl_does() {
        let p = |host: &str| format!("http://{host}:1");
        let set: Vec<(&str, String)> =
            vec![("https_proxy", p("a")), ("HTTPS_PROXY", p("b")), ("all_proxy", p("c")), ("ALL_PROXY", p("d"))];
        for (from, expected) in [(0, "a"), (1, "b"), (2, "c"), (3, "d")] {
            let set: Vec<(&str, &str)> = set[from..].iter().map(|(n, v)| (*n, v.as_str())).collect();
            assert_eq!(chosen(&set, true, "example.com"), Some(p(expected)));
        }
        assert_eq!(chosen(&[], true, "example.com"), None);
        assert_eq!(chosen(&[("http_proxy", "http://a:1")], true, "example.com"), None);
        assert_eq!(chosen(&[("https_proxy", ""), ("ALL_PROXY", "http://d:1")], true, "x"), Some(p("d")));
    }

    #[test]
    fn plain_text_goes_through_no_proxy_elsewhere() {
        assert_eq!(chosen(&[("http_proxy", "http://proxy.example:1")], false, "127.0.0.1"), None);
        assert_eq!(chosen(&[("HTTP_PROXY", "http://127.0.0.1:1")], false, "127.0.0.1"), None);
        assert_eq!(chosen(&[("https_proxy", "http://127.0.0.1:1")], false, "127.0.0.1"), None);
        let there = Some("http://127.0.0.1:1".to_string());
        assert_eq!(chosen(&[("http_proxy", "127.0.0.1:1")], false, "127.0.0.1"), there);
        assert_eq!(chosen(&[("ALL_PROXY", "127.0.0.1:1")], false, "localhost"), there);
    }

    #[test]
    fn a_proxy_is_read_whole() {
        let p = parse("v", "socks5h://us%40er:p%2Fa:ss@[::1]:9/").unwrap();
        assert_eq!((p.scheme, p.host.as_str(), p.port), ("socks5h", "::1", 9));
        assert_eq!(p.user.as_deref(), Some("us@er"));
        assert_eq!(p.password.as_ref().map(|p| p.as_str()), Some("p/a:ss"));
        assert_eq!(p.shown(), "socks5h://[::1]:9");
        assert_eq!(parse("v", " proxy.example ").unwrap().shown(), "http://proxy.example:1080");
        assert_eq!(parse("v", "HTTPS://proxy.example/").unwrap().shown(), "https://proxy.example:443");
        assert_eq!(parse("v", "u@h:1").unwrap().password, None);
    }

    #[test]
    fn what_cannot_be_read_is_an_error_without_the_password() {
        for bad in [
            "ftp://h:1",
            "http://",
            "http://:80",
            "http://u:hunter2@h:port",
            "http://u:hunter2@h:0",
            "http://u:hun/ter2@h:1",
            "http://h:99999",
            "http://h:+80",
            "http://[::1",
            "http://[x]:1",
            "http://[::1]x",
            "http://a b:1",
            "http://-h:1",
            "http://u:hunter2%0a@h:1",
        ] {
            let error = variables(&[("https_proxy", bad)]).proxy_for("https", "example.com").err();
            let error = error.unwrap_or_else(|| panic!("{bad} was taken"));
            assert_eq!(error.kind, Kind::Usage);
            assert!(error.what.contains("https_proxy"));
            assert!(!format!("{error:?}").contains("ter2"), "{bad}");
            assert!(variables(&[("https_proxy", bad), ("no_proxy", "*")]).proxy_for("https", "x").is_ok());
        }
    }

    #[test]
    fn no_proxy_follows_curl() {
        for (list, host, expected) in [
            ("*", "example.com", true),
            ("example.com", "example.com", true),
            ("example.com", "EXAMPLE.com.", true),
            ("example.com", "sub.example.com", true),
            (".example.com", "sub.example.com", true),
            (".example.com", "example.com", true),
            ("example.com", "badexample.com", false),
            ("example.com", "example.com.evil", false),
            ("foo, localhost", "localhost", true),
            ("foo localhost", "localhost", true),
            (",, ,", "localhost", false),
            (".", "localhost", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.0/8", "127.9.9.9", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "11.0.0.1", true),
            ("10.0.0.0/33", "10.0.0.0", false),
            ("10.0.0.0/x", "10.0.0.0", false),
            ("0.0.1", "127.0.0.1", false),
            ("[::1]", "::1", true),
            ("::1", "::1", true),
            ("fe80::/10", "fe80::1", true),
            ("::/0", "10.0.0.1", false),
            ("", "example.com", false),
        ] {
            assert_eq!(is_listed(list, host), expected, "{list} {host}");
        }
        assert_eq!(chosen(&[("https_proxy", "p:1"), ("NO_PROXY", "example.com")], true, "example.com"), None);
        let set = [("https_proxy", "p:1"), ("no_proxy", "a"), ("NO_PROXY", "example.com")];
        assert!(chosen(&set, true, "example.com").is_some());
    }
}
