//! What provider files of real shapes send.

use crate::oauth::client_auth::{self, Moment};
use crate::oauth::request::{Repeat, Request, Unready, Values, build, defaults};
use crate::provider::Provider;
use crate::provider::function;
use zeroize::Zeroizing;

/// The request of the grant `g` of the file `text`, with the values `given`.
fn built(text: &str, given: &[(&str, &str)]) -> Result<Request, Unready> {
    let mut provider = Provider::parse("t", "t.toml", text).unwrap_or_else(|e| panic!("{e}"));
    let mut values: Values = given.iter().map(|(n, v)| (n.to_string(), Zeroizing::new(v.to_string()))).collect();
    provider.choose(|name| values.get(name).map(|value| value.as_str()));
    values.insert(function::NOW.into(), Zeroizing::new("1800000000123".into()));
    values.insert(function::RANDOM.into(), Zeroizing::new("00112233445566778899aabbccddeeff".into()));
    defaults(&provider, &mut values, &|_| false)?;
    let mut call = provider.grant("g").expect("the grant").call.clone();
    call.settle(|name| values.get(name).map(|value| value.as_str()));
    let moment = Moment { now: 1_000, id: "x".into() };
    let added = client_auth::add_to(&call, call.auth, &values, "", &moment)?;
    build(&provider, &call, &values, Repeat::Freely, added)
}

fn body(request: &Request) -> String {
    String::from_utf8(request.body.as_ref().map(|body| body.to_vec()).unwrap_or_default()).expect("text")
}

/// Zoho: each data centre has a domain of its own, some with dots.
const DOMAINS: &str = r#"
[params.region]
default = "us"
[params.region.choices]
us = { base_url = "https://accounts.zoho.com", api_url = "https://www.zohoapis.com" }
au = { base_url = "https://accounts.zoho.com.au", api_url = "https://www.zohoapis.com.au" }
[params.base_url]
[params.api_url]
[grants.g]
url = "{base_url}/oauth/v2/token"
body = { api = "{api_url}" }
"#;

/// Microsoft Entra: a cloud has a login host and a scope.
const CLOUDS: &str = r#"
[params.cloud]
[params.cloud.choices]
public = { login_host = "login.microsoftonline.com", scope = "https://graph.microsoft.com/.default" }
china = { login_host = "login.partner.microsoftonline.cn", scope = "https://microsoftgraph.chinacloudapi.cn/.default" }
[params.login_host]
[params.base_url]
default = "https://{login_host}"
[params.tenant]
[params.scope]
list = true
[grants.g]
url = "{base_url}/{tenant}/oauth2/v2.0/token"
body = { scope = "{scope}" }
"#;

#[test]
fn one_word_chooses_several_values() {
    let made = built(DOMAINS, &[]).expect("a request");
    assert_eq!(made.url.as_str(), "https://accounts.zoho.com/oauth/v2/token");
    let made = built(DOMAINS, &[("region", "au")]).expect("a request");
    assert_eq!(made.url.as_str(), "https://accounts.zoho.com.au/oauth/v2/token");
    assert_eq!(body(&made), "api=https%3A%2F%2Fwww.zohoapis.com.au");
    // What is given itself comes first.
    let made = built(DOMAINS, &[("region", "au"), ("base_url", "https://127.0.0.1:1")]).expect("a request");
    assert_eq!(made.url.as_str(), "https://127.0.0.1:1/oauth/v2/token");
    let made = built(CLOUDS, &[("cloud", "china"), ("tenant", "t")]).expect("a request");
    assert_eq!(made.url.as_str(), "https://login.partner.microsoftonline.cn/t/oauth2/v2.0/token");
    assert_eq!(body(&made), "scope=https%3A%2F%2Fmicrosoftgraph.chinacloudapi.cn%2F.default");
    assert!(matches!(built(CLOUDS, &[("tenant", "t")]), Err(Unready::Missing(name)) if name == "base_url"));
}

