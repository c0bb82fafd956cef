//! `config.toml`: what a person set, strictly read, and what `login` writes into it.

use super::ci::CiSource;
use crate::base::error::{Error, Kind, Result};
use crate::base::name::{is_name, is_value_name};
use crate::base::secret::Secret;
use crate::base::toml::{Document, Table, TomlValue, unknown};
use crate::base::url::host_origin;
use crate::storage::choice::StoreChoice;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::de::DeValue;

/// A value as the config gives it.
#[derive(Clone, Debug)]
pub enum ConfigValue {
    /// The value itself.
    Text(Secret),
    /// Several values.
    List(Vec<String>),
    /// The value of that environment variable.
    Env(String),
    /// The content of that file.
    File(PathBuf),
    /// What that command prints.
    Command(Vec<String>),
    /// An entry of the keyring that something else put there: service and user.
    Keyring(String, String),
    /// The identity of the CI job or machine.
    Ci(CiSource),
}

/// What stands at the top and may stand in each profile.
#[derive(Clone, Debug, Default)]
pub struct ConfigSettings {
    /// `store`
    pub store: Option<StoreChoice>,
    /// `share`: whether machines that share a store share access tokens too.
    pub share: Option<bool>,
    /// `cache`: whether access tokens are cached on disk.
    pub cache: Option<bool>,
    /// `min_ttl` in seconds.
    pub min_ttl: Option<i64>,
    /// `ca_file`
    pub ca_file: Option<PathBuf>,
    /// `client_metadata_url`: where the metadata of a client are that has no other name.
    pub client_metadata_url: Option<String>,
    /// `on`
    pub hooks: Hooks,
}

/// `[on]`: what is run when something happens to a session, a program and its arguments. An empty list: nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hooks {
    /// A new token came.
    pub renewed: Option<Vec<String>>,
    /// A person is needed.
    pub login_needed: Option<Vec<String>>,
}

/// One `[profile.NAME]`.
#[derive(Clone, Debug, Default)]
pub struct ProfileConfig {
    /// `provider`; absent: the provider of the profile's name.
    pub provider: Option<String>,
    /// `grant`
    pub grant: Option<String>,
    /// The origins that `hosts` names: they get this profile's token.
    pub hosts: Vec<String>,
    /// ConfigSettings of this profile.
    pub settings: ConfigSettings,
    /// Values with the places of their keys (`FILE:LINE:COLUMN`).
    pub values: BTreeMap<String, (ConfigValue, String)>,
    /// Where `provider` stands.
    pub provider_at: String,
    /// Where `grant` stands.
    pub grant_at: String,
}

/// The config.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// ConfigSettings of all profiles.
    pub settings: ConfigSettings,
    /// The profiles by name.
    pub profiles: BTreeMap<String, ProfileConfig>,
    /// `[vault]`: how the store `vault:…` is reached.
    pub vault: BTreeMap<String, ConfigValue>,
    /// `share` in `[vault]`.
    pub vault_share: Option<bool>,
}

/// What `share` may say.
const SHARE: [(&str, bool); 2] = [("tokens", true), ("session", false)];

/// The keys of `[vault]` with a value of their own; `share` stands there too.
const VAULT_KEYS: [&str; 8] = ["address", "namespace", "ca_file", "auth", "auth_mount", "role", "secret_id", "jwt"];

