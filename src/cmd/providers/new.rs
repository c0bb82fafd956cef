//! `tok providers new`: a provider file to start from.

use crate::base::error::{Error, Kind};
use crate::base::name::is_name;
use crate::base::text::lines;
use crate::base::url::Url;
use crate::cli::{NewProvider, ProviderKind};
use crate::host::Host;
use crate::provider::Provider;
use crate::system::files::{self, Durable, Target};
use crate::system::terminal::Echo;
use anyhow::Result;

/// What the file is made of.
struct Answers {
    name: String,
    title: String,
    docs: String,
    url: String,
    kind: ProviderKind,
    encode: String,
    access_token: String,
    refresh_token: String,
    expires: String,
    header: String,
}

/// Writes the file, or prints it.
///
/// # Errors
/// [`Kind::Usage`] for what is missing or cannot be used; where the file is there already.
pub fn run(host: &mut Host, args: &NewProvider) -> Result<()> {
    host.check_home()?;
    let answers = answers(host, args)?;
    let text = skeleton(&answers);
    let (_, findings) = Provider::check(&answers.name, &format!("{}.toml", answers.name), &text);
    if let Some(finding) = findings.first() {
        return Err(Error::new(Kind::Usage, "these options make no provider file", &finding.why).into());
    }
    if args.print {
        return Ok(host.terminal.print(&lines(&text))?);
    }
    let folder = host.folders()?.providers();
    let path = folder.join(format!("{}.toml", answers.name));
    if path.symlink_metadata().is_ok() {
        return Err(Error::new(Kind::Usage, format!("{} already exists", path.display()), "it is not replaced")
            .hint("choose another name, or print the new file: --print")
            .into());
    }
    let made = if folder.is_dir() { Ok(()) } else { files::private_dir(&folder) };
    let written = made
        .and_then(|()| Target::config(&path, text.len() as u64))
        .and_then(|target| target.put(text.as_bytes(), Durable::No));
    written.map_err(|error| {
        Error::new(Kind::Other, format!("{} cannot be written", path.display()), files::why(&error))
            .hint("print it instead: --print")
    })?;
    if Provider::built_in(&answers.name).is_some() {
        host.terminal.warn(&format!("{} now hides the built-in provider {}", path.display(), answers.name));
    }
    host.terminal.tell(&format!(
        "edit it, then run: tok providers --check {0}; tok providers --try {1}; tok login {1}",
        shlex::try_quote(&path.to_string_lossy()).unwrap_or_default(),
        answers.name
    ));
    Ok(host.terminal.print(&lines(&format!("{}\n", path.display())))?)
}

/// What the options say; the rest is asked on a terminal, and usual without one.
fn answers(host: &mut Host, args: &NewProvider) -> Result<Answers> {
    let name = needed(host, &args.name, "Name, as in `tok get NAME`", "NAME")?;
    if !is_name(&name) || name == "new" {
        let what = format!("`{}` cannot name a provider", crate::base::text::escape_to(&name, 80));
        let why = "use lower-case letters, digits and `-`, at most 63; `help` and `new` are commands";
        return Err(Error::new(Kind::Usage, what, why).into());
    }
    let title = asked(host, &args.title, "Title, the name that people know it by", &name)?;
    let kind = match args.kind {
        Some(kind) => kind,
        None => kind_of(&asked(host, &None, "Kind: client, key, password or standard", "client")?)?,
    };
    let is_standard = kind == ProviderKind::Standard;
    let question = if is_standard { "URL of the issuer" } else { "URL of the token endpoint" };
    let url = needed(host, &args.url, question, "--url URL")?;
    Url::parse(&url).map_err(|why| Error::new(Kind::Usage, "the URL cannot be used", format!("it {why}")))?;
    let docs = asked(host, &args.docs, "URL of its documentation", "")?;
    let usual = |text: &str| if is_standard { None } else { Some(text.to_string()) };
    // A standard server is read by the standard.
    let mut pointer = |given: &Option<String>, question: &str, default: &str| match usual(default) {
        Some(default) => asked(host, given, question, &default),
        None => Ok(String::new()),
    };
    let access_token = pointer(&args.access_token, "JSON Pointer to the access token in the reply", "/access_token")?;
    let expires = pointer(&args.expires, "JSON Pointer to the seconds until it expires (- for none)", "/expires_in")?;
    let refresh = "JSON Pointer to the refresh token (- for none)";
    let refresh_token = pointer(&args.refresh_token, refresh, "-")?;
    let header = asked(host, &args.header, "Header in which the API expects the token", "Authorization")?;
    let encode = match (&args.encode, kind) {
        (Some(encode), _) => encode.clone(),
        (None, ProviderKind::Key) => asked(host, &None, "How fields are sent: form, json or query", "json")?,
        (None, _) => "form".into(),
    };
    let given = |text: String| if text == "-" { String::new() } else { text };
    let (expires, refresh_token) = (given(expires), given(refresh_token));
    Ok(Answers { name, title, docs, url, kind, encode, access_token, refresh_token, expires, header })
}