#[test]
fn what_a_user_gives_puts_no_dot_into_a_host() {
    let wrong = built(CLOUDS, &[("cloud", "public"), ("login_host", "evil.example"), ("tenant", "t")]);
    assert!(matches!(wrong, Err(Unready::Wrong(name, _)) if name == "login_host"));
    let domain = "[params.domain]\nchoices = [\"com\", \"com.au\"]\n[params.base_url]\ndefault = \"https://a.{domain}\"\n\
                  [grants.g]\nurl = \"{base_url}/t\"\n";
    assert_eq!(built(domain, &[("domain", "com.au")]).expect("a request").url.as_str(), "https://a.com.au/t");
    assert!(matches!(built(domain, &[("domain", "net.au")]), Err(Unready::Wrong(..))));
}

/// A file whose grant has this client authentication.
fn with_auth(auth: &str, more: &str) -> String {
    format!(
        "[params.client_id]\n[params.client_secret]\nsecret = true\n[params.secret_key]\nsecret = true\n\
         [params.client_auth]\nchoices = [\"basic\", \"post\"]\n\
         [grants.g]\nurl = \"https://a.example/t\"\nauth = {auth}\n{more}"
    )
}

fn authorization(request: &Request) -> String {
    let found = request.headers.iter().find(|(name, _)| name == "Authorization");
    found.map(|(_, value)| value.to_string()).unwrap_or_default()
}

#[test]
fn a_client_proves_itself_under_other_names_or_with_half_of_it() {
    let given = [("client_id", "c"), ("client_secret", "s"), ("secret_key", "sk_1")];
    for (auth, sent) in [
        // Reddit: an installed app has an empty password. `c:`
        ("{ method = \"basic\", secret = \"\" }", "Basic Yzo="),
        // Stripe Apps: the secret key is the name. `sk_1:`
        ("{ method = \"basic-raw\", id = \"{secret_key}\", secret = \"\" }", "Basic c2tfMTo="),
        // IBM Cloud: `bx:bx`
        ("{ method = \"basic\", id = \"bx\", secret = \"bx\" }", "Basic Yng6Yng="),
    ] {
        let made = built(&with_auth(auth, ""), &given).expect("a request");
        assert_eq!(authorization(&made), sent, "{auth}");
        assert!(!body(&made).contains("client"), "{auth}");
    }
    // TikTok: client_key; WeChat: appid and secret.
    for (auth, sent) in [
        ("{ method = \"post\", id_name = \"client_key\" }", "client_key=c&client_secret=s"),
        ("{ method = \"post\", id_name = \"appid\", secret_name = \"secret\" }", "appid=c&secret=s"),
    ] {
        assert_eq!(body(&built(&with_auth(auth, ""), &given).expect("a request")), sent);
    }
    // A value names the method.
    let chosen = with_auth("{ method = \"{client_auth}\", id_name = \"client_key\" }", "");
    let post = built(&chosen, &[given[0], given[1], ("client_auth", "post")]).expect("a request");
    assert_eq!(body(&post), "client_key=c&client_secret=s");
    let basic = built(&chosen, &[given[0], given[1], ("client_auth", "basic")]).expect("a request");
    assert_eq!((authorization(&basic).as_str(), body(&basic).as_str()), ("Basic Yzpz", ""));
    let missing = built(&with_auth("{ method = \"basic-raw\", id = \"{secret_key}\", secret = \"\" }", ""), &[]);
    assert!(matches!(missing, Err(Unready::Missing(name)) if name == "secret_key"));
}

#[test]
fn what_is_wrong_with_client_authentication_is_told() {
    for (auth, says) in [
        ("{ id = \"x\" }", "missing `method`"),
        ("{ method = \"tls\" }", "only basic, basic-raw and post send an ID and a secret"),
        ("{ method = \"basic\", name = \"x\" }", "unknown key `name`"),
        ("{ method = \"basic\", id = \"{nothing}\" }", "requires [params.nothing]"),
    ] {
        let (_, findings) = Provider::check("t", "t.toml", &with_auth(auth, ""));
        let found: String = findings.iter().map(|error| format!("{error}\n")).collect();
        assert!(found.contains(says), "{auth}: {found}");
    }
}

