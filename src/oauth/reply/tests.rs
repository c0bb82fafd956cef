//! Replies of every kind, and what is read from them.

use super::*;
use crate::base::time::Time;
use crate::provider::{Provider, Shape};

const NOW: i64 = 1_800_000_000;

fn answer(status: u16, body: &str) -> Response {
    Response { status, headers: vec![], body: body.as_bytes().to_vec().into(), received: Time::from_secs(NOW) }
}

fn rules(response: &str) -> Rules {
    let file = format!("[grants.a]\nurl = \"https://a.example\"\n[response]\n{response}");
    Provider::parse("test", "test.toml", &file).expect("a provider").grants[0].response.as_ref().clone()
}

fn read_with(response: &str, body: &str) -> Result<Issued, Failure> {
    read(&rules(response), &[], &answer(200, body))
}

fn expires(response: &str, body: &str) -> Expires {
    read_with(response, body).expect("a token").expires
}

#[test]
fn numbers_are_numbers_in_any_dress() {
    for (wire, expected) in [
        ("3600", Expires::At(NOW + 3600)),
        ("\"3600\"", Expires::At(NOW + 3600)),
        ("3599.9", Expires::At(NOW + 3599)),
        ("\" 3600.5 \"", Expires::At(NOW + 3600)),
        ("315576000", Expires::At(NOW + 315_576_000)),
        ("315576001", Expires::Unknown),
        ("1e18", Expires::Unknown),
        ("true", Expires::Unknown),
        ("-5", Expires::At(NOW - 5)),
        ("0", Expires::At(NOW)),
        ("null", Expires::Unknown),
        ("\"\"", Expires::Unknown),
        ("\"soon\"", Expires::Unknown),
        ("\"inf\"", Expires::Unknown),
        ("[]", Expires::Unknown),
    ] {
        let body = format!("{{\"access_token\":\"t\",\"expires_in\":{wire}}}");
        assert_eq!(expires("", &body), expected, "{wire}");
    }
}

#[test]
fn each_unit_is_read() {
    for (rule, wire, expected) in [
        ("seconds", "60", NOW + 60),
        ("milliseconds", "60000", NOW + 60),
        ("minutes", "1", NOW + 60),
        ("epoch", "1800000060", NOW + 60),
        ("epoch-millis", "1800000060000", NOW + 60),
        ("date", "\"2027-01-15T08:01:00Z\"", NOW + 60),
        ("date", "\"2027-01-15T10:01:00.123456+02:00\"", NOW + 60),
        ("date", "\"Fri, 15 Jan 2027 08:01:00 GMT\"", NOW + 60),
        ("auto", "60", NOW + 60),
        ("auto", "1800000060", NOW + 60),
        ("auto", "1800000060000", NOW + 60),
        ("auto", "\"2027-01-15T08:01:00Z\"", NOW + 60),
    ] {
        let rules = format!("expires = [{{ at = \"/e\", as = \"{rule}\" }}]");
        let body = format!("{{\"access_token\":\"t\",\"e\":{wire}}}");
        assert_eq!(expires(&rules, &body), Expires::At(expected), "{rule} {wire}");
    }
}

#[test]
fn an_epoch_in_the_past_does_not_kill_a_token_with_a_life() {
    let rules = "expires = [{ at = \"/expires\", as = \"epoch\" }, { at = \"/expires_in\" }]";
    let body = "{\"access_token\":\"t\",\"expires\":1524486008,\"expires_in\":3600}";
    assert_eq!(expires(rules, body), Expires::At(NOW + 3600));
}

#[test]
fn zero_means_what_the_file_says() {
    for (zero, expected) in [("unknown", Expires::Unknown), ("never", Expires::Never), ("now", Expires::At(NOW))] {
        let rules = format!("expires = [{{ at = \"/expires_in\", zero = \"{zero}\" }}]");
        assert_eq!(expires(&rules, "{\"access_token\":\"t\",\"expires_in\":0}"), expected);
    }
    assert_eq!(expires("lifetime = \"1h\"", "{\"access_token\":\"t\"}"), Expires::At(NOW + 3600));
    assert_eq!(expires("lifetime = \"unlimited\"", "{\"access_token\":\"t\"}"), Expires::Never);
}