fn needed(host: &mut Host, given: &Option<String>, question: &str, option: &str) -> Result<String> {
    let answer = match given {
        Some(text) => text.clone(),
        None => asked(host, given, question, "")?,
    };
    if answer.is_empty() {
        return Err(Error::new(Kind::Usage, format!("missing argument: {option}"), "")
            .hint("for example: tok providers new shop --url https://shop.example.com/v1/token")
            .into());
    }
    Ok(answer)
}

/// What an option says, else what a person answers, else what is usual.
fn asked(host: &mut Host, given: &Option<String>, question: &str, usual: &str) -> Result<String> {
    if let Some(text) = given {
        return Ok(text.clone());
    }
    if !host.terminal.interactive {
        return Ok(usual.to_string());
    }
    let label = if usual.is_empty() { question.to_string() } else { format!("{question} [{usual}]") };
    let answer = host.ask(&label, Echo::On)?;
    Ok(answer.map_or(usual.to_string(), |answer| answer.expose().trim().to_string()))
}

fn kind_of(word: &str) -> Result<ProviderKind> {
    Ok(match word {
        "key" => ProviderKind::Key,
        "client" => ProviderKind::Client,
        "password" => ProviderKind::Password,
        "standard" => ProviderKind::Standard,
        _ => {
            let what = format!("`{}` is not a kind", crate::base::text::escape_to(word, 40));
            return Err(Error::new(Kind::Usage, what, "expected client, key, password or standard").into());
        }
    })
}

/// A TOML string (a JSON string is one, but for DEL).
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

