//! `tok setup`: the lines by which another program gets its token from tok. Here: what they are made of, and how a file
//! is changed. What each program's config looks like is in a file of its own.

mod bazel;
mod cargo;
mod docker;
mod git;
mod goauth;
mod kubernetes;
mod terraform;

use super::Context;
use crate::base::error::{Error, Kind, kind};
use crate::base::text::with_line_ends_of;
use crate::cli::{Setup as Arguments, SetupProgram};
use crate::host::{Host, LIMIT};
use crate::profile::{Profile, Wishes};
use crate::system::files::{self, Durable, Target};
use crate::system::process::{self, End, Output};
use crate::system::program;
use anyhow::Result;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// What a program's config is to say.
struct Plan {
    /// The profile.
    profile: String,
    /// The origins of its own hosts.
    origins: Vec<String>,
    /// Whether another profile has one of them too: then the request must say which is meant.
    is_shared: bool,
    /// How `tok` is called: its name, where `PATH` finds it, else its path.
    tok: String,
    /// Whether a file is to be written.
    write: bool,
}

/// Prints the lines, or writes them where they belong.
///
/// # Errors
/// [`Kind::Config`] where the profile has no host; [`Kind::Other`] where the config cannot be written, or says
/// something else already.
pub fn run(context: &mut Context, args: &Arguments) -> Result<()> {
    let plan = plan(context, args)?;
    // Two at once would each write what the other has not seen.
    let lock = if args.write { Some(context.lock("_setup")) } else { None };
    let _lock = match lock {
        // Where no lock can be made, the other program's file may be written all the same.
        Some(Err(error)) if kind(&error) != Kind::Other => return Err(error),
        lock => lock,
    };
    let text = match args.program {
        SetupProgram::Git => git::run(context, &plan)?,
        SetupProgram::Docker => docker::run(context, &plan)?,
        SetupProgram::Kubernetes => kubernetes::run(context, &plan)?,
        SetupProgram::Bazel => bazel::run(context, &plan)?,
        SetupProgram::Cargo => cargo::run(context, &plan)?,
        SetupProgram::Goauth => goauth::run(context, &plan)?,
        SetupProgram::Terraform => terraform::run(context, &plan)?,
    };
    match text {
        Some(text) => context.print(&text),
        None => Ok(()),
    }
}

fn plan(context: &mut Context, args: &Arguments) -> Result<Plan> {
    // That there is such a profile, and its provider is sound.
    Profile::resolve(context.host, &context.setup, &args.profile, &Wishes::default())?;
    let profiles = &context.setup.config.profiles;
    let mut origins = profiles.get(&args.profile).map(|own| own.hosts.clone()).unwrap_or_default();
    origins.dedup();
    if origins.is_empty() && args.program != SetupProgram::Kubernetes {
        let what = format!("{}: no hosts in the config", args.profile);
        let why = "the token is given to no host that the profile does not name";
        let hint = format!("add to [profile.{}]: hosts = [\"HOST\"]", args.profile);
        return Err(Error::new(Kind::Config, what, why).hint(hint).into());
    }
    let mut others = profiles.iter().filter(|(name, _)| **name != args.profile);
    let is_shared = others.any(|(_, other)| origins.iter().any(|origin| other.answers_for(origin)));
    let tok = match on_path(context.host, "tok") {
        Some(_) => "tok".to_string(),
        None => own_path()?.to_string_lossy().into_owned(),
    };
    Ok(Plan { profile: args.profile.clone(), origins, is_shared, tok, write: args.write })
}

impl Plan {
    /// ` --profile NAME`, where the request must say it.
    fn option(&self) -> String {
        if self.is_shared { format!(" --profile {}", self.profile) } else { String::new() }
    }

    /// The hosts to which a program that speaks `https` alone sends the token, with the port unless it is 443.
    ///
    /// # Errors
    /// Where there is none.
    fn https_hosts(&self, program: &str) -> Result<Vec<&str>, Error> {
        let hosts: Vec<&str> = self.origins.iter().filter_map(|origin| origin.strip_prefix("https://")).collect();
        if hosts.is_empty() {
            let what = format!("{}: {program} cannot use its hosts", self.profile);
            return Err(Error::new(Kind::Config, what, "none of them is https").hint(format!(
                "write the host without http:// in [profile.{}] if {program} is to use it",
                self.profile
            )));
        }
        Ok(hosts)
    }