impl Config {
    /// Reads the text of the config file `path`; `home` is what `~/` means in it.
    ///
    /// # Errors
    /// [`Kind::Config`] with line and column.
    pub fn parse(path: &Path, text: &str, home: Option<&Path>) -> Result<Config> {
        let doc = Document::new(path.display().to_string(), text);
        let parsed = doc.parse()?;
        let root = doc.table(parsed.get_ref(), 0..0);
        let mut config = Config { settings: settings(&root, home)?, ..Config::default() };
        if let Some(table) = root.get("vault") {
            let table = table.table()?;
            config.vault_share = table.get("share").map(|v| v.choice(&SHARE)).transpose()?;
            config.vault = vault(&table, home)?;
        }
        if let Some(profiles) = root.get("profile") {
            for (name, at, value) in profiles.table()?.all() {
                if !is_name(&name) {
                    return Err(doc.error(
                        at,
                        format!(
                            "`{}` is not a profile name: use lower-case letters, digits and `-`, at most 63",
                            crate::base::text::escape(&name)
                        ),
                    ));
                }
                config.profiles.insert(name, profile(&doc, &value.table()?, home)?);
            }
        }
        root.done()?;
        Ok(config)
    }
}

fn settings(table: &Table, home: Option<&Path>) -> Result<ConfigSettings> {
    Ok(ConfigSettings {
        store: table.get("store").map(|v| StoreChoice::parse(v.text()?).map_err(|why| v.error(why))).transpose()?,
        share: table.get("share").map(|v| v.choice(&SHARE)).transpose()?,
        cache: table.get("cache").map(|v| v.choice(&[("disk", true), ("off", false)])).transpose()?,
        min_ttl: table
            .get("min_ttl")
            .map(|v| crate::base::duration::parse(v.text()?).map_err(|why| v.error(why)))
            .transpose()?,
        ca_file: table.get("ca_file").map(|v| path(v, v.text()?, home)).transpose()?,
        client_metadata_url: table.get("client_metadata_url").map(client_url).transpose()?,
        hooks: table.get("on").map_or(Ok(Hooks::default()), hooks)?,
    })
}

fn vault(table: &Table, home: Option<&Path>) -> Result<BTreeMap<String, ConfigValue>> {
    let mut settings = BTreeMap::new();
    for name in VAULT_KEYS {
        let Some(value) = table.get(name) else { continue };
        let setting = match name {
            "auth" => {
                let all = ["token", "approle", "kubernetes", "jwt"].map(|auth| (auth, auth));
                ConfigValue::Text(Secret::new(value.choice(&all)?))
            }
            "ca_file" => {
                let path = path(value, value.text()?, home)?;
                ConfigValue::Text(Secret::new(path.to_string_lossy()))
            }
            _ => config_value(&value, home)?,
        };
        settings.insert(name.to_string(), setting);
    }
    table.done()?;
    Ok(settings)
}

/// draft-ietf-oauth-client-id-metadata-document §3: https, with a path, without user info and fragment.
fn client_url(value: TomlValue) -> Result<String> {
    let text = value.text()?;
    match crate::base::url::Url::parse(text) {
        Ok(url)
            if url.scheme == "https" && url.rest.len() > 1 && url.rest.starts_with('/') && !url.rest.contains('#') =>
        {
            Ok(text.into())
        }
        _ => Err(value.error("expected the https URL of a client metadata document, with a path")),
    }
}

fn hooks(value: TomlValue) -> Result<Hooks> {
    let table = value.table()?;
    let command = |name: &'static str| table.get(name).map(|value| hook(&value)).transpose();
    let hooks = Hooks { renewed: command("renewed")?, login_needed: command("login_needed")? };
    table.done()?;
    Ok(hooks)
}

/// A program and its arguments. The program is found as others are: nothing from the working folder is run.
fn hook(value: &TomlValue) -> Result<Vec<String>> {
    let words = value.texts()?;
    if words.iter().any(|word| word.contains('\0')) {
        return Err(value.error("an argument cannot contain NUL"));
    }
    match words.first() {
        Some(program) if program.is_empty() || (program.contains('/') && !Path::new(program).is_absolute()) => {
            Err(value
                .error("expected a program on PATH or an absolute path, and its arguments: [\"notify-send\", \"tok\"]"))
        }
        _ => Ok(words),
    }
}

