//! What a login writes into the config.

use crate::cmd::Context;
use crate::cmd::config_file::{self, Held};
use crate::oauth::resource::config_host;
use crate::profile::config::{self, Edit, PlainValue};
use crate::profile::{Profile, Source};
use crate::provider::{Discover, Grant};
use crate::storage::choice::StoreChoice;
use anyhow::Result;

/// What the config is to say: what was typed, not what came from elsewhere.
pub(super) fn edit(profile: &Profile, grant: &Grant, store: Option<StoreChoice>) -> Edit {
    let mut edit = Edit { provider: profile.provider.name.clone(), store, ..Edit::default() };
    // A login by a refresh token leaves the profile's grant as it is.
    edit.grant = (profile.provider.refresh_grant() != Some(grant)).then(|| grant.name.clone());
    for param in profile.provider.params.iter().filter(|p| !p.secret) {
        let Some(given) = profile.given.get(&param.name) else { continue };
        let found = matches!(given.source, Source::Api(_) | Source::Registration(_) | Source::Login(_));
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

/// Finds out before anything is sent whether the config can be written.
pub(super) fn check_config(context: &Context, name: &str, edit: &Edit) -> Result<()> {
    config_file::check(context, &|path, text| config::edit(path, text, name, edit))
}

/// Finds out the same again where the config may have changed since, and keeps other calls from changing it.
pub(super) fn hold_config(context: &mut Context, name: &str, edit: &Edit) -> Result<Held> {
    let held = config_file::hold(context)?;
    check_config(context, name, edit)?;
    Ok(held)
}

/// Writes the config: the change is made to the text of now.
pub(super) fn write_config(context: &Context, held: &Held, name: &str, edit: &Edit) -> Result<()> {
    config_file::write(context, held, &|path, text| config::edit(path, text, name, edit)).map(drop)
}