#[test]
fn a_jwt_may_only_shorten_a_life() {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as B64};
    let jwt = |exp: &str| format!("e30.{}.c2ln", B64.encode(format!("{{\"exp\":{exp}}}")));
    let body = |exp: &str, rest: &str| format!("{{\"access_token\":\"{}\"{rest}}}", jwt(exp));
    assert_eq!(expires("", &body("1800000100.75", ",\"expires_in\":3600")), Expires::At(NOW + 100));
    assert_eq!(expires("", &body("1800009999", ",\"expires_in\":3600")), Expires::At(NOW + 3600));
    assert_eq!(expires("", &body("1800000100", "")), Expires::At(NOW + 100));
    let past = read_with("", &body("1700000000", ",\"expires_in\":3600")).expect("a token");
    assert_eq!(past.expires, Expires::At(NOW + 3600));
    assert!(matches!(past.notes.as_slice(), [Note::Warning(text)] if text.contains("clock")));
}

#[test]
fn a_refusal_has_its_kind() {
    let kind = |status, body: &str| read(&rules(""), &[], &answer(status, body)).expect_err("a failure").kind;
    assert_eq!(kind(400, "{\"error\":\"invalid_grant\"}"), Kind::Refused);
    assert_eq!(kind(403, "<html>no</html>"), Kind::Refused);
    assert_eq!(kind(404, ""), Kind::Refused);
    for status in [408, 429, 500, 502, 503, 504] {
        assert_eq!(kind(status, "{\"error\":\"x\"}"), Kind::Unavailable, "{status}");
    }
    assert_eq!(kind(302, ""), Kind::Reply);
    for body in [
        "",
        "{}",
        "[]",
        "null",
        "\"x\"",
        "<html>",
        "{\"access_token\":\"\"}",
        "{\"access_token\":null}",
        "{\"access_token\":5}",
        "{\"access_token\":\"a b\"}",
        "{\"access_token\":\"a\\nb\"}",
        "{\"access_token\":\"\\u001b[2J\"}",
        "{\"access_token\":\"t\",}",
        "{\"access_token\":\"t\"} x",
    ] {
        assert_eq!(kind(200, body), Kind::Reply, "{body}");
    }
    assert_eq!(kind(200, "{\"error\":\"denied\",\"access_token\":\"t\"}"), Kind::Refused);
    assert_eq!(kind(200, "{\"message\":\"no such account\"}"), Kind::Refused);
}

#[test]
fn what_a_provider_calls_a_failure_is_one_with_any_status() {
    let rules = "refused = [{ at = \"/code\", in = [1] }]\nunavailable = [{ at = \"/code\", in = [1, 2] }]";
    let kind = |status, body: &str| read(&self::rules(rules), &[], &answer(status, body)).expect_err("a failure").kind;
    for status in [200, 201, 400, 503] {
        for more in ["", ",\"access_token\":\"t\""] {
            assert_eq!(kind(status, &format!("{{\"code\":1{more}}}")), Kind::Refused, "{status}{more}");
            assert_eq!(kind(status, &format!("{{\"code\":2{more}}}")), Kind::Unavailable, "{status}{more}");
        }
    }
    assert!(read_with(rules, "{\"code\":3,\"access_token\":\"t\"}").is_ok());
    let asked = |code: u8| object(&self::rules(rules), &answer(200, &format!("{{\"code\":{code},\"active\":true}}")));
    assert_eq!(asked(2).expect_err("a failure").kind, Kind::Unavailable);
    assert!(asked(3).is_ok());
}

#[test]
fn an_error_may_have_any_form() {
    let why = |status, body: &str| {
        let failure = read(&rules(""), &[], &answer(status, body)).expect_err("a failure");
        assert_eq!(failure.kind, Kind::Refused, "{status} {body}");
        failure.why
    };
    for status in [200, 400] {
        let said = |body: &str| why(status, body).replace(" (status 400)", "");
        assert_eq!(said("{\"error\":17}"), "code 17");
        assert_eq!(said("{\"error\":[\"locked\",\"try later\"]}"), "locked, try later");
        assert_eq!(said("{\"error\":true,\"message\":\"no\"}"), "no");
        assert_eq!(said("{\"error\":{\"message\":\"no\"}}"), "no");
    }
    assert_eq!(why(200, "{\"error\":true}"), "it reports an error");
    assert_eq!(why(400, "{\"error\":[{\"message\":\"locked\"}]}"), "locked (status 400)");
    // Beside a token only a text or an object is one.
    for error in ["false", "true", "[]", "[\"note\"]", "0", "17"] {
        let body = format!("{{\"error\":{error},\"access_token\":\"t\"}}");
        assert!(read_with("", &body).is_ok(), "{body}");
    }
}