/// A path in a file is absolute or begins with `~/`: nothing is ever looked for in the working folder.
fn path(value: TomlValue, text: &str, home: Option<&Path>) -> Result<PathBuf> {
    if let (Some(rest), Some(home)) = (text.strip_prefix("~/"), home) {
        return Ok(home.join(rest));
    }
    let path = PathBuf::from(text);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(value.error("expected an absolute path, or one that begins with ~/"))
    }
}

fn profile(doc: &Document, table: &Table, home: Option<&Path>) -> Result<ProfileConfig> {
    let place = |value: Option<TomlValue>| value.map(|v| doc.place(v.span())).unwrap_or_default();
    let (provider, grant) = (table.get("provider"), table.get("grant"));
    let mut profile = ProfileConfig {
        provider: provider.map(|v| v.text().map(str::to_string)).transpose()?,
        grant: grant.map(|v| v.text().map(str::to_string)).transpose()?,
        hosts: table.get("hosts").map_or(Ok(Vec::new()), TomlValue::origins)?,
        settings: settings(table, home)?,
        values: BTreeMap::new(),
        provider_at: place(provider),
        grant_at: place(grant),
    };
    for (name, at, value) in table.rest() {
        // Whether the provider knows this value is asked when the profile is used; an impossible name is refused
        // at once.
        if !is_value_name(&name) || name.ends_with("_file") {
            let keys = crate::base::name::profile_keys();
            return Err(unknown(doc, at, "key", &name, keys));
        }
        let given = config_value(&value, home)?;
        profile.values.insert(name, (given, doc.place(at)));
    }
    Ok(profile)
}

fn config_value(value: &TomlValue, home: Option<&Path>) -> Result<ConfigValue> {
    match value.raw() {
        DeValue::Array(_) => Ok(ConfigValue::List(value.texts()?)),
        DeValue::Table(_) => {
            let table = value.table()?;
            if let Some(runner) = table.get("ci") {
                let own = CiSource::read(runner, table.get("audience"), table.get("service_connection"))?;
                table.done()?;
                return Ok(ConfigValue::Ci(own));
            }
            let (env, file) = (table.get("env"), table.get("file"));
            let (command, keyring) = (table.get("command"), table.get("keyring"));
            table.done()?;
            let one = || {
                value.error(
                    "expected text, or one of { env = \"X\" }, { file = \"…\" }, { command = [\"…\"] }, { keyring = \"service/user\" }, { ci = \"auto\" }",
                )
            };
            match (env, file, command, keyring) {
                (Some(v), None, None, None) => {
                    let name = v.text()?;
                    if name.is_empty() || name.contains(['=', '\0']) {
                        return Err(v.error("not the name of an environment variable"));
                    }
                    Ok(ConfigValue::Env(name.into()))
                }
                (None, Some(v), None, None) => Ok(ConfigValue::File(path(v, v.text()?, home)?)),
                (None, None, Some(v), None) => {
                    let words = v.texts()?;
                    match words.first() {
                        Some(first) if !first.is_empty() => Ok(ConfigValue::Command(words)),
                        _ => Err(v.error("expected a program and its arguments: [\"pass\", \"show\", \"name\"]")),
                    }
                }
                (None, None, None, Some(v)) => match v.text()?.split_once('/') {
                    Some((service, user)) if !service.is_empty() && !user.is_empty() => {
                        Ok(ConfigValue::Keyring(service.into(), user.into()))
                    }
                    _ => Err(v.error("expected \"service/user\"")),
                },
                _ => Err(one()),
            }
        }
        // `dpop = true` and `redirect_port = 8080` are meant as they look.
        DeValue::Boolean(flag) => Ok(ConfigValue::Text(Secret::new(flag.to_string()))),
        DeValue::Integer(_) => Ok(ConfigValue::Text(Secret::new(value.integer()?.to_string()))),
        _ => {
            // Whether it may be empty, to switch a default off, is known where the value is.
            Ok(ConfigValue::Text(Secret::new(value.text()?)))
        }
    }
}