    /// Refuses a program that cannot say which profile is meant.
    fn must_not_be_shared(&self, program: &str) -> Result<(), Error> {
        if !self.is_shared {
            return Ok(());
        }
        let what = format!("{}: another profile has the same host", self.profile);
        Err(Error::new(Kind::Config, what, format!("{program} cannot say which of them is meant"))
            .hint("remove the host from the other profile's hosts"))
    }
}

/// Where `PATH` finds `program`.
fn on_path(host: &Host, program: &str) -> Option<PathBuf> {
    let found = program::command(OsStr::new(program), host.env.for_children()).ok()?;
    Some(found.get_program().into())
}

/// The file that this program runs from.
fn own_path() -> Result<PathBuf, Error> {
    std::env::current_exe().map_err(|error| Error::new(Kind::Other, "tok's own path is unknown", files::why(&error)))
}

/// `name` in `~`, or in the folder that the variable `by` names.
fn in_home(host: &Host, by: Option<&str>, folder: &str, name: &str) -> Result<PathBuf, Error> {
    let set = by.map(|by| host.var(by)).transpose()?.flatten();
    Ok(match set {
        Some(folder) => Path::new(&folder).join(name),
        None => host.folders()?.home.join(folder).join(name),
    })
}

/// Makes the helper `name` runnable: a link to tok in the folder where `PATH` finds tok, if it is to be written; else
/// says how.
fn helper_program(context: &mut Context, plan: &Plan, name: &str) -> Result<()> {
    if on_path(context.host, name).is_some() {
        return Ok(());
    }
    let tok = on_path(context.host, "tok").map_or_else(own_path, Ok)?;
    link(context, plan, &tok, &tok.with_file_name(name), &format!("{name} is not on PATH"))
}

/// Makes `at` a link to `tok`, if it is to be written; else says how, and `why`.
fn link(context: &mut Context, plan: &Plan, tok: &Path, at: &Path, why: &str) -> Result<()> {
    let words = ["ln", "-s", &tok.to_string_lossy(), &at.to_string_lossy()].map(str::to_string);
    let mut command = shlex::try_join(words.iter().map(String::as_str)).unwrap_or_default();
    // Of a tok that is no longer there.
    let is_dangling = is_dangling(at);
    if is_dangling {
        command = command.replacen("ln -s", "ln -sf", 1);
    }
    if !plan.write {
        context.host.terminal.warn(&format!("{why}; create it with: {command}"));
        return Ok(());
    }
    if let Some(folder) = at.parent().filter(|folder| !folder.is_dir()) {
        files::private_dir(folder).map_err(|error| cannot_write(folder, &error))?;
    }
    let removed = if is_dangling { std::fs::remove_file(at) } else { Ok(()) };
    removed
        .and_then(|()| files::link(tok, at))
        .map_err(|error| cannot_write(at, &error).hint(format!("create it with: {command}")))?;
    context.host.terminal.tell(&format!("created {}", at.display()));
    Ok(())
}

/// Whether `path` is a link to nothing.
fn is_dangling(path: &Path) -> bool {
    path.is_symlink() && !path.exists()
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Kind::Other, format!("{} cannot be written", path.display()), files::why(error))
}

/// The error for a config that says something else.
fn taken(path: &Path, what: impl Into<String>) -> Error {
    Error::new(Kind::Other, path.display().to_string(), what).hint("remove that first, or edit the file by hand")
}