fn skeleton(answers: &Answers) -> String {
    let Answers { title, docs, url, .. } = answers;
    let docs = match docs.is_empty() {
        true => "# docs = \"https://…\"       # the page that describes the token endpoint".to_string(),
        false => format!("docs = {}", quoted(docs)),
    };
    let mut text = format!(
        "# A provider file of tok. Every key: man tok-provider, or docs/providers.md.\n\
         # After each change: tok providers --check FILE\n\ntitle = {}\n{docs}\n",
        quoted(title)
    );
    if answers.kind == ProviderKind::Standard {
        text.push_str(&format!(
            "like = {}            # starts with all that this provider has\n\n\
             [params.issuer]\ndefault = {}\n\
             # [params.client_id]\n# default = \"our-cli\"  # if everybody uses the same client\n\n\
             # Only the grants that you name are offered. The first is the default.\n\
             [grants.authorization-code]\n[grants.device-code]\n",
            quoted(Provider::by_issuer().unwrap_or_default()),
            quoted(url)
        ));
        if answers.header != "Authorization" {
            text.push_str(&usage(&answers.header));
        }
        return text;
    }
    let (base, path) = url.split_at(url.len() - Url::parse(url).map_or(0, |url| url.rest.len()));
    text.push_str(&format!(
        "\n# The values that requests need. A plain one is a flag (--base-url), a secret one never is.\n\
         [params.base_url]\ndefault = {}\n",
        quoted(base)
    ));
    let (params, grant, help, body, refresh_body) = match answers.kind {
        ProviderKind::Key => (
            "[params.api_key]\nsecret = true\nhelp = \"API key\"",
            "key",
            "With an API key",
            "api_key = \"{api_key}\"",
            "refresh_token = \"{refresh_token}\"",
        ),
        ProviderKind::Password => (
            "[params.username]\n[params.password]\nsecret = true\npersonal = true           # a person's own: \
             not stored without --keep",
            "password",
            "With a user name and a password",
            "username = \"{username}\", password = \"{password}\"",
            "refresh_token = \"{refresh_token}\"",
        ),
        ProviderKind::Client | ProviderKind::Standard => (
            "[params.client_id]\n[params.client_secret]\nsecret = true\n[params.scope]\nlist = true               \
             # sent as one field, joined by spaces",
            "client-credentials",
            "As the application itself (RFC 6749 §4.4)",
            "grant_type = \"client_credentials\", scope = \"{scope?}\"",
            "grant_type = \"refresh_token\", refresh_token = \"{refresh_token}\"",
        ),
    };
    let auth = match answers.kind {
        ProviderKind::Client => {
            "auth = \"basic\"            # ID and secret in a header; post: in the body; basic-raw: not encoded first\n"
        }
        _ => "",
    };
    text.push_str(&format!(
        "{params}\n\n# What all grants share.\n[request]\nurl = {}\nencode = {}            # form, json, query (in the \
         URL) or none\n{auth}# method = \"POST\"          # POST (default), GET or PUT\n# headers = {{ X-Name = \
         \"{{api_key}}\" }}\n\n# {{name}} is a value; {{name?}} leaves the whole field out where the value is missing.\n\
         [grants.{grant}]\nhelp = {}\nbody = {{ {body} }}\n",
        quoted(&format!("{{base_url}}{}", path.replace('{', "{{").replace('}', "}}"))),
        quoted(&answers.encode),
        quoted(help),
    ));
    if !answers.refresh_token.is_empty() {
        text.push_str(&format!(
            "[grants.refresh]\nbody = {{ {refresh_body} }}\n\n[refresh]\ngrant = \"refresh\"\n\
             # dead = [{{ at = \"/error\", in = [\"invalid_grant\"] }}]   # which refusals mean that it is dead\n"
        ));
    }
    text.push_str(&format!(
        "\n# Where things are in the reply: JSON Pointers (RFC 6901). Try it: tok providers --read {} REPLY\n\
         [response]\naccess_token = [{}]\n",
        answers.name,
        quoted(&answers.access_token)
    ));
    if !answers.refresh_token.is_empty() {
        text.push_str(&format!("refresh_token = [{}]\n", quoted(&answers.refresh_token)));
    }
    match answers.expires.is_empty() {
        true => text.push_str("lifetime = \"1h\"           # the reply does not say when the token expires\n"),
        false => text.push_str(&format!(
            "expires = [{{ at = {}, as = \"seconds\" }}]   # or minutes, milliseconds, epoch, date, auto\n",
            quoted(&answers.expires)
        )),
    }
    text.push_str(
        "# success = [{ at = \"/ok\", in = [true] }]                 # if a failure comes with status 200 too\n\
         # error = { code = [\"/error\"], message = [\"/error_description\"] }\n\
         # extra = { account = \"/account/id\" }                    # kept for `tok get -o json`\n",
    );
    text.push_str(&usage(&answers.header));
    text
}

/// How the API takes the token: as `Bearer` in `Authorization`, else alone.
fn usage(header: &str) -> String {
    let value = if header.eq_ignore_ascii_case("Authorization") { "Bearer {access_token}" } else { "{access_token}" };
    format!(
        "\n# The header in which the API expects the token.\n[use]\nheader = {}\nvalue = \"{value}\"\n",
        quoted(header)
    )
}
