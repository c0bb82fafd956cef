//! What provider files of real shapes send.

use crate::oauth::request::{Added, Repeat, Request, Unready, Values, build, defaults};
use crate::provider::Provider;
use zeroize::Zeroizing;

/// The request of the grant `g` of the file `text`, with the values `given`.
fn built(text: &str, given: &[(&str, &str)]) -> Result<Request, Unready> {
    let mut provider = Provider::parse("t", "t.toml", text).unwrap_or_else(|e| panic!("{e}"));
    let mut values: Values = given.iter().map(|(n, v)| (n.to_string(), Zeroizing::new(v.to_string()))).collect();
    provider.choose(|name| values.get(name).map(|value| value.as_str()));
    defaults(&provider, &mut values, &|_| false)?;
    let call = provider.grant("g").expect("the grant").call.clone();
    build(&provider, &call, &values, Repeat::Freely, Added::default())
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