#[test]
fn where_a_redirect_leads_is_told_without_what_may_be_secret() {
    let why = |location: Option<&str>| {
        let mut response = answer(302, "");
        response.headers.extend(location.map(|to| ("Location".to_string(), to.to_string())));
        redirect(&response)
    };
    assert_eq!(why(None), "it redirects, but does not say where to (status 302)");
    let to = |shown: &str| format!("it redirects to {shown}, which tok does not follow (status 302)");
    assert_eq!(why(Some("https://a.example/x?code=1")), to("https://a.example/x?…"));
    assert_eq!(why(Some("https://user:hunter2@a.example/x#t=1")), to("…@a.example/x?…"));
}

#[test]
fn a_cookie_s_end_is_that_of_its_token() {
    let expires = |more: &str, cookie: &str| {
        let mut response = answer(200, "{}");
        response.headers.push(("Set-Cookie".into(), format!("SID=t0k; Path=/{cookie}")));
        let rules = rules(&format!("access_token = {{ cookie = \"SID\" }}\n{more}"));
        read(&rules, &[], &response).map(|issued| (issued.expires, response.received.secs()))
    };
    let (at, now) = expires("lifetime = \"1h\"", "; Max-Age=60").expect("a token");
    assert_eq!(at, Expires::At(now + 60));
    assert_eq!(expires("", "; Max-Age=60").expect("a token").0, Expires::At(now + 60));
    assert_eq!(expires("lifetime = \"1h\"", "").expect("a token").0, Expires::At(now + 3600));
    assert_eq!(expires("lifetime = \"1h\"", "; Max-Age=0").expect_err("no token").kind, Kind::Reply);
}

#[test]
fn a_success_test_decides() {
    let rules = "success = [{ at = \"/code\", in = [1] }]\nerror = { code = [\"/code\"], message = [\"/why\"] }";
    for code in ["1", "1.0", "\"1\""] {
        assert!(read_with(rules, &format!("{{\"code\":{code},\"access_token\":\"t\"}}")).is_ok(), "{code}");
    }
    let failure = |body: &str| read_with(rules, body).expect_err("a failure");
    assert_eq!(failure("{\"code\":0,\"why\":\"bad\",\"access_token\":\"t\"}").why, "0: bad");
    assert_eq!(failure("{\"code\":0,\"access_token\":\"t\"}").kind, Kind::Refused);
    assert_eq!(failure("{\"access_token\":\"t\"}").kind, Kind::Reply);
    assert_eq!(failure("{\"why\":\"bad\"}").kind, Kind::Refused);
}

#[test]
fn a_form_and_a_bare_text_are_read() {
    let token = |rules: &str, body: &str| read_with(rules, body).map(|i| i.access_token.expose().to_string()).ok();
    assert_eq!(token("", "access_token=a%2Bb&scope=x+y"), Some("a+b".into()));
    assert_eq!(token("format = \"text\"", "tok123\n"), Some("tok123".into()));
    assert_eq!(token("format = \"text\"", "<html>no</html>"), None);
    assert_eq!(token("format = \"json\"", "access_token=a"), None);
}

/// A reply by its parts.
fn answered(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Response {
    let headers = headers.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
    Response { status, headers, body: body.to_vec().into(), received: Time::from_secs(NOW) }
}

const DEAD: &str = "[grants.a]\nurl = \"https://a.example\"\nbody = { r = \"{refresh_token}\" }\n[refresh]\ngrant = \"a\"\n[response]\n";

/// The refusal of a refresh whose provider has these rules for replies.
fn refused_by(response: &str, answer: &Response) -> Failure {
    let provider = Provider::parse("test", "test.toml", &format!("{DEAD}{response}")).expect("a provider");
    let dead = provider.refresh.expect("a refresh").dead;
    read(&provider.grants[0].response, &dead, answer).expect_err("a failure")
}

/// faults 2.4
#[test]
fn a_refusal_counts_though_the_rest_is_damaged() {
    let utf16: Vec<u8> = "{\"error\":\"invalid_grant\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for body in [
        &b"{\"error\":\"invalid_grant\",\"error_description\":\"abgelaufen f\xfcr immer\"}"[..],
        b"{\"error\":\"invalid_grant\",\"error_description\":\"one\nline and\r\nanother\"}",
        b"{\"error\":\"invalid_grant\",\"error_description\":\"cut he",
        b"{\"error\":\"invalid_grant\",\"error_description\":\"the \"old\" one\"}",
        b"{\"error\":\"invalid_grant\",\"x\":{\"y\":[1,",
        b"\xef\xbb\xbf{\"error\":\"invalid_grant\"}",
        b"error=invalid_grant&error_description=f%FCr",
        &utf16,
    ] {
        for format in ["", "format = \"json\"", "format = \"form\"", "format = \"text\""] {
            let failure = refused_by(format, &answered(400, &[], body));
            let shown = String::from_utf8_lossy(body);
            assert!(failure.dead && failure.kind == Kind::Refused, "{format} {shown}: {failure:?}");
            assert!(
                failure.code.as_deref() == Some("invalid_grant") && failure.why.contains("invalid_grant"),
                "{shown}"
            );
        }
    }
    let why = refused_by("", &answered(400, &[], b"{\"error\":\"x\",\"error_description\":\"f\xfcr\nimmer\"}")).why;
    assert_eq!(why, "x: für\\nimmer (status 400)");
    // Half a code may be another's beginning.
    let cut = refused_by("", &answered(400, &[], b"{\"error\":\"invalid_grant"));
    assert!(!cut.dead && cut.code.is_none() && cut.kind == Kind::Refused, "{cut:?}");
}

