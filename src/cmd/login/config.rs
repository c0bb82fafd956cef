//! What a login writes into the config.

use crate::cmd::Context;
use crate::oauth::resource::config_host;
use crate::profile::config::{Edit, PlainValue};
use crate::profile::{Profile, Source, read_trusted};
use crate::provider::{Discover, Grant};
use crate::session::config_file::{self, cannot_write};
use crate::storage::choice::StoreChoice;
use crate::system::files::{self, Target};
use anyhow::Result;
use std::path::PathBuf;

/// What the config is to say: what was typed, not what came from elsewhere.
pub(super) fn edit(profile: &Profile, grant: &Grant, store: Option<StoreChoice>) -> Edit {
    let mut edit = Edit { provider: profile.provider.name.clone(), store, ..Edit::default() };
    // A login by a refresh token leaves the profile's grant as it is.
    edit.grant = (profile.provider.refresh_grant() != Some(grant)).then(|| grant.name.clone());
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
    if profile.provider.discover == Discover::Resource {
        edit.hosts.extend(profile.value("resource").as_deref().and_then(config_host));
    }
    edit
}

/// The config's new text and the file that it goes to (a link is followed), if anything changes.
pub(super) fn edited(context: &Context, name: &str, edit: &Edit) -> Result<Option<(PathBuf, String)>> {
    let path = &context.setup.config_path;
    let text = read_trusted(context.host, path)?.unwrap_or_default();
    let Some(new) = crate::profile::config::edit(path, &text, name, edit)? else { return Ok(None) };
    Ok(Some((std::fs::canonicalize(path).unwrap_or(path.clone()), new)))
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
    let path = context.setup.config_path.clone();
    config_file::change(context.host, &path, |text| crate::profile::config::edit(&path, text, name, edit)).map(drop)
}
