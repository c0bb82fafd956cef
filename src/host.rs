//! Everything outside the process as one value: environment, folders, clock, terminal, network, stores. [`Host::real`]
//! is the real one; a test makes its own.
#![expect(clippy::disallowed_methods, reason = "the one place that reads them")]

mod programs;
mod sending;
#[cfg(test)]
pub mod testing;
mod watched;

use crate::base::env::Env;
use crate::base::error::{Error, Kind, Result};
use crate::base::secret::{Lines, Secret, without_line_break};
use crate::cli::{Color, Global};
use crate::oauth::request::ClientCertificate;
use crate::storage::choice::StoreChoice;
use crate::storage::folders::Folders;
use crate::storage::secrets::shared::{Network, Setting, Unanswered};
use crate::storage::secrets::{Opening, Patience, RealStores, Store, StoreError, Stores};
use crate::system::choose::Choice;
use crate::system::clock::{self, Clock};
use crate::system::files;
use crate::system::files_read::FilesRead;
use crate::system::http::{self, Http, NetworkSettings};
use crate::system::process::Failed;
use crate::system::progress::Style;
use crate::system::terminal::{Echo, Hidden, Terminal};
use std::cell::OnceCell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use watched::Watched;
use zeroize::Zeroizing;

/// The variable that says which event a hook is told of. Where it is set, no hook is run: one that runs `tok` itself would
/// set off the next.
pub const EVENT: &str = "TOK_EVENT";

/// The most that a file a user names, or a command's output, may hold, in bytes.
pub const LIMIT: u64 = 1 << 20;

/// Everything outside the process, as this run sees it.
pub struct Host {
    /// The command line, the program's name first.
    pub words: Vec<OsString>,
    /// The environment.
    pub env: Env,
    /// Where things are kept; `None` where the user has no home.
    folders: Option<Folders>,
    /// The clocks, and how long this call may take.
    pub clock: Clock,
    /// Prompts and messages.
    pub terminal: Terminal,
    /// The files with settings that this run has read.
    pub settings: FilesRead,
    /// What happened that a hook is to be told, once the answer is out.
    pub events: Vec<Event>,
    /// The secret stores.
    stores: Box<dyn Stores>,
    /// The settings of stores on the network, once the config is read.
    store_settings: Setting,
    /// The network; the real one is made at the first request.
    http: OnceCell<Http>,
    /// Set while an API says where to go.
    elsewhere: Option<sending::Elsewhere>,
}

/// Something that a hook is told. It holds no secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// `renewed` or `login_needed`.
    pub name: &'static str,
    /// The profile.
    pub profile: String,
    /// Why, in words.
    pub reason: String,
    /// What to do about it, if anything.
    pub hint: Option<String>,
    /// The program that is told, and its arguments.
    pub command: Vec<String>,
}

impl Host {
    /// The real host.
    pub fn real() -> Host {
        let env: Env = std::env::vars_os().collect();
        let folders = Folders::of_platform();
        Host {
            words: Vec::new(),
            stores: Box::new(RealStores::new(env.clone(), folders.clone())),
            env,
            folders,
            clock: Clock::real(),
            terminal: Terminal::real(),
            settings: FilesRead::default(),
            events: Vec::new(),
            store_settings: Arc::new(|_| Ok(None)),
            http: OnceCell::new(),
            elsewhere: None,
        }
    }

    /// A host that asks for what a store needs, with this environment, until `deadline`. It says nothing.
    pub fn apart(env: Env, deadline: Instant) -> Host {
        let mut host = Host { env, ..Host::real() };
        host.clock.deadline = deadline;
        host
    }

    /// Where things are kept.
    ///
    /// # Errors
    /// [`Kind::Other`] where the user has no home.
    pub fn folders(&self) -> Result<&Folders> {
        self.folders.as_ref().ok_or_else(|| {
            Error::new(Kind::Other, "no folder for config and tokens", "this user has no home folder")
                .hint("set HOME to an absolute path")
        })
    }

    /// Whether this is root by way of `sudo`, and was another user before.
    pub fn is_sudo(&self) -> bool {
        self.env.has("SUDO_USER")
    }

    /// Refuses to work as root in the home of whoever ran `sudo -E`: files would be made there that are root's.
    ///
    /// # Errors
    /// [`Kind::Config`].
    pub fn check_home(&self) -> Result<()> {
        match &self.folders {
            Some(folders) if self.is_sudo() && files::is_of_another(&folders.home) => {
                let what = format!("the home folder {} belongs to another user", folders.home.display());
                Err(Error::new(Kind::Config, what, "tok would leave files owned by root in it")
                    .hint("run it with sudo -H, so that root uses its own config and tokens"))
            }
            _ => Ok(()),
        }
    }