/// faults 2.4: what a device login goes on at, whatever the server's status for it is.
#[test]
fn a_device_login_goes_on_though_the_rest_is_damaged() {
    for status in [200, 400] {
        for body in [
            &b"{\"error\":\"authorization_pending\",\"error_description\":\"not\nyet\"}"[..],
            b"{\"error\":\"authorization_pending\",\"error_description\":\"f\xfcr\"}",
            b"{\"error\":\"authorization_pending\",\"error_de",
            b"error=authorization_pending",
        ] {
            let failure = refused_by("", &answered(status, &[], body));
            let code = failure.code.as_deref().and_then(crate::oauth::poll::PollReply::of);
            assert_eq!(code, Some(crate::oauth::poll::PollReply::Pending), "{status} {failure:?}");
        }
    }
}

/// A token is read strictly: what is damaged gives none.
#[test]
fn a_token_that_is_damaged_is_none() {
    for body in [
        &b"{\"access_token\":\"t\",\"x\":\"a\nb\"}"[..],
        b"{\"access_token\":\"t\",\"x\":\"f\xfcr\"}",
        b"{\"access_token\":\"t\"",
        b"{\"access_token\":\"t\",\"error\":\"e\",}",
        b"\xef\xbb\xbf{\"access_token\":\"t\"}",
    ] {
        let failure = refused_by("", &answered(200, &[], body));
        assert!(failure.kind == Kind::Reply && !failure.dead, "{failure:?}");
    }
}

