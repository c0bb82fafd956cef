//! The config and the provider files.

use super::{Finding, Level, Visit, quoted};
use crate::profile::read_trusted;
use crate::provider::Provider;
use std::collections::BTreeSet;

/// Whether the config can be read.
pub(super) fn config(visit: &mut Visit) -> Vec<Finding> {
    let path = &visit.setup.config_path;
    if let Some(error) = &visit.config_error {
        let hint = match path.as_os_str().is_empty() {
            true => "set TOK_CONFIG to the absolute path of a config file, or unset it".to_string(),
            false if !path.exists() => format!("create it: tok login PROVIDER --config {}", quoted(path)),
            false => format!("edit {}; every key is in: man tok-config", quoted(path)),
        };
        return vec![Finding::of(Level::Error, error, &hint)];
    }
    let what = format!("config {}", path.display());
    let count = visit.setup.config.profiles.len();
    vec![match path.exists() {
        true if count == 1 => Finding::fine(what, "1 profile"),
        true => Finding::fine(what, format!("{count} profiles")),
        false => Finding::fine(what, "none yet; the defaults are in force"),
    }]
}

/// Whether the user's provider files can be read: all that is wrong with each. One that no profile uses is a warning.
pub(super) fn provider_files(visit: &mut Visit) -> Vec<Finding> {
    let Ok(folders) = visit.host.folders() else { return Vec::new() };
    let config = &visit.setup.config.profiles;
    let used: BTreeSet<&str> = visit
        .subjects
        .iter()
        .flat_map(|subject| {
            let own = config.get(&subject.name).and_then(|own| own.provider.as_deref());
            let noted = subject.noted.as_ref().map(|noted| noted.provider.as_str());
            [own.or(noted), Some(subject.name.as_str())]
        })
        .flatten()
        .collect();
    let mut findings = Vec::new();
    for name in visit.setup.library.own_names() {
        let path = folders.provider(name);
        let level = if used.contains(name.as_str()) { Level::Error } else { Level::Warning };
        let hint = format!("list all mistakes: tok providers --check {}", quoted(&path));
        let text = match read_trusted(visit.host, &path) {
            Ok(text) => text.unwrap_or_default(),
            Err(error) => {
                findings.push(Finding::of(level, &error, &hint));
                continue;
            }
        };
        let (_, wrong) = Provider::check(name, &path.display().to_string(), &text);
        findings.extend(wrong.into_iter().map(|error| Finding::of(level, &error.into(), &hint)));
    }
    let files = std::fs::read_dir(folders.providers()).into_iter().flatten().flatten();
    let mut files: Vec<_> = files.map(|file| file.path()).filter(|path| path.is_file()).collect();
    files.sort();
    for path in files {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let is_read = name.strip_suffix(".toml").is_some_and(crate::base::name::is_name);
        // An editor's copy, or a hidden file.
        if !is_read && !name.starts_with('.') && !name.ends_with('~') {
            let why = "tok does not read it: a provider file is NAME.toml, with lower-case letters, digits and `-`";
            let near = format!("{}.toml", crate::base::name::name_like(name.trim_end_matches(".toml")));
            let hint = format!("rename it: mv {} {}", quoted(&path), quoted(&path.with_file_name(near)));
            findings.push(Finding::warning(path.display().to_string(), why, hint));
        }
    }
    findings
}
