//! Which file a program's name means, and the environment that it gets.

use crate::base::secret::Secret;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where programs are looked for when the environment has no `PATH` (confstr(3), `_CS_PATH`).
#[cfg(unix)]
const USUAL_PATH: &str = "/usr/bin:/bin";
#[cfg(not(unix))]
const USUAL_PATH: &str = "";

/// Why a program is not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotFound {
    /// No absolute folder of `PATH` has it.
    OnPath,
    /// It is a path from the working folder.
    Relative,
}

impl std::fmt::Display for NotFound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            NotFound::OnPath => "program not found",
            NotFound::Relative => "a program is a name on PATH or an absolute path",
        })
    }
}

/// The command that starts `program`, a name on `PATH` or an absolute path, with `env` as its environment. Whatever
/// starts a program begins here: nothing in the working folder is ever run, which anybody may have filled. So relative
/// folders of `PATH` (an empty one is the working folder) are passed over, and the program does not see them either: a
/// script such as `xdg-open` looks for others there.
///
/// # Errors
/// [`NotFound`].
pub fn command<'e>(
    program: &OsStr,
    env: impl Iterator<Item = (&'e OsString, &'e OsString)>,
) -> Result<Command, NotFound> {
    let env: Vec<(&OsString, &OsString)> = env.collect();
    let is_path = |name: &OsString| name == "PATH" || (cfg!(windows) && name.eq_ignore_ascii_case("PATH"));
    let path = env.iter().find(|(name, _)| is_path(name)).copied();
    let folders = folders(path.map_or(OsStr::new(USUAL_PATH), |(_, value)| value));
    let file = find(program, &folders)?;
    let mut command = Command::new(file);
    // It may go by the name that it is called by, as busybox does.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::arg0(&mut command, program);
    command.env_clear().envs(env);
    if let Some((name, _)) = path {
        // An empty one would be the working folder.
        match std::env::join_paths(&folders) {
            Ok(path) if !path.is_empty() => command.env(name, path),
            _ => command.env_remove(name),
        };
    }
    Ok(command)
}

/// The file that `program`, a name or an absolute path, means where `PATH` is `path`.
pub fn on_path(program: &OsStr, path: Option<&OsStr>) -> Option<PathBuf> {
    let file = find(program, &folders(path.unwrap_or(OsStr::new(USUAL_PATH)))).ok()?;
    is_program(&file).then_some(file)
}

/// Puts the program `words[0]`, which a person has typed and which is found as a shell finds it, in the place of this
/// process, with `env` and `secrets` as its environment. The signals that this process ignores or handles are the
/// default for it. Where a system cannot replace a process, it is run and waited for: its status.
///
/// # Errors
/// Why it cannot be run.
pub fn replace(words: &[OsString], env: &[(OsString, OsString)], secrets: &[(&str, &Secret)]) -> io::Result<u8> {
    let Some((program, arguments)) = words.split_first() else { return Err(io::ErrorKind::NotFound.into()) };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(env.iter().map(|(name, value)| (name, value)));
    command.envs(secrets.iter().map(|(name, secret)| (name, secret.expose())));
    #[cfg(unix)]
    return Err(std::os::unix::process::CommandExt::exec(&mut command));
    #[cfg(not(unix))]
    command.status().map(|status| status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// The absolute folders of `path`.
fn folders(path: &OsStr) -> Vec<PathBuf> {
    std::env::split_paths(path).filter(|folder| folder.is_absolute()).collect()
}

/// The file that `program` means: the first one in `folders` that can be run.
fn find(program: &OsStr, folders: &[PathBuf]) -> Result<PathBuf, NotFound> {
    let program = Path::new(program);
    let is_name = program.components().count() == 1 && program.file_name() == Some(program.as_os_str());
    if program.is_absolute() {
        return Ok(program.to_path_buf());
    }
    if !is_name {
        return Err(NotFound::Relative);
    }
    let program = if cfg!(windows) && program.extension().is_none() {
        program.with_extension("exe")
    } else {
        program.to_path_buf()
    };
    folders.iter().map(|folder| folder.join(&program)).find(|file| is_program(file)).ok_or(NotFound::OnPath)
}

#[cfg(unix)]
fn is_program(file: &Path) -> bool {
    file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok()
}

#[cfg(not(unix))]
fn is_program(file: &Path) -> bool {
    file.is_file()
}

#[cfg(test)]
#[cfg(unix)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn found(program: &str, path: Option<&str>) -> Result<PathBuf, NotFound> {
        let env: Vec<(OsString, OsString)> = path.iter().map(|path| ("PATH".into(), path.into())).collect();
        let command = command(OsStr::new(program), env.iter().map(|(name, value)| (name, value)))?;
        let passed = command.get_envs().find(|(name, _)| *name == "PATH").and_then(|(_, value)| value);
        assert!(passed.is_none_or(|path| std::env::split_paths(path).all(|folder| folder.is_absolute())), "{passed:?}");
        Ok(command.get_program().into())
    }

    #[test]
    fn nothing_in_the_working_folder_is_run() {
        // Tests run in the folder of the package.
        assert!(Path::new("test").is_file() && Path::new(".ci/run").is_file());
        for path in ["", ":", ".", "::", "./", ".ci", "..", ":.:.ci:/nowhere"] {
            assert_eq!(found("test", Some(path)), Err(NotFound::OnPath), "{path}");
            assert_eq!(found("run", Some(path)), Err(NotFound::OnPath), "{path}");
        }
        for program in ["./test", ".ci/run", "../x", "", ".", "..", "sh/"] {
            assert_eq!(found(program, Some("/bin")), Err(NotFound::Relative), "{program}");
        }
        assert_eq!(found("sh", Some(".:/nowhere:/bin")), Ok("/bin/sh".into()));
        assert_eq!(found("/bin/sh", Some("")), Ok("/bin/sh".into()));
        assert!(found("sh", None).is_ok());
    }
}
