//! The providers: the user's files before the built-in ones, each read once.

use super::config::{Config, ProfileConfig};
use super::{Setup, read_settings, variable};
use crate::base::error::{Error, Kind};
use crate::base::name::is_name;
use crate::base::text::nearest;
use crate::host::Host;
use crate::provider::{Provider, built_in};
use anyhow::Result;
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

/// A provider as it was read.
pub struct Loaded {
    /// What it is.
    pub provider: Provider,
    /// The user's file that it comes from; `None`: it is built in.
    pub file: Option<PathBuf>,
}

impl Loaded {
    /// Whether it is a user's file of the name of a built-in provider, which it stands before.
    pub fn hides(&self) -> bool {
        self.file.is_some() && built_in().any(|one| one.name == self.provider.name)
    }
}

/// What a list shows of a provider.
pub struct Summary {
    /// Its name.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// Its place among the first in the choice of `tok login`, if it has one.
    pub featured: Option<i64>,
}

/// The providers there are. What was read is read once: it does not change while a command runs.
#[derive(Default)]
pub struct Library {
    /// The user's own files; `None` where the user has no home.
    folder: Option<PathBuf>,
    read: RefCell<BTreeMap<String, Rc<Loaded>>>,
    own: OnceCell<Vec<String>>,
}

impl Library {
    /// The built-in providers, and those of the user's folder.
    pub fn new(host: &Host) -> Library {
        let folder = host.folders().ok().map(|folders| folders.providers());
        Library { folder, ..Library::default() }
    }

    /// The provider `name`: the user's file of that name, else the built-in one. `Ok(None)`: no such provider.
    ///
    /// # Errors
    /// [`Kind::Config`] where the file is wrong.
    pub fn provider(&self, host: &Host, name: &str) -> Result<Option<Rc<Loaded>>> {
        if let Some(known) = self.read.borrow().get(name) {
            return Ok(Some(known.clone()));
        }
        let loaded = self.load(host, name)?.map(Rc::new);
        if let Some(loaded) = &loaded {
            self.read.borrow_mut().insert(name.to_string(), loaded.clone());
        }
        Ok(loaded)
    }

    fn load(&self, host: &Host, name: &str) -> Result<Option<Loaded>> {
        // A path would lead out of the folder.
        if !is_name(name) {
            return Ok(None);
        }
        let file = self.folder.as_ref().map(|folder| folder.join(format!("{name}.toml")));
        if let Some(file) = file
            && let Some(text) = read_settings(host, &file)?
        {
            let provider = Provider::parse(name, &file.display().to_string(), &text)?;
            return Ok(Some(Loaded { provider, file: Some(file) }));
        }
        Ok(Provider::built_in(name).transpose()?.map(|provider| Loaded { provider, file: None }))
    }

    /// The names of all providers, the user's among them, sorted; broken files too.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = built_in().map(|one| one.name.to_string()).collect();
        names.extend_from_slice(self.own_names());
        names.sort();
        names.dedup();
        names
    }

    /// What a list shows of each provider, by name; broken files add nothing. Built-in ones are not read for that.
    pub fn summaries(&self, host: &Host) -> Vec<Summary> {
        let own = self.own_names();
        let built_in = built_in().filter(|one| !own.iter().any(|name| name == one.name));
        let mut all: Vec<Summary> = built_in
            .map(|one| Summary { name: one.name.into(), title: one.title().into(), featured: one.featured() })
            .collect();
        all.extend(own.iter().filter_map(|name| {
            let provider = &self.provider(host, name).ok()??.provider;
            Some(Summary { name: name.clone(), title: provider.title.clone(), featured: provider.featured })
        }));
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// The title of the provider `name`, as [`Library::summaries`] has it.
    pub fn title(&self, host: &Host, name: &str) -> Option<String> {
        match built_in().find(|one| one.name == name && !self.own_names().iter().any(|own| own == name)) {
            Some(built_in) => Some(built_in.title().to_string()),
            None => Some(self.provider(host, name).ok()??.provider.title.clone()),
        }
    }

    /// The names of the user's own provider files, sorted; broken ones too.
    pub fn own_names(&self) -> &[String] {
        self.own.get_or_init(|| {
            let files = self.folder.as_ref().and_then(|folder| std::fs::read_dir(folder).ok());
            let names = files.into_iter().flatten().flatten().filter_map(|file| {
                file.file_name().to_str()?.strip_suffix(".toml").filter(|name| is_name(name)).map(str::to_string)
            });
            let mut names: Vec<String> = names.collect();
            names.sort();
            names
        })
    }
}

#[cfg(test)]
impl Library {
    /// The built-in providers, and this one.
    pub fn of(provider: Provider) -> Library {
        let library = Library::default();
        library.read.borrow_mut().insert(provider.name.clone(), Rc::new(Loaded { provider, file: None }));
        library
    }
}

