//! The options of curl, as far as reading its command line needs them: which there are, and which take a value. Those of
//! all versions up to 8.16 (`src/tool_getparam.c`); one that is unknown here is refused, as it may lead anywhere.

/// An option of curl.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurlOption {
    /// Its long name.
    pub name: &'static str,
    /// Its letter, if it has one.
    letter: Option<char>,
    /// Whether it takes a value.
    pub takes_value: bool,
}

/// Names of those that take a value, each with `:` and its letter.
const WITH_VALUE: &str = "
    abstract-unix-socket alt-svc aws-sigv4 cacert capath cert-type cert:E ciphers config:K connect-timeout
    connect-to continue-at:C cookie-jar:c cookie:b create-file-mode crlfile curves data-ascii data-binary
    data-raw data-urlencode data:d delegation dns-interface dns-ipv4-addr dns-ipv6-addr dns-servers doh-url
    dump-header:D ech egd-file engine etag-compare etag-save expect100-timeout form-string form:F ftp-account
    ftp-alternative-to-user ftp-method ftp-port:P ftp-ssl-ccc-mode happy-eyeballs-timeout-ms haproxy-clientip
    header:H help:h hostpubmd5 hostpubsha256 hsts interface ip-tos ipfs-gateway json keepalive-cnt
    keepalive-time key key-type knownhosts krb krb4 libcurl limit-rate local-port login-options mail-auth
    mail-from mail-rcpt max-filesize max-redirs max-time:m netrc-file noproxy oauth2-bearer output-dir output:o
    parallel-max parallel-max-host pass pinnedpubkey preproxy proto proto-default proto-redir proxy-cacert
    proxy-capath proxy-cert proxy-cert-type proxy-ciphers proxy-crlfile proxy-header proxy-key proxy-key-type
    proxy-pass proxy-pinnedpubkey proxy-service-name proxy-tls13-ciphers proxy-tlsauthtype proxy-tlspassword
    proxy-tlsuser proxy-user:U proxy1.0 proxy:x pubkey quote:Q random-file range:r rate referer:e request-target
    request:X resolve retry retry-delay retry-max-time sasl-authzid service-name sigalgs socks4 socks4a socks5
    socks5-gssapi-service socks5-hostname speed-limit:Y speed-time:y ssl-sessions stderr telnet-option:t
    tftp-blksize time-cond:z tls-max tls13-ciphers tlsauthtype tlspassword tlsuser trace trace-ascii
    trace-config unix-socket upload-file:T upload-flags url url-query user-agent:A user:u variable vlan-priority
    write-out:w
";

/// The same of those that take none; each may stand with `no-` before it.
const WITHOUT_VALUE: &str = "
    alpn anyauth append:a basic buffer:N ca-native cert-status clobber compressed compressed-ssh create-dirs
    crlf digest disable-eprt disable-epsv disable:q disallow-username-in-url doh-cert-status doh-insecure
    dump-ca-embed eprt epsv fail-early fail-with-body fail:f false-start follow form-escape ftp-create-dirs
    ftp-pasv ftp-pret ftp-skip-pasv-ip ftp-ssl ftp-ssl-ccc ftp-ssl-control ftp-ssl-reqd get:G globoff:g
    haproxy-protocol head:I http0.9 http1.0:0 http1.1 http2 http2-prior-knowledge http3 http3-only
    ignore-content-length include:i insecure:k ipv4:4 ipv6:6 junk-session-cookies:j keepalive list-only:l
    location-trusted location:L mail-rcpt-allowfails manual:M metalink mptcp negotiate netrc-optional netrc:n
    next:: npn ntlm ntlm-wb out-null parallel-immediate parallel:Z path-as-is post301 post302 post303
    progress-bar:# progress-meter proxy-anyauth proxy-basic proxy-ca-native proxy-digest proxy-http2
    proxy-insecure proxy-negotiate proxy-ntlm proxy-ssl-allow-beast proxy-ssl-auto-client-cert proxy-tlsv1
    proxytunnel:p raw remote-header-name:J remote-name-all remote-name:O remote-time:R remove-on-error
    retry-all-errors retry-connrefused sasl-ir sessionid show-error:S show-headers silent:s skip-existing
    socks5-basic socks5-gssapi socks5-gssapi-nec ssl ssl-allow-beast ssl-auto-client-cert ssl-no-revoke ssl-reqd
    ssl-revoke-best-effort sslv2:2 sslv3:3 styled-output suppress-connect-headers tcp-fastopen tcp-nodelay
    tftp-no-options tls-earlydata tlsv1.0 tlsv1.1 tlsv1.2 tlsv1.3 tlsv1:1 tr-encoding trace-ids trace-time
    use-ascii:B verbose:v version:V xattr