/// What `login` writes into a profile.
#[derive(Clone, Debug, Default)]
pub struct Edit {
    /// The provider.
    pub provider: String,
    /// The grant, if it is to be the profile's.
    pub grant: Option<String>,
    /// The store, if it was chosen for this profile.
    pub store: Option<StoreChoice>,
    /// Hosts that must be among the profile's `hosts`: `host`, `host:port` or an origin.
    pub hosts: Vec<String>,
    /// Plain values.
    pub values: Vec<(String, PlainValue)>,
}

/// A plain value as the config holds it.
#[derive(Clone, Debug)]
pub enum PlainValue {
    /// One.
    Text(String),
    /// Several.
    List(Vec<String>),
}

/// The text of the config with `edit` made to `[profile.NAME]`; comments and order stay. `None` where nothing changes.
///
/// # Errors
/// [`Kind::Config`] where the text is no TOML, or has something else where the profile should be.
pub fn edit(path: &Path, text: &str, name: &str, edit: &Edit) -> Result<Option<String>> {
    use toml_edit::{DocumentMut, Item, Table, value};
    let wrong = |why: String| Error::new(Kind::Config, path.display().to_string(), why);
    let mut doc: DocumentMut =
        text.parse().map_err(|e: toml_edit::TomlError| wrong(crate::base::text::escape(e.message())))?;
    // What stands at the end of the file, comments alone perhaps, stays before what is added.
    let end = doc.trailing().as_str().unwrap_or_default().to_string();
    if doc.get("profile").and_then(|p| p.get(name)).is_none() {
        doc.set_trailing("");
    }
    let profiles = doc.entry("profile").or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    });
    let profiles = profiles.as_table_like_mut().ok_or_else(|| wrong("`profile` is not a table".into()))?;
    let profile = profiles.entry(name).or_insert_with(|| {
        let mut table = Table::new();
        let gap = if text.trim().is_empty() { "" } else { "\n" };
        table.decor_mut().set_prefix(format!("{end}{gap}"));
        Item::Table(table)
    });
    let profile = profile.as_table_like_mut().ok_or_else(|| wrong(format!("`profile.{name}` is not a table")))?;
    let mut wanted = vec![("provider".to_string(), PlainValue::Text(edit.provider.clone()))];
    wanted.extend(edit.grant.iter().map(|g| ("grant".into(), PlainValue::Text(g.clone()))));
    wanted.extend(edit.store.iter().map(|s| ("store".into(), PlainValue::Text(s.to_string()))));
    wanted.extend(edit.values.iter().cloned());
    for (key, wish) in wanted {
        let new = match &wish {
            PlainValue::Text(text) => value(text.as_str()),
            PlainValue::List(items) => value(items.iter().map(String::as_str).collect::<toml_edit::Array>()),
        };
        match profile.get_mut(&key).and_then(Item::as_value_mut) {
            Some(old) => {
                if !same(old, &wish)
                    && let Ok(mut new) = new.into_value()
                {
                    *new.decor_mut() = old.decor().clone();
                    *old = new;
                }
            }
            None => {
                profile.insert(&key, new);
            }
        }
    }
    add_hosts(profile, &edit.hosts);
    let new = doc.to_string();
    Ok((new != text).then_some(new))
}

/// The text of the config without `[profile.NAME]`; `None` where it has none.
///
/// # Errors
/// [`Kind::Config`] where the text is no TOML.
pub fn remove(path: &Path, text: &str, name: &str) -> Result<Option<String>> {
    let wrong = |why: String| Error::new(Kind::Config, path.display().to_string(), why);
    let mut doc: toml_edit::DocumentMut =
        text.parse().map_err(|e: toml_edit::TomlError| wrong(crate::base::text::escape(e.message())))?;
    let profiles = doc.get_mut("profile").and_then(toml_edit::Item::as_table_like_mut);
    let removed = profiles.and_then(|profiles| profiles.remove(name)).is_some();
    Ok(removed.then(|| doc.to_string()))
}