    /// Puts the options of every command into force.
    pub fn settle(&mut self, global: &Global) {
        let terminal = &mut self.terminal;
        terminal.verbose = global.verbose;
        terminal.quiet = global.quiet;
        terminal.interactive &= !global.no_input;
        let has = |name: &str| self.env.get(name).is_some_and(|value| !value.is_empty());
        // https://no-color.org
        let wanted = !has("NO_COLOR") && self.env.get("TERM").is_none_or(|term| term != "dumb");
        let color = |is_terminal: bool| match global.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => is_terminal && wanted,
        };
        terminal.plain = self.env.get("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        terminal.color = color(terminal.stderr_terminal);
        terminal.color_stdout = color(terminal.stdout_terminal);
    }

    /// How many columns there are for an answer: COLUMNS, else those of the terminal that stdout is; `None` where it is
    /// none.
    pub fn columns(&self) -> Option<usize> {
        let set = self.env.get("COLUMNS").and_then(|text| text.to_str()?.parse().ok()).filter(|columns| *columns > 0);
        set.or_else(crate::system::terminal::stdout_columns)
    }

    /// The folder that relative paths start from.
    pub fn working_folder(&self) -> Option<PathBuf> {
        std::env::current_dir().ok()
    }

    /// The environment variable `name`, as text; an empty one is absent.
    ///
    /// # Errors
    /// [`Kind::Usage`] where it is not UTF-8.
    pub fn var(&self, name: &str) -> Result<Option<String>> {
        let text = self.env.text(name).map_err(|_| Error::new(Kind::Usage, name, "its value is not UTF-8"))?;
        Ok(text.map(str::to_string))
    }

    /// The value in a variable, without one line break at its end, as from a file: `$(cat FILE)` drops it, `$'…\n'` and a
    /// Kubernetes secret do not. An empty one is absent.
    ///
    /// # Errors
    /// As [`Host::var`].
    pub fn line_var(&self, name: &str) -> Result<Option<Zeroizing<String>>> {
        let text = self.var(name)?.map(Zeroizing::new);
        let text = text.map(|text| Zeroizing::new(without_line_break(&text).to_string()));
        Ok(text.filter(|text| !text.is_empty()))
    }

    fn http(&self) -> Http {
        self.http.get_or_init(|| http::real(self.network_settings(), clock::now)).clone()
    }

    /// Where stores on the network find their settings from now on.
    pub fn set_store_settings(&mut self, settings: Setting) {
        self.store_settings = settings;
    }

    fn network_settings(&self) -> NetworkSettings {
        let settings = NetworkSettings::from_env(|name| self.env.get(name).map(OsString::from));
        NetworkSettings { verbose: self.terminal.verbose, sudo: self.is_sudo(), ..settings }
    }

    /// Whether a request to the host of `url` could begin; `ca_file` is the profile's.
    ///
    /// # Errors
    /// As [`http::check_settings`].
    pub fn check_network(&self, url: &str, ca_file: Option<&Path>) -> Result<()> {
        let host = crate::base::url::Url::parse(url).map(|url| url.host.to_string()).unwrap_or_default();
        http::check_settings(&self.network_settings(), &host, ca_file)
    }

    /// Whether `client_certificate` can be shown, before anything is sent.
    ///
    /// # Errors
    /// As [`http::check_client_certificate`].
    pub fn check_client_certificate(&self, client_certificate: &ClientCertificate) -> Result<()> {
        http::check_client_certificate(client_certificate)
    }

    /// The store of that choice, for the entry of `profile`; `None` for none.
    ///
    /// # Errors
    /// Where it cannot even be tried.
    pub fn store(
        &self,
        choice: &StoreChoice,
        profile: &str,
    ) -> std::result::Result<Option<Box<dyn Store>>, StoreError> {
        let network = || {
            let http = self.http();
            Network {
                send: Arc::new(move |request, deadline| {
                    let mut failure = sending::Failure::default();
                    http(request, deadline, &mut failure).map_err(|error| Unanswered {
                        may_pass: failure.may_pass,
                        is_reply: error.kind == Kind::Reply,
                        why: error.to_string(),
                    })
                }),
                setting: self.store_settings.clone(),
                deadline: self.clock.deadline,
            }
        };
        let opened = self.stores.open(Opening { choice, profile, patience: self.patience(), network: &network })?;
        let style = self.terminal.progress();
        let what = match choice {
            StoreChoice::Keyring => "the keyring, which may be asking for its password".to_string(),
            other => format!("the {other} store"),
        };
        Ok(opened.map(|store| match style {
            Style::Silent => store,
            style => Box::new(Watched { store, style, what }) as Box<dyn Store>,
        }))
    }

