//! The system's browser, started independently: it shares neither our terminal nor our signals; a failure is reported.

use crate::base::env::Env;
use crate::base::url::Url;
use crate::system::program;
use std::ffi::{OsStr, OsString};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A program that fails within this time has opened nothing, and the next one is tried.
const TRIAL: Duration = Duration::from_secs(1);
/// How often a program is looked after meanwhile.
const LOOK: Duration = Duration::from_millis(20);
/// What a URL never holds (RFC 3986), and what a careless opener script would trip over.
const UNSAFE: &[char] = &['"', '<', '>', '^', '`', '{', '|', '}'];

/// A browser that was asked to open.
#[derive(Clone, Debug)]
pub struct Launch(Arc<AtomicBool>);

impl Launch {
    /// Whether no program could open it, as far as is known by now: that takes about a second a program.
    pub fn failed(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Opens `url` in the browser of `$BROWSER` or the system's, and does not wait for it.
///
/// # Errors
/// Why nothing was tried: the URL is neither https nor loopback, or no browser is available.
pub fn open(url: &str, env: &Env) -> Result<Launch, String> {
    let url = safe(url)?;
    let candidates = candidates(&url, env, is_wsl());
    if candidates.is_empty() {
        return Err("no display, and no usable BROWSER".into());
    }
    let env: Vec<(OsString, OsString)> =
        env.for_children().map(|(name, value)| (name.clone(), value.clone())).collect();
    let failed = Arc::new(AtomicBool::new(false));
    let opened = Launch(Arc::clone(&failed));
    let tried = std::thread::Builder::new().spawn(move || {
        if !candidates.iter().any(|words| runs(words, &env)) {
            failed.store(true, Ordering::Relaxed);
        }
    });
    match tried {
        Ok(_) => Ok(opened),
        Err(_) => Err("the system cannot start another thread".into()),
    }
}

/// `url`, where it may be given to another program.
///
/// # Errors
/// Why not, in words.
pub fn safe(url: &str) -> Result<String, String> {
    Url::parse(url).map_err(|why| format!("its URL {why}"))?;
    if url.contains(UNSAFE) {
        return Err("its URL contains a character that must be percent-encoded".into());
    }
    // Valid in a URL, but not to an opener that pastes it into a script.
    Ok(url.replace('\'', "%27").replace('$', "%24"))
}

/// The programs to try, each with its arguments.
fn candidates(url: &str, env: &Env, wsl: bool) -> Vec<Vec<String>> {
    let set = |name: &str| env.has(name);
    let browser = env.get("BROWSER").and_then(|value| value.to_str()).unwrap_or_default();
    let mut all: Vec<Vec<String>> =
        browser.split(if cfg!(windows) { ';' } else { ':' }).filter_map(|candidate| words(candidate, url)).collect();
    let mut system = |words: &[&str]| all.push(words.iter().chain([&url]).map(|word| word.to_string()).collect());
    if cfg!(windows) {
        system(&["rundll32", "url.dll,FileProtocolHandler"]);
    } else if cfg!(target_os = "macos") {
        system(&["open"]);
    } else {
        if wsl {
            system(&["wslview"]);
            system(&["rundll32.exe", "url.dll,FileProtocolHandler"]);
        }
        // Without a display it would start a text browser, in the terminal that we are in.
        if set("DISPLAY") || set("WAYLAND_DISPLAY") {
            system(&["xdg-open"]);
        }
    }
    all
}

/// The words of one of `$BROWSER`'s commands, `%s` replaced by the URL or the URL at the end.
fn words(candidate: &str, url: &str) -> Option<Vec<String>> {
    // A shell's rules would eat the backslashes of a path.
    let words = if cfg!(windows) { vec![candidate.trim().to_string()] } else { shlex::split(candidate)? };
    if words.first().is_none_or(|program| program.is_empty()) {
        return None;
    }
    let mut filled: Vec<String> = words.iter().map(|word| word.replace("%s", url)).collect();
    if filled == words {
        filled.push(url.to_string());
    }
    Some(filled)
}

/// Whether this is Linux inside Windows.
fn is_wsl() -> bool {
    cfg!(target_os = "linux")
        && std::fs::read_to_string("/proc/sys/kernel/osrelease")
            .is_ok_and(|release| release.to_ascii_lowercase().contains("microsoft"))
}

/// Runs a program until its end; whether it opened something, as far as can be told.
fn runs(words: &[String], env: &[(OsString, OsString)]) -> bool {
    let Ok(mut child) = spawn(words, env) else { return false };
    let until = Instant::now() + TRIAL;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if Instant::now() < until => std::thread::sleep(LOOK),
            // It is the browser itself. When its user ends it is not our business, but somebody has to wait for it.
            Ok(None) => {
                let _ = child.wait();
                return true;
            }
            Err(_) => return true,
        }
    }
}

fn spawn(words: &[String], env: &[(OsString, OsString)]) -> std::io::Result<Child> {
    let (program, arguments) = words.split_first().ok_or(std::io::ErrorKind::NotFound)?;
    let command = program::command(OsStr::new(program), env.iter().map(|(name, value)| (name, value)));
    let mut command = command.map_err(|_| std::io::ErrorKind::NotFound)?;
    command.args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Ctrl-C in our terminal is for us.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    #[cfg(windows)]
    std::os::windows::process::CommandExt::creation_flags(&mut command, 0x200); // CREATE_NEW_PROCESS_GROUP
    command.spawn()
}