/// Changes the text file `path`, or makes it: `edit` gets its text and returns the new one, `None` where it says so
/// already. A link is followed; mode, line ends and all that is not changed stay.
///
/// # Errors
/// Those of `edit`, and where the file cannot be read or written.
fn edit(context: &mut Context, path: &Path, edit: impl Fn(&str) -> Result<Option<String>, Error>) -> Result<()> {
    if is_dangling(path) {
        let what = format!("{} cannot be written", path.display());
        let error = Error::new(Kind::Other, what, "it is a dangling symbolic link");
        let to = std::fs::read_link(path).map(|to| path.with_file_name(to)).unwrap_or_default();
        let quoted =
            |path: &Path| shlex::try_quote(&path.to_string_lossy()).map(|path| path.into_owned()).unwrap_or_default();
        let folder = to.parent().filter(|folder| !folder.exists());
        let folder = folder.map(|folder| format!("mkdir -p {} && ", quoted(folder))).unwrap_or_default();
        return Err(error.hint(format!("make the file that it leads to: {folder}touch {}", quoted(&to))).into());
    }
    let path = std::fs::canonicalize(path).unwrap_or(path.to_path_buf());
    let old = match files::read_user_file(&path, LIMIT, context.host.clock.deadline) {
        Ok(bytes) => String::from_utf8(bytes)
            .map_err(|_| Error::new(Kind::Other, path.display().to_string(), "it is not UTF-8 text"))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            let what = format!("{} cannot be read", path.display());
            return Err(Error::new(Kind::Other, what, files::why(&error)).into());
        }
    };
    let Some(new) = edit(&old)? else {
        context.host.terminal.tell(&format!("{} is set up already", path.display()));
        return Ok(());
    };
    let new = with_line_ends_of(&old, new);
    if let Some(folder) = path.parent().filter(|folder| !folder.is_dir()) {
        files::private_dir(folder).map_err(|error| cannot_write(folder, &error))?;
    }
    let written = Target::config(&path, new.len() as u64).and_then(|to| to.put(new.as_bytes(), Durable::Yes));
    written.map_err(|error| cannot_write(&path, &error))?;
    context.host.terminal.tell(&format!("wrote {}", path.display()));
    Ok(())
}

/// `old` with `lines` at its end, behind the end of its last line; `None` where all of them stand there.
fn with_lines(old: &str, lines: &[String]) -> Option<String> {
    let missing: Vec<&String> = lines.iter().filter(|line| !old.lines().any(|has| has.trim() == line.trim())).collect();
    if missing.is_empty() {
        return None;
    }
    let mut new = old.to_string();
    if !new.is_empty() && !new.ends_with('\n') {
        new.push('\n');
    }
    for line in missing {
        new.push_str(line);
        new.push('\n');
    }
    Some(new)
}

/// Runs the program that knows its own config best. Its stdout and whether it succeeded.
///
/// # Errors
/// Where it is missing or does not end in time.
fn ask(context: &Context, name: &str, arguments: &[&str]) -> Result<(bool, String), Error> {
    let failed = |why: String| Error::new(Kind::Other, format!("{name} cannot be asked to change its config"), why);
    let mut command =
        program::command(OsStr::new(name), context.host.env.for_children()).map_err(|why| failed(why.to_string()))?;
    command.args(arguments);
    match process::run(&mut command, None, context.host.clock.deadline, LIMIT) {
        Ok(End::Ended(Output { status, stdout, .. })) => {
            Ok((status.success(), String::from_utf8_lossy(&stdout).into_owned()))
        }
        Ok(End::TooMuch) => Err(failed("it printed too much".into())),
        Ok(End::Late) => Err(failed("it timed out".into())),
        Err(error) => Err(failed(files::why(&error))),
    }
}

/// [`ask`] of what must succeed.
///
/// # Errors
/// As there, and where it fails.
fn tell(context: &Context, name: &str, arguments: &[&str]) -> Result<(), Error> {
    match ask(context, name, arguments)? {
        (true, _) => Ok(()),
        (false, _) => {
            let words = std::iter::once(name).chain(arguments.iter().copied());
            let command = shlex::try_join(words).unwrap_or_default();
            let what = format!("{name} did not change its config");
            Err(Error::new(Kind::Other, what, "it failed").hint(format!("see why: {command}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_added_once_and_what_is_there_stays() {
        let lines = ["a = 1".to_string(), "b = 2".to_string()];
        assert_eq!(with_lines("", &lines).as_deref(), Some("a = 1\nb = 2\n"));
        assert_eq!(with_lines("# mine", &lines).as_deref(), Some("# mine\na = 1\nb = 2\n"));
        assert_eq!(with_lines("  b = 2\nc\n", &lines).as_deref(), Some("  b = 2\nc\na = 1\n"));
        assert_eq!(with_lines("a = 1\nb = 2\n", &lines), None);
    }
}
