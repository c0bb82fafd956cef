//! What a login writes into the config.

use crate::base::error::{Error, Kind};
use crate::cmd::Context;
use crate::oauth::resource::config_host;
use crate::profile::config::{Edit, PlainValue};
use crate::profile::{Profile, Source, read_trusted};
use crate::provider::{Discover, Grant};
use crate::storage::choice::StoreChoice;
use crate::storage::lock::Lock;
use crate::system::files::{self, Durable, Target};
use anyhow::Result;
use std::path::PathBuf;

/// What the config is to say: what was typed, not what came from elsewhere.
pub(super) fn edit(profile: &Profile, grant: &Grant, is_refresh: bool, store: Option<StoreChoice>) -> Edit {
    let mut edit = Edit { provider: profile.provider.name.clone(), store, ..Edit::default() };
    edit.grant = (!is_refresh).then(|| grant.name.clone());
    for param in profile.provider.params.iter().filter(|p| !p.secret) {
        let Some(given) = profile.given.get(&param.name) else { continue };
        let found = matches!(given.source, Source::Api(_) | Source::Registration(_));
        let typed = found || matches!(given.source, Source::Flag | Source::Asked);
        let (true, Some(texts)) = (typed, &given.text) else { continue };
        let texts: Vec<String> = texts.iter().map(|t| t.expose().to_string()).collect();
        let value = match texts.as_slice() {
            [one] if !param.list => PlainValue::Text(one.clone()),
            [] if !param.list => PlainValue::Text(String::new()),
            _ => PlainValue::List(texts),
        };
        edit.values.push((param.name.clone(), value));
    }
    edit.values.extend(hosts(profile).map(|hosts| ("hosts".into(), PlainValue::List(hosts))));
    edit
}

/// The hosts of a profile for an API, with the API's own; `None` where that is there already.
fn hosts(profile: &Profile) -> Option<Vec<String>> {
    let resource = profile.value("resource").filter(|_| profile.provider.discover == Discover::Resource)?;
    let own = config_host(&resource)?;
    let same =
        |host: &String| config_host(&if host.contains("://") { host.clone() } else { format!("https://{host}") });
    let has = profile.config.hosts.iter().any(|host| same(host).as_ref() == Some(&own));
    (!has).then(|| profile.config.hosts.iter().cloned().chain([own]).collect())
}

/// The config's new text and the file that it goes to (a link is followed), if anything changes.
pub(super) fn edited(context: &Context, name: &str, edit: &Edit) -> Result<Option<(PathBuf, String)>> {
    let path = &context.setup.config_path;
    let text = read_trusted(context.host, path)?.unwrap_or_default();
    let Some(new) = crate::profile::config::edit(path, &text, name, edit)? else { return Ok(None) };
    Ok(Some((std::fs::canonicalize(path).unwrap_or(path.clone()), new)))
}

pub(super) fn cannot_write(path: &std::path::Path, error: &std::io::Error) -> Error {
    Error::new(Kind::Other, format!("{} cannot be written", path.display()), files::why(error))
        .hint("a login keeps the profile there; name another with --config FILE")
}

/// Finds out before anything is sent whether the config can be written.
pub(super) fn check_config(context: &Context, name: &str, edit: &Edit) -> Result<()> {
    let Some((path, text)) = edited(context, name, edit)? else { return Ok(()) };
    let Some(folder) = path.parent() else { return Ok(()) };
    let made = if folder.is_dir() { Ok(()) } else { files::private_dir(folder) };
    let ready = made.and_then(|()| Target::config(&path, text.len() as u64));
    ready.map(drop).map_err(|error| cannot_write(&path, &error).into())
}

/// Writes the config, one login at a time: the change is made to the text of now.
pub(super) fn write_config(context: &mut Context, name: &str, edit: &Edit) -> Result<()> {
    let lock = context.lock("_config")?;
    // Calls with other state folders have another lock and the same config; where a folder cannot be locked, they go on
    // without.
    let path = std::fs::canonicalize(&context.setup.config_path).unwrap_or(context.setup.config_path.clone());
    let folder = path.parent().and_then(|folder| std::fs::canonicalize(folder).ok());
    let shared = folder.and_then(|folder| Lock::on_folder(&folder, context.host.clock.deadline).ok());
    if let Some((path, text)) = edited(context, name, edit)? {
        let written = Target::config(&path, text.len() as u64).and_then(|to| to.put(text.as_bytes(), Durable::Yes));
        written.map_err(|error| cannot_write(&path, &error))?;
    }
    drop((shared, lock));
    Ok(())
}