";

/// All options.
fn all() -> impl Iterator<Item = CurlOption> {
    let of = |list: &'static str, takes_value: bool| {
        list.split_whitespace().map(move |entry| {
            let (name, letter) = entry.split_once(':').unwrap_or((entry, ""));
            CurlOption { name, letter: letter.chars().next(), takes_value }
        })
    };
    of(WITH_VALUE, true).chain(of(WITHOUT_VALUE, false))
}

/// The option with that letter.
pub fn short(letter: char) -> Option<CurlOption> {
    all().find(|option| option.letter == Some(letter))
}

/// A long option, as it may be typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Long {
    /// This one.
    Is(CurlOption),
    /// This one, switched off.
    Not(CurlOption),
    /// This one, with variables in its value (`--expand-NAME`, since 8.3).
    Expanded(CurlOption),
    /// The beginning of several.
    Ambiguous,
    /// None.
    Unknown,
}

/// The option that `word` (without its dashes) means. curl took the beginning of a name too, until 8.16.
pub fn long(word: &str) -> Long {
    if let Some(option) = all().find(|option| option.name == word) {
        return Long::Is(option);
    }
    if let Some(option) = word.strip_prefix("expand-").and_then(|name| all().find(|option| option.name == name)) {
        return Long::Expanded(option);
    }
    if let Some(option) = word.strip_prefix("no-").and_then(|name| all().find(|option| option.name == name)) {
        return Long::Not(option);
    }
    let mut near = all().filter(|option| !word.is_empty() && option.name.starts_with(word));
    match (near.next(), near.next()) {
        (Some(option), None) => Long::Is(option),
        (Some(_), Some(_)) => Long::Ambiguous,
        (None, _) => Long::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_found_as_curl_finds_them() {
        let is = |word: &str| match long(word) {
            Long::Is(option) => option.name,
            other => panic!("{word}: {other:?}"),
        };
        assert_eq!(
            (is("insecure"), is("insec"), is("location"), is("proto")),
            ("insecure", "insecure", "location", "proto")
        );
        assert_eq!((is("location-t"), is("noproxy")), ("location-trusted", "noproxy"));
        assert!(matches!(long("no-location"), Long::Not(option) if option.name == "location"));
        assert!(matches!(long("expand-url"), Long::Expanded(option) if option.name == "url"));
        assert_eq!((long("locat"), long("zzz"), long("")), (Long::Ambiguous, Long::Unknown, Long::Unknown));
        let letter = |letter| short(letter).map(|option| (option.name, option.takes_value));
        assert_eq!((letter('k'), letter('K')), (Some(("insecure", false)), Some(("config", true))));
        assert_eq!((letter('N'), letter(':'), letter('!')), (Some(("buffer", false)), Some(("next", false)), None));
    }

    #[test]
    fn a_name_and_a_letter_stand_for_one_option() {
        let (mut names, mut letters) = (Vec::new(), Vec::new());
        for option in all() {
            assert!(!names.contains(&option.name), "{}", option.name);
            names.push(option.name);
            if let Some(letter) = option.letter {
                assert!(!letters.contains(&letter), "{letter}");
                letters.push(letter);
            }
        }
        assert!(names.len() > 250);
    }
}
