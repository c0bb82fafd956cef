//! Runners that are asked for the token: GitHub Actions, Azure Pipelines, and the metadata services of Google and Azure.

use super::Wanted;
use crate::base::error::{Error, Kind, Result};
use crate::base::secret::Secret;
use crate::base::text::escape_to;
use crate::base::url::{Url, encode, is_link_local, is_loopback};
use crate::host::Host;
use crate::oauth::reply::{self, Class, value};
use crate::oauth::request::{self, Request};
use crate::provider::{Method, Rules};
use zeroize::Zeroizing;

/// Where the metadata services of both clouds answer.
const METADATA: &str = "169.254.169.254";

/// One GET with the job's own credential (actions/toolkit, oidc-utils.ts). The URL has a query already.
pub fn github(host: &mut Host, wanted: &Wanted) -> Result<Secret> {
    let (url, token) = ("ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN");
    let lacks = |name: &str| {
        let why = "the job does not have the permission id-token: write";
        wanted.unset(name, why).hint("add it to the job in the workflow file: permissions: { id-token: write }")
    };
    let address = of_variable(host, wanted, url, Reach::Secure)?.ok_or_else(|| lacks(url))?;
    let credential = host.line_var(token)?.ok_or_else(|| lacks(token))?;
    let audience: Vec<(&str, &str)> = wanted.audience().map(|audience| ("audience", audience)).into_iter().collect();
    let mut request = get(wanted, &with_query(&address, &audience));
    add(&mut request, "Authorization", format!("bearer {}", *credential));
    let hint = "check the job's permission id-token: write, and that it is not a pull request from a fork";
    member(host, wanted, &request, "value", hint)
}

/// One POST with the job's own credential (azure-identity, azure_pipelines.py). The audience is always
/// `api://AzureADTokenExchange`.
pub fn azure_pipelines(host: &mut Host, wanted: &Wanted) -> Result<Secret> {
    let (url, token) = ("SYSTEM_OIDCREQUESTURI", "SYSTEM_ACCESSTOKEN");
    let address = of_variable(host, wanted, url, Reach::Secure)?
        .ok_or_else(|| wanted.unset(url, "the agent is too old, or this is not a job of a pipeline"))?;
    let credential = host.line_var(token)?.ok_or_else(|| {
        let why = "a step gets the job's token only where it maps it";
        wanted.unset(token, why).hint("add it to the step: env: { SYSTEM_ACCESSTOKEN: $(System.AccessToken) }")
    })?;
    // Tasks for Azure set it to the connection that they were given.
    let by_task = host.var("AZURESUBSCRIPTION_SERVICE_CONNECTION_ID")?;
    let connection = wanted.service_connection.map(str::to_string).or(by_task);
    let mut query = vec![("api-version", "7.1")];
    query.extend(connection.as_deref().map(|id| ("serviceConnectionId", id)));
    let mut request = Request { method: Method::Post, ..get(wanted, &with_query(&address, &query)) };
    add(&mut request, "Authorization", format!("Bearer {}", *credential));
    add(&mut request, "Content-Type", request::JSON.to_string());
    // Else a refusal is a redirect to a login page.
    add(&mut request, "X-TFS-FedAuthRedirect", "Suppress".to_string());
    let hint = format!(
        "check the service connection: {} = {{ ci = \"azure-pipelines\", service_connection = \"ID\" }}",
        wanted.value
    );
    member(host, wanted, &request, "oidcToken", &hint)
}

/// One GET of the metadata server, whose reply is the token itself. Google's own libraries read `GCE_METADATA_HOST`.
pub fn gce(host: &mut Host, wanted: &Wanted) -> Result<Secret> {
    let audience = wanted.named_audience(wanted.audience())?;
    let place = match host.var("GCE_METADATA_HOST")? {
        Some(place) => metadata_host(wanted, "GCE_METADATA_HOST", &place)?,
        None => METADATA.to_string(),
    };
    let path = "computeMetadata/v1/instance/service-accounts/default/identity";
    let mut request =
        get(wanted, &with_query(&format!("http://{place}/{path}"), &[("audience", &audience), ("format", "full")]));
    request.link_local = true;
    add(&mut request, "Metadata-Flavor", "Google".to_string());
    let hint = "check that the machine has a service account";
    let response = host.send(&request).map_err(|error| unreached(wanted, error))?;
    if Class::of(response.status) != Class::Success {
        return Err(failed(wanted, hint, reply::object(&Rules::default(), &response).map(drop)));
    }
    let text = std::str::from_utf8(&response.body).unwrap_or_default().trim();
    match () {
        () if text.starts_with('<') => Err(wanted.error(Kind::Reply, "it answers with an HTML or XML page")),
        () if text.is_empty() => Err(wanted.error(Kind::Reply, "its reply is empty or not text")),
        () => Ok(Secret::new(text)),
    }
}