/// Adds those of `wanted` that the key `hosts` does not name yet.
fn add_hosts(profile: &mut dyn toml_edit::TableLike, wanted: &[String]) {
    use toml_edit::{Array, Item, Value, value};
    let has = |list: &Array, host: &str| {
        let origin = host_origin(host);
        list.iter().filter_map(Value::as_str).any(|old| host_origin(old) == origin)
    };
    match profile.get_mut("hosts").and_then(Item::as_array_mut) {
        Some(list) => {
            for host in wanted {
                if !has(list, host) {
                    list.push(host.as_str());
                }
            }
        }
        None if !wanted.is_empty() => {
            profile.insert("hosts", value(wanted.iter().map(String::as_str).collect::<Array>()));
        }
        None => {}
    }
}

fn same(old: &toml_edit::Value, wish: &PlainValue) -> bool {
    match wish {
        PlainValue::Text(text) => old.as_str() == Some(text),
        PlainValue::List(items) => old.as_array().is_some_and(|array| {
            array.len() == items.len() && array.iter().zip(items).all(|(a, b)| a.as_str() == Some(b))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config> {
        Config::parse(Path::new("config.toml"), text, Some(Path::new("/home/u")))
    }

    fn why(text: &str) -> String {
        parse(text).expect_err("a mistake").to_string()
    }

    #[test]
    fn a_config_is_read() {
        let config = parse(
            "store = \"file\"\n[profile.shop-eu]\nprovider = \"p\"\nclient_id = \"c\"\nscope = [\"a\"]\nsecret = { file = \"~/s\" }\n",
        )
        .expect("a config");
        assert_eq!(config.settings.store, Some(StoreChoice::File));
        let profile = &config.profiles["shop-eu"];
        assert_eq!(profile.provider.as_deref(), Some("p"));
        assert!(matches!(&profile.values["secret"].0, ConfigValue::File(p) if p == Path::new("/home/u/s")));
    }

    #[test]
    fn mistakes_have_a_place_and_the_right_name() {
        assert_eq!(why("stor = \"file\""), "config.toml:1:1: unknown key `stor`; did you mean `store`?");
        assert!(
            why("\n\n[profile.Shop]\n").starts_with("config.toml:3:10: `Shop` is not a profile name: use lower-case")
        );
        assert!(why("store = 3").starts_with("config.toml:1:9: expected a string, found an integer"));
        assert!(why("store = ").starts_with("config.toml:1:"));
        assert!(why("[profile.a]\nca_file = \"x.pem\"").contains("absolute"));
        assert!(why("[profile.a]\nx = { comand = [] }").contains("did you mean `command`?"));
        assert!(why("[profile.a]\nx_file = \"a\"").contains("unknown key `x_file`"));
    }

    #[test]
    fn a_profile_is_removed_and_the_others_stay_as_they_are() {
        let rest = "# mine\nstore = \"file\" # why\n\n[profile.b] # second\nregion = \"useast\" # there\n";
        let text = format!("{rest}\n# of a\n[profile.a]\nprovider = \"p\"\n");
        assert_eq!(remove(Path::new("c"), &text, "a").expect("a config").as_deref(), Some(rest));
        assert_eq!(remove(Path::new("c"), rest, "a").expect("a config"), None);
        assert_eq!(remove(Path::new("c"), "[profile.a]\nx = 1\n", "a").expect("a config").as_deref(), Some(""));
        assert_eq!(remove(Path::new("c"), "", "a").expect("a config"), None);
        assert!(remove(Path::new("c"), "[", "a").is_err());
    }

    #[test]
    fn hosts_are_origins() {
        let config = parse("[profile.a]\nhosts = [\"API.example.com\", \"http://127.0.0.1:80\"]").expect("a config");
        assert_eq!(config.profiles["a"].hosts, ["https://api.example.com", "http://127.0.0.1"]);
        assert!(why("[profile.a]\nhosts = [\"*.example.com\"]").contains("no wildcards"));
        assert!(why("[profile.a]\nhosts = [\"a\", \"b/c\"]").starts_with("config.toml:2:15: expected host, host:port"));
        assert!(why("[profile.a]\nhosts = [\"http://example.com\"]").contains("only https"));
        assert!(why("[profile.a]\nhosts = 3").contains("expected"));
    }

    #[test]
    fn an_edit_adds_hosts() {
        let wish = |hosts: &[&str]| Edit {
            provider: "p".into(),
            hosts: hosts.iter().map(|host| host.to_string()).collect(),
            ..Edit::default()
        };
        let new = edit(Path::new("c"), "", "x", &wish(&["a.example"])).expect("an edit").expect("a change");
        assert_eq!(new, "[profile.x]\nprovider = \"p\"\nhosts = [\"a.example\"]\n");
        assert_eq!(edit(Path::new("c"), &new, "x", &wish(&["https://A.example:443"])).expect("an edit"), None);
        assert_eq!(edit(Path::new("c"), &new, "x", &wish(&[])).expect("an edit"), None);
        let more = edit(Path::new("c"), &new, "x", &wish(&["b.example:8443"])).expect("an edit").expect("a change");
        assert_eq!(more, "[profile.x]\nprovider = \"p\"\nhosts = [\"a.example\", \"b.example:8443\"]\n");
        let text = "[profile.x]\nprovider = \"p\"\nhosts = [\n  \"a.example\", # why\n]\n";
        let more = edit(Path::new("c"), text, "x", &wish(&["b.example"])).expect("an edit").expect("a change");
        assert!(more.contains("# why") && parse(&more).is_ok_and(|c| c.profiles["x"].hosts.len() == 2), "{more}");
    }

    #[test]
    fn a_profile_is_removed_and_all_else_stays() {
        let text = "store = \"file\" # why\n\n[profile.a]\nprovider = \"p\"\n\n# mine\n[profile.b]\nprovider = \"p\"\n";
        let without = |name| remove(Path::new("c"), text, name).expect("TOML");
        assert_eq!(without("a").as_deref(), Some("store = \"file\" # why\n\n# mine\n[profile.b]\nprovider = \"p\"\n"));
        assert_eq!(without("b").as_deref(), Some("store = \"file\" # why\n\n[profile.a]\nprovider = \"p\"\n"));
        assert_eq!(without("c"), None);
    }

    #[test]
    fn an_edit_keeps_comments_and_order() {
        let text = "# mine\nstore = \"file\" # why\n\n[profile.b] # second\nregion = \"useast\" # there\n\n[profile.a]\nprovider = \"p\"\n";
        let wish = Edit {
            provider: "p".into(),
            grant: Some("g".into()),
            values: vec![("region".into(), PlainValue::Text("euwest".into()))],
            ..Edit::default()
        };
        let new = edit(Path::new("c"), text, "b", &wish).expect("an edit").expect("a change");
        assert_eq!(
            new,
            "# mine\nstore = \"file\" # why\n\n[profile.b] # second\nregion = \"euwest\" # there\nprovider = \"p\"\ngrant = \"g\"\n\n[profile.a]\nprovider = \"p\"\n"
        );
        assert_eq!(edit(Path::new("c"), &new, "b", &wish).expect("an edit"), None);
        let comments = edit(Path::new("c"), "# mine\n", "x", &wish).expect("an edit").expect("a change");
        assert!(comments.starts_with("# mine\n\n[profile.x]\n"), "{comments}");
        let last = edit(Path::new("c"), "[profile.a]\nprovider = \"p\"\n# end\n", "x", &wish).expect("an edit");
        assert!(last.is_some_and(|text| text.contains("# end\n\n[profile.x]\n")));
        let first = edit(Path::new("c"), "", "x", &wish).expect("an edit").expect("a change");
        assert_eq!(first, "[profile.x]\nprovider = \"p\"\ngrant = \"g\"\nregion = \"euwest\"\n");
    }
}
