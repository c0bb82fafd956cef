//! Values as flags give them, and those that are switched off.

use super::values::{lines, split, unread};
use super::{Given, Profile, Source, is_pem};
use crate::base::error::{Error, Kind};
use crate::base::secret::Secret;
use crate::cli::Flag;
use crate::host::{Host, Stdin};
use crate::provider::{Grant, Param};
use anyhow::Result;
use std::collections::BTreeMap;

impl Profile {
    /// Whether an empty text may stand for this value, to say that there is to be none: where every grant can do
    /// without it. A secret that is empty is a mistake.
    pub(super) fn may_be_off(&self, param: &Param) -> bool {
        let is_needed = |names: BTreeMap<String, bool>| names.get(&param.name) == Some(&false);
        let needs =
            |grant: &Grant| is_needed(self.provider.closure(grant.names())) || is_needed(self.provider.uses(grant));
        !param.secret && !self.provider.grants.iter().any(needs)
    }

    /// Whether the value of that name is switched off: nothing is to take its place.
    pub fn is_off(&self, name: &str) -> bool {
        self.given.get(name).is_some_and(|given| given.text.as_ref().is_some_and(Vec::is_empty))
    }

    pub(super) fn given_by(&self, host: &Host, param: &Param, flag: &Flag) -> Result<Given> {
        let dashed = param.name.replace('_', "-");
        let texts = match flag {
            Flag::Plain(_) if param.secret => {
                return Err(Error::new(
                    Kind::Usage,
                    format!("--{dashed} would expose a secret"),
                    "other users can see arguments",
                )
                .hint(format!("give a file, or - for stdin: --{dashed}-file PATH"))
                .into());
            }
            Flag::File(_) | Flag::Typed(_) if !param.secret => {
                return Err(Error::new(
                    Kind::Usage,
                    format!("unknown option --{dashed}-file"),
                    "this value is not a secret",
                )
                .hint(format!("give the value itself: --{dashed} VALUE"))
                .into());
            }
            Flag::Plain(texts) if texts.as_slice() == [""] && self.may_be_off(param) => Vec::new(),
            Flag::Plain(texts) if texts.iter().any(|t| t.is_empty()) => {
                return Err(Error::new(Kind::Usage, format!("--{dashed}"), "its value is empty").into());
            }
            Flag::Plain(texts) if texts.len() > 1 && !param.list => {
                return Err(Error::new(Kind::Usage, format!("--{dashed}"), "given more than once").into());
            }
            // It is kept in the config, which is read from anywhere.
            Flag::Plain(texts) if param.file && !is_pem(&texts[0]) => {
                let path = std::path::absolute(&texts[0]);
                let path = path.ok().and_then(|path| path.into_os_string().into_string().ok());
                vec![Secret::new(path.unwrap_or_else(|| texts[0].clone()))]
            }
            Flag::Plain(texts) => texts.iter().flat_map(|t| split(param, t)).collect(),
            // Typed without echo where `-` is a terminal.
            Flag::Typed(secret) => vec![
                secret
                    .clone()
                    .ok_or_else(|| Error::new(Kind::Usage, format!("--{dashed}-file -"), "nothing was typed"))?,
            ],
            Flag::File(path) => {
                let read = host.read_secret_file(path, Stdin::Allowed, lines(param));
                vec![read.map_err(|failed| unread(Kind::Usage, format!("the file of --{dashed}-file"), failed))?]
            }
        };
        Ok(Given { text: Some(texts), source: Source::Flag })
    }
}