/// MyAnimeList takes `plain` alone; TikTok's desktop client the hash in hexadecimal; others refuse any.
#[test]
fn a_code_is_bound_as_the_server_wants() {
    let of = |pkce: &str| {
        let text = format!("like = \"oauth2\"\n[grants.authorization-code]\n{pkce}\n");
        Provider::parse("t", "t.toml", &text).unwrap_or_else(|e| panic!("{e}"))
    };
    let sent = |provider: &Provider| {
        let grant = &provider.grants[0];
        let query = &grant.begin.as_ref().expect("a begin").query;
        let text = |name: &str| query.iter().find(|(n, _)| n == name).map(|(_, text)| text.to_string());
        (text("code_challenge"), text("code_challenge_method"), grant.call.names().contains_key("code_verifier"))
    };
    let challenge = || Some("{code_challenge}".to_string());
    assert_eq!(sent(&of("")), (challenge(), Some("S256".into()), true));
    assert_eq!(sent(&of("pkce = \"plain\"")), (challenge(), Some("plain".into()), true));
    assert_eq!(sent(&of("pkce = \"S256-hex\"")), (challenge(), Some("S256".into()), true));
    assert_eq!(sent(&of("pkce = \"none\"")), (None, None, false));
    let device = "like = \"oauth2\"\n[grants.device-code]\npkce = \"none\"\n";
    let (_, findings) = Provider::check("t", "t.toml", device);
    assert!(findings.iter().any(|error| error.why.contains("is for the flow authorization-code")));
}

#[test]
fn a_line_is_computed_where_a_server_wants_it() {
    let file = |grant: &str| {
        format!(
            "[params.key]\n[params.secret]\nsecret = true\n[params.code]\nsecret = true\n\
             [grants.g]\nurl = \"https://a.example/t\"\n{grant}"
        )
    };
    let given = [("key", "k"), ("secret", "s"), ("code", "c")];
    // Sabre: ID and secret each encoded, and both again.
    let sabre = "headers = { Authorization = \"Basic {base64(base64('V1:' + key) + ':' + base64(secret))}\" }";
    let made = built(&file(sabre), &given).expect("a request");
    assert_eq!(authorization(&made), "Basic VmpFNmF3PT06Y3c9PQ==");
    // Zerodha Kite: a checksum over three values; a time and an ID beside it as TikTok Shop and Walmart have them.
    let kite = "headers = { X-Correlation-Id = \"{uuid()}\" }\n\
                query = { timestamp = \"{now('epoch')}\" }\nbody = { checksum = \"{hex(sha256(key + code + secret))}\" }";
    let made = built(&file(kite), &given).expect("a request");
    assert_eq!(made.url.as_str(), "https://a.example/t?timestamp=1800000000");
    assert_eq!(body(&made), "checksum=350c485c39a1594ef2846f59bae19f052b1c480d0b5e6649f4101c09a91751b5");
    let id = made.headers.iter().find(|(name, _)| name == "X-Correlation-Id").map(|(_, id)| id.to_string());
    assert_eq!(id.as_deref(), Some("00112233-4455-4677-8899-aabbccddeeff"));
    let missing = built(&file(kite), &given[..2]);
    assert!(matches!(missing, Err(Unready::Missing(name)) if name == "code"));
}

#[test]
fn a_function_stands_where_it_can() {
    let found = |text: &str| {
        let (_, findings) = Provider::check("t", "t.toml", &format!("[params.x]\n{text}"));
        findings.iter().map(|error| format!("{error}\n")).collect::<String>()
    };
    for url in ["https://{hex(x)}.example/t", "https://a.{hex(x)}/t", "{base64(x)}/t"] {
        let said = found(&format!("[grants.g]\nurl = \"{url}\"\n"));
        assert!(said.contains("in the path or the query of a URL"), "{url}: {said}");
    }
    assert_eq!(found("[grants.g]\nurl = \"https://a.example/{hex(x)}?a={hex(x)}\"\n"), "");
    let used = "[grants.g]\nurl = \"https://a.example\"\n[use]\nheaders = { X-Id = \"{uuid()}\" }\n";
    assert!(found(used).contains("made once for a token"), "{}", found(used));
    let unknown = "[grants.g]\nurl = \"https://a.example\"\nbody = { a = \"{hex(y)}\" }\n";
    assert!(found(unknown).contains("unknown value `y`"));
}