/// faults 5.4
#[test]
fn plain_text_problem_details_and_challenges_are_the_servers_words() {
    let problem =
        br#"{"type":"https://e.example/p","title":"Client locked","detail":"Too many \u001b[2J tries","status":403}"#;
    let bearer = r#"Bearer realm="x", error="invalid_token", error_description="The \"old\" token""#;
    for (headers, body, why, code) in [
        (&[][..], &b"Client is disabled.\r\n"[..], "Client is disabled. (status 403)", None),
        (&[], b"\"no such client\"", "no such client (status 403)", None),
        (&[], problem, "Client locked: Too many \\u{1b}[2J tries (status 403)", None),
        (&[], br#"{"title":"Forbidden"}"#, "Forbidden (status 403)", None),
        (&[("WWW-Authenticate", bearer)], b"", "invalid_token: The \"old\" token (status 403)", Some("invalid_token")),
        (
            &[("WWW-Authenticate", bearer)],
            b"<html>",
            "invalid_token: The \"old\" token (status 403)",
            Some("invalid_token"),
        ),
        (&[("WWW-Authenticate", bearer)], br#"{"error":"x"}"#, "x (status 403)", Some("x")),
        (
            &[("www-authenticate", "Basic realm=\"a\""), ("WWW-Authenticate", "DPoP error=\"b\"")],
            b"",
            "b (status 403)",
            Some("b"),
        ),
        (&[("WWW-Authenticate", "Basic realm=\"a\"")], b"", "status 403 without a readable reason", None),
        (&[], b"<html>no</html>", "status 403 without a readable reason", None),
        (&[], b"\x1f\x8b\x08\0abc", "status 403 without a readable reason", None),
    ] {
        let failure = refused_by("", &answered(403, headers, body));
        assert_eq!((failure.why.as_str(), failure.code.as_deref()), (why, code));
        let object = object(&rules(""), &answered(403, headers, body)).expect_err("a failure");
        assert_eq!((object.why.as_str(), object.code.as_deref()), (why, code));
    }
    let trace = refused_by("", &answered(500, &[], b"panic: at t0ken"));
    assert_eq!(trace.why, "server error (status 500)");
    let long = "word ".repeat(1000);
    assert!(refused_by("", &answered(400, &[], long.as_bytes())).why.chars().count() < 400);
}

/// faults 5.12
#[test]
fn errors_are_read_by_their_content_whatever_the_format() {
    for format in [
        "",
        "format = \"json\"",
        "format = \"form\"",
        "format = \"text\"",
        "error = { code = [\"/c\"], message = [\"/m\"] }",
    ] {
        for status in [200, 400] {
            for body in [
                "{\"error\":\"access_denied\",\"error_description\":\"no\"}",
                "error=access_denied&error_description=no",
            ] {
                let failure = refused_by(format, &answered(status, &[], body.as_bytes()));
                assert_eq!(failure.kind, Kind::Refused, "{format} {status} {body}: {failure:?}");
                assert_eq!(failure.code.as_deref(), Some("access_denied"), "{format} {status} {body}");
                assert!(failure.why.starts_with("access_denied: no"), "{}", failure.why);
            }
        }
    }
}

/// faults 5.14
#[test]
fn a_missing_token_is_told_with_places_and_names() {
    let why = |rules: &str, body: &str| read_with(rules, body).expect_err("a failure").why;
    assert_eq!(
        why("", "{\"token\":\"t0ken\",\"expires_in\":1,\"a\":null}"),
        "no access token at /access_token; the reply has /token, /expires_in"
    );
    let nested = "{\"header\":{\"x\":\"t0ken\"},\"body\":{\"a\":{\"b\":{\"c\":{\"d\":1}}}}}";
    let pointers = "access_token = [\"/body/accessToken\", \"/body/token\"]";
    assert_eq!(
        why(pointers, nested),
        "no access token at /body/accessToken or /body/token; the reply has /header/x, /body/a/b"
    );
    assert_eq!(
        why("access_token = { header = \"X-Token\" }", "{\"a\":1}"),
        "no access token in the header X-Token; the reply has /a"
    );
    assert_eq!(why("", "{}"), "no access token at /access_token, and nothing else in the reply");
    // A token taken for a form is a name, and is not shown.
    for body in ["czNjcmV0LXRva2Vu=", "{\"s3cret token\":1,\"b\":2}", "{\"\\u001b\":1}"] {
        assert!(!why("", body).contains("cret"), "{}", why("", body));
    }
    let many: String = (0..99).map(|n| format!("\"n{n}\":1,")).collect();
    let many = why("", &format!("{{{}}}", many.trim_end_matches(',')));
    assert!(many.ends_with("/n19, …") && !many.contains("/n20"), "{many}");
}

/// faults 2.17
#[test]
fn more_than_ten_years_is_unknown_with_a_warning() {
    let far = NOW + 400_000_000;
    for (rules, wire) in [
        ("", format!("\"expires_in\":{NOW}")),
        ("expires = [{ at = \"/e\", as = \"epoch\" }]", format!("\"e\":{far}")),
        ("expires = [{ at = \"/e\", as = \"auto\" }]", "\"e\":\"9999-12-31T23:59:59Z\"".into()),
        ("expires = [{ at = \"/e\", as = \"minutes\" }]", "\"e\":9000000".into()),
    ] {
        let issued = read_with(rules, &format!("{{\"access_token\":\"t\",{wire}}}")).expect("a token");
        assert_eq!(issued.expires, Expires::Unknown, "{wire}");
        assert!(
            matches!(issued.notes.as_slice(), [Note::Warning(text)] if text.contains("ten years")),
            "{:?}",
            issued.notes
        );
    }
    // The next place is asked, the provider's lifetime holds.
    let two = "expires = [{ at = \"/expires_in\" }, { at = \"/e\" }]";
    assert_eq!(
        expires(two, &format!("{{\"access_token\":\"t\",\"expires_in\":{NOW},\"e\":60}}")),
        Expires::At(NOW + 60)
    );
    assert_eq!(
        expires("lifetime = \"1h\"", &format!("{{\"access_token\":\"t\",\"expires_in\":{NOW}}}")),
        Expires::At(NOW + 3600)
    );
}

/// faults 2.9, 2.10, 2.18
#[test]
fn a_device_reply_is_read_as_a_token_reply_is() {
    let read = |body: &str| object(&rules(""), &answer(200, body));
    let reply = read(
        "{\"error\":\"\",\"device_code\":\"d\",\"interval\":8.0,\"expires_in\":\"900\",\"verification_uri\":null}",
    )
    .expect("a reply");
    assert_eq!(value::whole(&reply, "interval"), Some(8));
    assert_eq!(value::whole(&reply, "expires_in"), Some(900));
    assert_eq!(value::text(&reply, &["verification_uri", "device_code"]), Some("d"));
    let form = read("device_code=d%2B1&user_code=A-B&interval=7&error=").expect("a form");
    assert_eq!((value::text(&form, &["device_code"]), value::whole(&form, "interval")), (Some("d+1"), Some(7)));
    assert_eq!(read("{\"error\":{}}").expect_err("a failure").kind, Kind::Refused);
    assert_eq!(read("[]").expect_err("a failure").kind, Kind::Reply);
}

/// The contract's "By reply".
#[test]
fn each_status_has_its_class() {
    let good = b"{\"access_token\":\"t\"}";
    let kind = |status| read(&rules(""), &[], &answered(status, &[], good)).err().map(|failure| failure.kind);
    for status in [200, 201, 203, 206, 299] {
        assert_eq!(kind(status), None, "{status}");
    }
    for (statuses, want) in [
        (&[300, 301, 302, 303, 304, 307, 308, 399][..], Kind::Reply),
        (&[400, 401, 402, 403, 404, 405, 409, 418, 422, 425, 451, 499], Kind::Refused),
        (&[408, 429, 500, 501, 502, 503, 504, 511, 599, 600], Kind::Unavailable),
        (&[100, 101, 199], Kind::Reply),
    ] {
        for status in statuses {
            assert_eq!(kind(*status), Some(want), "{status}");
            let object = object(&rules(""), &answered(*status, &[], b"{}")).expect_err("a failure");
            assert_eq!(object.kind, want, "{status}");
        }
    }
    let success = "success = [{ at = \"/ok\", in = [true] }]";
    let of = |body: &str| read_with(success, body).map(|_| ()).map_err(|failure| failure.kind);
    assert_eq!(of("{\"ok\":true,\"access_token\":\"t\"}"), Ok(()));
    assert_eq!(of("{\"ok\":\"true\",\"access_token\":\"t\"}"), Ok(()));
    assert_eq!(of("{\"ok\":false,\"access_token\":\"t\"}"), Err(Kind::Refused));
    assert_eq!(of("{\"access_token\":\"t\"}"), Err(Kind::Reply));
    assert_eq!(of("{\"ok\":null,\"access_token\":\"t\"}"), Err(Kind::Reply));
    assert_eq!(of("{\"ok\":null,\"error\":\"x\"}"), Err(Kind::Refused));
}

#[test]
fn the_clocks_are_compared_by_the_date_of_the_reply() {
    let ahead = |date: &str| clock(&answered(400, &[("Date", date)], b""));
    assert_eq!(ahead("Fri, 15 Jan 2027 08:01:40 GMT"), Some(100));
    assert_eq!(ahead("Friday, 15-Jan-27 07:59:00 GMT"), Some(-60));
    assert_eq!(ahead("now"), None);
}

/// Magento: the whole body is a JSON string.
#[test]
fn a_json_string_is_the_token() {
    let read = |body: &str| read_with("format = \"json-string\"", body);
    assert_eq!(read("\"abc123\"\n").expect("a token").access_token.expose(), "abc123");
    for wrong in ["abc", "{}", "\"\"", "\"a b\"", "<html>no</html>", ""] {
        assert!(read(wrong).is_err_and(|failure| failure.kind == Kind::Reply), "{wrong}");
    }
    let refusal = answer(401, "{\"message\":\"The account sign-in was incorrect\"}");
    let refused = super::read(&rules("format = \"json-string\""), &[], &refusal).expect_err("a refusal");
    assert_eq!((refused.kind, refused.why.as_str()), (Kind::Refused, "The account sign-in was incorrect (status 401)"));
}

/// QQ: a form for a token, JSONP for a failure, both with 200; others have JSONP for both.
#[test]
fn jsonp_is_json_in_a_call() {
    let rules = "error = { code = [\"/error\"], message = [\"/error_description\"] }";
    let refused = read_with(rules, "callback( {\"error\":100020,\"error_description\":\"code is reused error\"} );\n");
    let refused = refused.expect_err("a refusal");
    assert_eq!((refused.kind, refused.why.as_str()), (Kind::Refused, "100020: code is reused error"));
    assert!(read_with(rules, "access_token=abc&expires_in=7776000&refresh_token=r").is_ok());
    let read = |body: &str| read_with("format = \"jsonp\"", body);
    assert_eq!(read("cb._x({\"access_token\":\"abc\"});").expect("a token").access_token.expose(), "abc");
    for wrong in ["{\"access_token\":\"abc\"}", "callback(", "callback()", "1+1({})x", "callback([1]);"] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

/// Sage Intacct and Tableau without Accept: pointers over elements.
#[test]
fn xml_is_read_by_pointers_over_elements() {
    let rules = "format = \"xml\"\naccess_token = \"/response/operation/result/data/api/sessionid\"\n\
                 success = [{ at = \"/response/operation/result/status\", in = [\"success\"] }]\n\
                 error = { code = [\"/response/operation/result/errormessage/error/errorno\"], \
                 message = [\"/response/operation/result/errormessage/error/description2\"] }";
    let reply = |status: &str, inner: &str| {
        format!(
            "<?xml version=\"1.0\"?><response><operation><result><status>{status}</status>{inner}</result></operation></response>"
        )
    };
    let good = reply("success", "<data><api><sessionid>abc..</sessionid></api></data>");
    assert_eq!(read_with(rules, &good).expect("a token").access_token.expose(), "abc..");
    let error = "<errormessage><error><errorno>XL03000006</errorno><description2>Sign-in information is incorrect</description2></error></errormessage>";
    let refused = read_with(rules, &reply("failure", error)).expect_err("a refusal");
    assert_eq!((refused.kind, refused.why.as_str()), (Kind::Refused, "XL03000006: Sign-in information is incorrect"));
    let tableau = "format = \"xml\"\naccess_token = \"/tsResponse/credentials/@token\"\n\
                   expires = [{ at = \"/tsResponse/credentials/@estimatedTimeToExpiration\", as = \"d:hh:mm\" }]\n\
                   error = { code = [\"/tsResponse/error/@code\"], message = [\"/tsResponse/error/detail\"] }";
    let good = "<tsResponse xmlns=\"http://tableau.com/api\"><credentials token=\"x|y\" estimatedTimeToExpiration=\"173:21:12\"/></tsResponse>";
    let issued = read_with(tableau, good).expect("a token");
    assert_eq!(
        (issued.access_token.expose(), issued.expires),
        ("x|y", Expires::At(NOW + 173 * 86_400 + 21 * 3600 + 720))
    );
    let error = "<tsResponse><error code=\"401001\"><summary>Signin Error</summary><detail>Error signing in</detail></error></tsResponse>";
    let refused = read(&self::rules(tableau), &[], &answer(401, error)).expect_err("a refusal");
    assert_eq!((refused.kind, refused.why.as_str()), (Kind::Refused, "401001: Error signing in (status 401)"));
    assert_eq!(read_with(tableau, "<html><body>no</body></html>").expect_err("no token").kind, Kind::Reply);
}

#[test]
fn odd_expiries_are_read() {
    let of = |rule: &str, wire: &str| {
        expires(&format!("expires = [{{ at = \"/x\", {rule} }}]"), &format!("{{\"access_token\":\"t\",\"x\":{wire}}}"))
    };
    // NOW is 2027-01-15 08:00:00 UTC.
    for (rule, wire, expected) in [
        ("as = \"d:hh:mm\"", "\"1:02:03\"", Expires::At(NOW + 86_400 + 7_380)),
        ("as = \"d:hh:mm\"", "\"04:00\"", Expires::At(NOW + 14_400)),
        ("as = \"hh:mm:ss\"", "\"240:00:30\"", Expires::At(NOW + 864_030)),
        ("as = \"mm/dd/yyyy\"", "\"01/16/2027\"", Expires::At(NOW + 57_600)),
        ("as = \"dd/mm/yyyy\"", "\"16.01.2027\"", Expires::At(NOW + 57_600)),
        ("as = \"yyyy-mm-dd\"", "\"2027-01-16\"", Expires::At(NOW + 57_600)),
        ("as = \"mm/dd/yyyy\"", "\"16/01/2027\"", Expires::Unknown),
        ("as = \"d:hh:mm\"", "\"soon\"", Expires::Unknown),
        ("as = \"d:hh:mm\"", "\"-1:00:00\"", Expires::Unknown),
        ("as = \"d:hh:mm\"", "60", Expires::Unknown),
        ("as = \"seconds\", negative = \"never\"", "-1", Expires::Never),
        ("as = \"seconds\", negative = \"unknown\"", "\"-1\"", Expires::Unknown),
        ("as = \"seconds\"", "-1", Expires::At(NOW - 1)),
    ] {
        assert_eq!(of(rule, wire), expected, "{rule} {wire}");
    }
    let until = |text: &str| expires(&format!("lifetime = \"{text}\""), "{\"access_token\":\"t\"}");
    assert_eq!(until("until 06:00 +05:30"), Expires::At(NOW + 59_400));
    assert_eq!(until("until 08:00 +00:00"), Expires::At(NOW + 86_400));
    assert_eq!(until("until 00:00 -09:00"), Expires::At(NOW + 3_600));
    for wrong in ["until 06:00", "until 25:00 +00:00", "until 6:00 +05:30", "until +6:00 +05:30", "until noon"] {
        let file = format!("[grants.a]\nurl = \"https://a.example\"\n[response]\nlifetime = \"{wrong}\"");
        assert!(
            Provider::parse("t", "t.toml", &file).is_err_and(|e| e.to_string().contains("until 06:00 +05:30")),
            "{wrong}"
        );
    }
}

/// CyberSource answers every refusal with 500; Withings says in a 200, others in a 400, that it is busy.
#[test]
fn a_status_may_mean_the_other_thing() {
    let rules = "refused = [{ status = [500] }, { at = \"/error\", in = [\"server_error\"] }]\n\
                 unavailable = [{ at = \"/status\", in = [601, 503] }]\nsuccess = [{ at = \"/status\", in = [0] }]";
    let of = |status: u16, body: &str| {
        let failure = read(&self::rules(rules), &[], &answer(status, body)).expect_err("no token");
        (failure.kind, failure.why)
    };
    let refused = |why: &str| (Kind::Refused, why.to_string());
    assert_eq!(of(500, "{}"), refused("status 500 without a readable reason"));
    assert_eq!(of(503, "{\"error\":\"server_error\"}"), refused("server_error (status 503)"));
    assert_eq!(of(503, "{}").0, Kind::Unavailable);
    assert_eq!(
        of(400, "{\"status\":601,\"error\":\"busy\"}"),
        (Kind::Unavailable, "not available for now (status 400): busy".into())
    );
    assert_eq!(of(200, "{\"status\":503,\"error\":\"busy\"}"), (Kind::Unavailable, "busy".into()));
    assert_eq!(of(200, "{\"status\":342,\"error\":\"no\"}"), refused("no"));
    assert_eq!(of(302, "{\"status\":503}").0, Kind::Reply);
}

/// SAP Business One and Zscaler's old API: the token is a cookie.
#[test]
fn a_cookie_is_the_token() {
    let rules = self::rules("access_token = { cookie = \"B1SESSION\" }\nlifetime = \"30m\"");
    let mut response = answer(200, "{\"SessionId\":\"x\"}");
    assert!(read(&rules, &[], &response).is_err_and(|failure| failure.why.contains("in the cookie B1SESSION")));
    response.headers.push(("Set-Cookie".into(), "B1SESSION=abc-1; path=/; HttpOnly".into()));
    assert_eq!(read(&rules, &[], &response).expect("a token").access_token.expose(), "abc-1");
    response.body = Vec::new().into();
    assert_eq!(read(&rules, &[], &response).expect("a token").access_token.expose(), "abc-1");
}

#[test]
fn a_step_whose_values_are_in_headers_takes_any_page() {
    let (find, name) = (Find::Cookie("SESSION".into()), "session".to_string());
    let keep = [Kept { name, at: find, shape: Shape::Text }];
    let page = |headers: &[(&str, &str)], status| answered(status, headers, b"<title>Welcome</title>");
    let cookie = [("Set-Cookie", "SESSION=abc; Path=/")];
    assert_eq!(step(&rules(""), &keep, &page(&cookie, 200)).ok(), Some(Value::Null));
    // Without the cookie it may be the page to log in at; what is wanted of a body is not in a page.
    for (keep, headers, status) in [(&keep[..], &[][..], 200), (&[][..], &cookie, 200), (&keep, &cookie, 403)] {
        assert!(step(&rules(""), keep, &page(headers, status)).is_err());
    }
    let other = Kept { at: Find::At(vec!["/ticket".into()]), ..keep[0].clone() };
    assert!(step(&rules(""), &[keep[0].clone(), other], &page(&cookie, 200)).is_err());
}