    /// An entry of the platform's keyring that another program put there.
    ///
    /// # Errors
    /// As the keyring.
    pub fn keyring_entry(&self, service: &str, user: &str) -> std::result::Result<Option<Secret>, StoreError> {
        self.stores.keyring_entry(service, user, self.patience())
    }

    fn patience(&self) -> Patience {
        Patience { attended: self.terminal.interactive, deadline: self.clock.deadline }
    }

    /// A file that the user named, as text without one trailing line break. `-` is stdin, where `stdin` allows it.
    ///
    /// # Errors
    /// In words that never repeat the path or the content: either may be a secret typed in the wrong place.
    pub fn read_secret_file(&self, path: &Path, stdin: Stdin, lines: Lines) -> std::result::Result<Secret, Failed> {
        let bytes = if stdin == Stdin::Allowed && path == Path::new("-") {
            files::read_stream(std::io::stdin(), LIMIT, self.clock.deadline)
        } else {
            files::read_user_file(path, LIMIT, self.clock.deadline)
        };
        let bytes = Zeroizing::new(bytes.map_err(|error| -> Failed {
            match error.kind() {
                std::io::ErrorKind::NotFound => "no such file".to_string(),
                std::io::ErrorKind::IsADirectory => "it is a folder".to_string(),
                std::io::ErrorKind::PermissionDenied => "permission denied".to_string(),
                std::io::ErrorKind::FileTooLarge => "it is longer than 1 MiB".to_string(),
                std::io::ErrorKind::TimedOut => {
                    let why = "it was not read in time".into();
                    return Failed { why, timed_out: true, stderr: String::new() };
                }
                _ => "it cannot be read".to_string(),
            }
            .into()
        })?);
        Ok(Secret::read(&bytes, lines)?)
    }

    /// What another program asks on stdin: lines up to and with the first one for which `is_last`, or all.
    ///
    /// # Errors
    /// [`Kind::Other`], and [`Kind::Unavailable`] where it is not complete in time.
    pub fn read_request(&self, is_last: impl Fn(&[u8]) -> bool + Send + 'static) -> Result<Zeroizing<Vec<u8>>> {
        // Stdin has one buffer, which a later call goes on with.
        files::read_lines(|| std::io::stdin().lock(), LIMIT, self.clock.deadline, is_last).map(Zeroizing::new).map_err(
            |error| {
                let late = error.kind() == std::io::ErrorKind::TimedOut;
                let kind = if late { Kind::Unavailable } else { Kind::Other };
                Error::new(kind, "the request on stdin cannot be read", files::why(&error))
            },
        )
    }

    /// The content of a file that the user named and that is not a secret; `-` is stdin.
    ///
    /// # Errors
    /// As [`files::read_user_file`].
    pub fn read_file(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        match path == Path::new("-") {
            true => files::read_stream(std::io::stdin(), LIMIT, self.clock.deadline),
            false => files::read_user_file(path, LIMIT, self.clock.deadline),
        }
    }

    /// Asks a person, without echo where it is a secret; an empty answer is `None`. Their time does not count.
    ///
    /// # Errors
    /// As [`Terminal::ask`].
    pub fn ask(&mut self, label: &str, echo: Echo) -> Result<Option<Secret>> {
        let start = Instant::now();
        let answer = self.terminal.ask(label, echo);
        self.clock.excuse(start);
        answer
    }

    /// Asks which of `choices` it is to be, by its place; `None` where nothing was chosen. A person's time does not count.
    ///
    /// # Errors
    /// As [`Terminal::choose`].
    pub fn choose(&mut self, label: &str, choices: &[Choice]) -> Result<Option<usize>> {
        let start = Instant::now();
        let chosen = self.terminal.choose(label, choices);
        self.clock.excuse(start);
        chosen
    }

    /// Asks for a secret that may be a PEM: all lines of one are read.
    ///
    /// # Errors
    /// As [`Terminal::ask`].
    pub fn ask_secret(&mut self, label: &str) -> Result<Option<Secret>> {
        let _hidden = Hidden::begin();
        let Some(first) = self.ask(label, Echo::Off)? else { return Ok(None) };
        if !first.expose().starts_with("-----BEGIN") || first.expose().contains("-----END") {
            return Ok(Some(first));
        }
        let mut text = Zeroizing::new(format!("{}\n", first.expose()));
        while let Some(line) = self.ask("", Echo::Off)? {
            text.push_str(line.expose());
            if line.expose().starts_with("-----END") {
                break;
            }
            text.push('\n');
        }
        Ok(Some(Secret::new(text.as_str())))
    }
}

/// Whether `-` as a path means stdin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stdin {
    /// It does.
    Allowed,
    /// It is a file like others.
    Refused,
}
