//! `tok exec`: a program with tokens in its environment, in the place of this process.

use super::token::token;
use super::{Context, hooks};
use crate::base::error::{Error, Exit, Kind, NOT_EXECUTABLE, NOT_FOUND};
use crate::base::secret::Secret;
use crate::cli::{Exec, TokenArgs};
use crate::system::program;
use anyhow::Result;
use std::collections::BTreeMap;

/// The variable of the only profile.
const VARIABLE: &str = "ACCESS_TOKEN";

/// Gets the tokens and runs the program.
///
/// # Errors
/// [`Kind::Usage`] for a command line that contradicts itself; else [`Exit`].
pub fn run(context: &mut Context, args: &Exec) -> Result<()> {
    let variables = variables(args)?;
    let tokens = tokens(context, args, &variables).map_err(|error| Exit::not_run(&error))?;
    let set: Vec<(&str, &Secret)> =
        variables.iter().filter_map(|(name, of)| Some((name.as_str(), tokens.get(of)?))).collect();
    hooks::run(context.host);
    let env = crate::system::start::as_before(context.host.env.for_children());
    let failed = match program::replace(&args.command, &env, &set) {
        Ok(status) => return Err(Exit { status, error: None }.into()),
        Err(failed) => failed,
    };
    let name = args.command.first().map(|name| crate::base::text::escape(&name.to_string_lossy())).unwrap_or_default();
    let (status, why) = match failed.kind() {
        std::io::ErrorKind::NotFound => (NOT_FOUND, "program not found".to_string()),
        _ => (NOT_EXECUTABLE, crate::system::files::why(&failed)),
    };
    Err(Exit { status, error: Some(Error::new(Kind::Other, name, why)) }.into())
}

/// Which variables are set to the token of which profile.
fn variables(args: &Exec) -> Result<Vec<(String, String)>> {
    let usage = |what: String, why: &str| Error::new(Kind::Usage, what, why).hint("see: tok exec --help");
    let mut profiles: Vec<&String> = Vec::new();
    for name in &args.profiles {
        if !profiles.contains(&name) {
            profiles.push(name);
        }
    }
    let mut variables: Vec<(String, String)> = Vec::new();
    if let [only] = profiles.as_slice() {
        variables.push((VARIABLE.into(), only.to_string()));
    }
    let own = |name: &&String| (format!("{}_{VARIABLE}", name.to_uppercase().replace('-', "_")), name.to_string());
    variables.extend(profiles.iter().map(own));
    for (variable, profile) in &args.env {
        match variables.iter_mut().find(|(name, _)| name == variable) {
            Some((_, of)) if of == profile => {}
            // ACCESS_TOKEN is a default, which a name that is given replaces.
            Some((_, of))
                if variable == VARIABLE
                    && !args.env.iter().any(|(name, other)| name == variable && other != profile) =>
            {
                of.clone_from(profile);
            }
            Some((_, of)) => {
                let what = format!("{variable} would be the token of {of} and of {profile}");
                return Err(usage(what, "a variable is for one profile").into());
            }
            None => variables.push((variable.clone(), profile.clone())),
        }
    }
    let count = variables.iter().map(|(_, of)| of).collect::<std::collections::BTreeSet<_>>().len();
    let asked = &args.token;
    if count > 1 && (!asked.values.is_empty() || !asked.scope.is_empty() || asked.grant.is_some()) {
        let why = "--scope, --grant and values are those of one profile";
        return Err(usage("several profiles are named".into(), why).into());
    }
    Ok(variables)
}

/// The tokens of the profiles that `variables` name.
fn tokens(context: &mut Context, args: &Exec, variables: &[(String, String)]) -> Result<BTreeMap<String, Secret>> {
    let mut tokens = BTreeMap::new();
    for (_, name) in variables {
        if !tokens.contains_key(name) {
            let got = token(context, &TokenArgs { profile: name.clone(), ..args.token.clone() })?;
            tokens.insert(name.clone(), got.answer.token.access_token);
        }
    }
    Ok(tokens)
}