/// Whether these may share a variable: `a` and `a-b` both have a `TOK_A_B_…`.
fn is_near(one: &str, other: &str) -> bool {
    let begins = |long: &str, short: &str| long.strip_prefix(short).is_some_and(|rest| rest.starts_with('-'));
    one == other || begins(one, other) || begins(other, one)
}

/// Two values must not share a variable: `a-b` with `c`, and `a` with `b_c`.
pub(super) fn check_variables(
    host: &Host,
    library: &Library,
    config: &Config,
    name: &str,
    provider: &Provider,
) -> Result<()> {
    let longer = format!("{name}-");
    let shorter = name.match_indices('-').filter_map(|(at, _)| name.get(..at));
    let mut others: Vec<&str> = shorter.filter(|other| config.profiles.contains_key(*other)).collect();
    let behind = config.profiles.range(longer.clone()..).map(|(other, _)| other.as_str());
    others.extend(behind.take_while(|other| other.starts_with(&longer)));
    // Not the built-in ones: among themselves they share none (tests/providers/facts.rs), and one that comes with a new
    // tok takes no variable away from a profile that was there before.
    let own = library.own_names().iter().map(String::as_str);
    others.extend(own.filter(|other| *other != name && is_near(name, other)));
    for other in others {
        let of = config.profiles.get(other).and_then(|p| p.provider.clone()).unwrap_or(other.to_string());
        let Ok(Some(its)) = library.provider(host, &of) else { continue };
        for mine in &provider.params {
            let taken = variable(name, &mine.name);
            if let Some(theirs) = its.provider.params.iter().find(|p| variable(other, &p.name) == taken) {
                return Err(Error::new(
                    Kind::Config,
                    format!("{taken} would set two values"),
                    format!("{} of profile {name}, and {} of profile {other}", mine.name, theirs.name),
                )
                .hint("rename one of the profiles")
                .into());
            }
        }
    }
    Ok(())
}

/// The one of `names` that `typed` most likely meant: by its name, else by the title of its provider.
fn near(host: &Host, library: &Library, names: &[&str], typed: &str) -> Option<String> {
    let low = typed.trim().to_lowercase();
    if let Some(near) = nearest(&low, names.iter().copied()) {
        return Some(near.to_string());
    }
    // Two letters are in every title.
    if low.chars().count() < 3 {
        return None;
    }
    let begins = names.iter().find(|name| name.starts_with(&low)).map(|name| name.to_string());
    begins.or_else(|| {
        let is_in = |title: &str| low.split_whitespace().all(|word| title.contains(word));
        let all = library.summaries(host).into_iter();
        all.into_iter().find(|one| is_in(&one.title.to_lowercase())).map(|one| one.name)
    })
}

pub(super) fn not_known(host: &Host, setup: &Setup, name: &str, provider: &str, own: &ProfileConfig) -> Error {
    let Setup { config, library, .. } = setup;
    let providers = library.names();
    if own.provider.is_some() {
        let names: Vec<&str> = providers.iter().map(String::as_str).collect();
        let near = near(host, library, &names, provider);
        let why = format!("unknown provider `{}`", crate::base::text::escape(provider));
        let why = near.map_or(why.clone(), |n| format!("{why}; did you mean `{n}`?"));
        return Error::new(Kind::Config, &own.provider_at, why).hint("list them: tok providers");
    }
    let names: Vec<&str> = providers.iter().chain(config.profiles.keys()).map(String::as_str).collect();
    let name = crate::base::text::escape_to(name, 80);
    let error = Error::new(Kind::Config, format!("no profile or provider `{name}`"), "");
    if config.profiles.contains_key(&name) {
        let keys = crate::base::name::profile_keys;
        // Whatever has the form of a value's name is taken for one, until there is a provider that does not know it.
        let mistyped = own.values.iter().find_map(|(value, (_, at))| Some((value, at, nearest(value, keys())?)));
        if let Some((value, at, near)) = mistyped {
            return Error::new(Kind::Config, at, format!("unknown key `{value}`; did you mean `{near}`?"));
        }
        return Error::new(Kind::Config, format!("the profile {name} has no provider"), "")
            .hint(format!("add provider = \"…\" to [profile.{name}]"));
    }
    // The built-in provider that knows a server by its issuer alone.
    let by_issuer = Provider::by_issuer();
    match (near(host, library, &names, &name), by_issuer.filter(|_| is_name(&name))) {
        (Some(near), _) => error.hint(format!("did you mean {near}? List them: tok list, tok providers")),
        (None, Some(by_issuer)) => error.hint(format!(
            "list them: tok list, tok providers; for a server with OpenID Connect: tok login {by_issuer} --as {name}"
        )),
        (None, None) => error.hint("list them: tok list, tok providers"),
    }
}