#[cfg(test)]
#[cfg(unix)]
#[expect(clippy::disallowed_methods, reason = "the test is the program here")]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    const URL: &str = "https://as.example/authorize?a=b&state=st-1";

    fn env(pairs: &[(&str, &str)]) -> Env {
        pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    fn script(folder: &Path, name: &str, text: &str) -> String {
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).expect("executable");
        path.to_str().expect("UTF-8").to_string()
    }

    /// Until `done`, or too long.
    fn within(done: impl Fn() -> bool) -> bool {
        let until = Instant::now() + Duration::from_secs(20);
        while !done() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        done()
    }

    #[test]
    fn only_web_addresses_are_opened() {
        for url in [
            "",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "--help",
            "http://as.example/",
            "https://as.example/ --x",
            "https://as.example/`id`",
            "https://as.example/\"",
            "https://as.example/\n",
            "https://user@as.example/",
        ] {
            assert!(open(url, &env(&[("BROWSER", "true")])).is_err(), "{url}");
        }
        assert_eq!(safe("http://127.0.0.1:1/$(id)'"), Ok("http://127.0.0.1:1/%24(id)%27".into()));
    }

    #[test]
    fn the_users_browsers_come_first_and_no_shell_reads_them() {
        let env = env(&[("BROWSER", "one:'two words' -n \"%s&x\":: :two '$(id)' ; x:'open"), ("DISPLAY", ":0")]);
        let all = candidates("https://a/", &env, false);
        let first: Vec<Vec<&str>> = all.iter().map(|words| words.iter().map(String::as_str).collect()).collect();
        assert_eq!(
            first[..3],
            [
                vec!["one", "https://a/"],
                vec!["two words", "-n", "https://a/&x"],
                vec!["two", "$(id)", ";", "x", "https://a/"]
            ]
        );
        assert_eq!(first.len(), 4);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn without_a_display_there_is_no_browser() {
        let names = |pairs: &[(&str, &str)], wsl: bool| -> Vec<String> {
            candidates(URL, &env(pairs), wsl).into_iter().map(|mut words| words.remove(0)).collect()
        };
        assert_eq!(names(&[], false), [""; 0]);
        assert_eq!(names(&[("DISPLAY", "")], false), [""; 0]);
        assert_eq!(names(&[("DISPLAY", ":0")], false), ["xdg-open"]);
        assert_eq!(names(&[("WAYLAND_DISPLAY", "wayland-0")], false), ["xdg-open"]);
        assert_eq!(names(&[("BROWSER", "x")], false), ["x"]);
        assert_eq!(names(&[], true), ["wslview", "rundll32.exe"]);
        assert_eq!(names(&[("DISPLAY", ":0")], true), ["wslview", "rundll32.exe", "xdg-open"]);
    }

    #[test]
    fn a_browser_gets_the_url_and_neither_our_terminal_nor_our_secrets() {
        let folder = tempfile::tempdir().expect("a folder");
        let seen = folder.path().join("seen");
        let text = format!(
            "echo noise; echo noise >&2; cat >/dev/null\n\
             {{ echo \"$@\"; env; echo \"group $(ps -o pgid= -p $$ | tr -d ' ') of $$\"; }} >{0}.new; mv {0}.new {0}\n\
             sleep 60",
            seen.display()
        );
        let program = script(folder.path(), "browser", &text);
        let path = std::env::var("PATH").unwrap_or_default();
        let env = env(&[("BROWSER", &program), ("TOK_PASSWORD", "hunter2"), ("PATH", &path), ("LANG", "C")]);
        let begun = Instant::now();
        let opened = open(URL, &env).expect("opened");
        assert!(begun.elapsed() < Duration::from_secs(30)); // it stays for 60 s
        assert!(within(|| seen.exists()));
        let seen = std::fs::read_to_string(&seen).expect("seen");
        assert!(seen.starts_with(&format!("{URL}\n")) && seen.contains("LANG=C"), "{seen}");
        assert!(!seen.contains("hunter2"), "{seen}");
        let pid = seen.lines().last().and_then(|line| line.rsplit(' ').next()).expect("its number").to_string();
        assert!(!opened.failed());
        let group = rustix::process::Pid::from_raw(pid.parse().expect("a number")).expect("a process");
        assert_eq!(rustix::process::getpgid(Some(group)), Ok(group));
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }

    #[test]
    fn what_cannot_run_or_fails_at_once_makes_way_for_the_next() {
        let folder = tempfile::tempdir().expect("a folder");
        let seen = folder.path().join("seen");
        let failing = script(folder.path(), "failing", "exit 3");
        let good = script(folder.path(), "good", &format!("echo \"$1\" >{}", seen.display()));
        let path = std::env::var("PATH").unwrap_or_default();
        let all = format!("/nonexistent/browser:{failing}:{good}");
        let opened = open(URL, &env(&[("BROWSER", &all), ("PATH", &path)])).expect("opened");
        assert!(within(|| seen.exists()));
        assert!(!opened.failed());
        let opened = open(URL, &env(&[("BROWSER", &failing), ("PATH", "/nonexistent")])).expect("tried");
        assert!(within(|| opened.failed()));
    }
}