/// The token of a managed identity: App Service and Container Apps name their endpoint, a virtual machine has the
/// metadata service. Azure's own libraries read `AZURE_POD_IDENTITY_AUTHORITY_HOST` and `AZURE_CLIENT_ID`.
pub fn azure_vm(host: &mut Host, wanted: &Wanted) -> Result<Secret> {
    // It is the application ID URI of a resource that the tenant knows; an authorization server's address is none.
    let resource = wanted.named_audience(wanted.audience)?;
    let client = host.var("AZURE_CLIENT_ID")?;
    let query = |version: &'static str| {
        let mut query = vec![("api-version", version), ("resource", resource.as_str())];
        query.extend(client.as_deref().map(|id| ("client_id", id)));
        query
    };
    // Azure Arc: its endpoint answers only who has read a file that its agent's group alone can read
    // (azure-identity, azure_arc.py).
    if ["IDENTITY_ENDPOINT", "IMDS_ENDPOINT"].iter().all(|name| host.env.has(name)) && !host.env.has("IDENTITY_HEADER")
    {
        let words = ["az", "account", "get-access-token", "--resource", &resource];
        let command = serde_json::json!([&words[..], &["--query", "accessToken", "--output", "tsv"]].concat());
        let why = "tok does not ask Azure Arc's agent itself";
        return Err(wanted
            .error(Kind::Config, why)
            .hint(format!("let az ask it, in the config: {} = {{ command = {command} }}", wanted.value)));
    }
    let mut request = match of_variable(host, wanted, "IDENTITY_ENDPOINT", Reach::Link)? {
        Some(address) => {
            let mut request = get(wanted, &with_query(&address, &query("2019-08-01")));
            if let Some(header) = host.line_var("IDENTITY_HEADER")? {
                add(&mut request, "X-IDENTITY-HEADER", header);
            }
            request
        }
        None => {
            let base = of_variable(host, wanted, "AZURE_POD_IDENTITY_AUTHORITY_HOST", Reach::Link)?;
            let base = base.unwrap_or_else(|| format!("http://{METADATA}"));
            let address = format!("{}/metadata/identity/oauth2/token", base.trim_end_matches('/'));
            get(wanted, &with_query(&address, &query("2018-02-01")))
        }
    };
    request.link_local = true;
    add(&mut request, "Metadata", "true".to_string());
    let hint = "check that it has a managed identity; of several, AZURE_CLIENT_ID names the one";
    member(host, wanted, &request, "access_token", hint)
}

fn get(wanted: &Wanted, url: &str) -> Request {
    request::get(url, request::JSON, wanted.ca_file)
}

fn add(request: &mut Request, name: &str, value: impl Into<Zeroizing<String>>) {
    request.headers.push((name.into(), value.into()));
}

fn with_query(url: &str, query: &[(&str, &str)]) -> String {
    let mut url = url.to_string();
    for (name, value) in query {
        let mark = if url.contains('?') { '&' } else { '?' };
        url.push_str(&format!("{mark}{name}={}", encode(value)));
    }
    url
}

/// How far a URL may lead.
#[derive(Clone, Copy, PartialEq)]
enum Reach {
    /// https, or loopback.
    Secure,
    /// The same, or plain http on this link: a metadata service.
    Link,
}

/// The URL in the variable `name`, if it leads no further than `reach`.
fn of_variable(host: &Host, wanted: &Wanted, name: &str, reach: Reach) -> Result<Option<String>> {
    let Some(url) = host.var(name)? else { return Ok(None) };
    let on_link = || {
        let authority = url.strip_prefix("http://")?.split(['/', '?', '#']).next()?;
        // Nothing that could hide another host.
        let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "80"));
        (is_link_local(host) && port.parse::<u16>().is_ok()).then_some(())
    };
    match Url::parse(&url) {
        Err(_) if reach == Reach::Link && on_link().is_some() => {}
        Err(why) => return Err(Error::new(Kind::Usage, name, format!("its value {why}"))),
        Ok(parts) if parts.rest.contains('#') => {
            return Err(wanted.error(Kind::Usage, format!("the URL in {name} has a fragment")));
        }
        Ok(_) => {}
    }
    Ok(Some(url))
}

/// `host[:port]` of a metadata server: an address of this link or this machine, or the name that Google gives it.
fn metadata_host(wanted: &Wanted, name: &str, place: &str) -> Result<String> {
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => (host, Some(port)),
        _ => (place, None),
    };
    let host = match host {
        // By its address: no name service decides where the request goes.
        "metadata.google.internal" | "metadata.google.internal." | "metadata" => METADATA,
        host if is_link_local(host) || is_loopback(host) => host,
        _ => {
            let why = format!("{name} is {}: neither a link-local nor a loopback address", escape_to(place, 80));
            return Err(wanted.error(Kind::Usage, why));
        }
    };
    Ok(port.map_or(host.to_string(), |port| format!("{host}:{port}")))
}

/// The token at `name` in the JSON object that answers `request`.
fn member(host: &mut Host, wanted: &Wanted, request: &Request, name: &str, hint: &str) -> Result<Secret> {
    let response = host.send(request).map_err(|error| unreached(wanted, error))?;
    match reply::object(&Rules::default(), &response) {
        Ok(object) => match object.get(name).filter(|found| !value::is_empty(found)) {
            Some(serde_json::Value::String(token)) => Ok(Secret::new(token.as_str())),
            Some(_) => Err(wanted.error(Kind::Reply, format!("/{name} of its reply is not a string"))),
            None => Err(wanted.error(Kind::Reply, format!("no /{name}{}", reply::instead(&object)))),
        },
        Err(failure) => Err(failed(wanted, hint, Err(failure))),
    }
}

/// The error for a request that brought no reply.
fn unreached(wanted: &Wanted, error: Error) -> Error {
    let hint = error.hint.clone();
    let error = wanted.error(error.kind, error.to_string());
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// The error for a reply that is a refusal or cannot be read.
fn failed(wanted: &Wanted, hint: &str, reply: std::result::Result<(), reply::Failure>) -> Error {
    let Err(failure) = reply else { return wanted.error(Kind::Reply, "its reply cannot be read") };
    let error = wanted.error(failure.kind, failure.why);
    match failure.kind {
        Kind::Refused => error.hint(hint),
        Kind::Unavailable => error.hint("try again later"),
        _ => error,
    }
}
