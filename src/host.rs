//! Everything outside the process as one value: environment, folders, clock, terminal, network, stores. [`Host::real`]
//! is the real one; a test makes its own.
#![expect(clippy::disallowed_methods, reason = "the one place that reads them")]

#[cfg(test)]
pub mod testing;

use crate::base::env::Env;
use crate::base::error::{Error, Kind, Result};
use crate::base::secret::{Lines, Secret, without_line_break};
use crate::base::text::escape;
use crate::base::url::{Url, is_local, is_local_address};
use crate::cli::{Color, Global};
use crate::oauth::request::{ClientCertificate, Request, Response};
use crate::storage::choice::StoreChoice;
use crate::storage::folders::Folders;
use crate::storage::secrets::{Patience, RealStores, Store, StoreError, Stores};
use crate::system::choose::Choice;
use crate::system::clock::{self, Clock};
use crate::system::files;
use crate::system::files_read::FilesRead;
use crate::system::http::{self, Events, Head, Http, NetworkSettings};
use crate::system::process::{self, Failed, Said};
use crate::system::progress::{Progress, Style};
use crate::system::terminal::{Echo, Hidden, Terminal};
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// The variable that says which event a hook is told of. Where it is set, no hook is run: one that runs `tok` itself would
/// set off the next.
pub const EVENT: &str = "TOK_EVENT";

/// Set for what a `command` of the config runs, so that a tok among that runs no command in turn: two profiles whose
/// commands ask tok for each other would go on for ever. It does not begin with `TOK_`, as it is not a setting and goes on
/// to children.
const IN_COMMAND: &str = "_TOK_IN_COMMAND";

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
    /// The network; the real one is made at the first request.
    http: Option<Http>,
    /// Set while an API says where to go.
    elsewhere: Option<Elsewhere>,
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

/// A store that is waited for where a person watches.
struct Watched {
    store: Box<dyn Store>,
    style: Style,
    what: String,
}

impl Watched {
    fn watch<T>(&mut self, call: impl FnOnce(&mut dyn Store) -> T) -> T {
        let what = self.what.clone();
        let _progress = Progress::begin(self.style, move || format!("waiting for {what}…"));
        call(self.store.as_mut())
    }
}

impl Store for Watched {
    fn get(&mut self, profile: &str) -> std::result::Result<Option<Secret>, StoreError> {
        self.watch(|store| store.get(profile))
    }

    fn set(&mut self, profile: &str, entry: &Secret) -> std::result::Result<(), StoreError> {
        self.watch(|store| store.set(profile, entry))
    }

    fn ready(&mut self) -> std::result::Result<(), StoreError> {
        self.watch(|store| store.ready())
    }

    fn prepare(&mut self) -> std::result::Result<(), StoreError> {
        self.watch(|store| store.prepare())
    }

    fn forget(&mut self, profile: &str) -> std::result::Result<bool, StoreError> {
        self.watch(|store| store.forget(profile))
    }
}

/// What a login to an API may be sent to by what the API says.
struct Elsewhere {
    /// The hosts that a person has named. They may be anywhere; with one that is on this machine or its own link, so may
    /// all others.
    named: Vec<String>,
}

impl Elsewhere {
    fn names(&self, host: &str) -> bool {
        self.named.iter().any(|named| named.eq_ignore_ascii_case(host))
    }
}

/// Keeps the notes until the reply is there: a terminal that takes no more for now must not hold up a new token.
struct Notes<'a> {
    events: &'a mut dyn Events,
    lines: Vec<String>,
    /// Whether the server must not be on this machine or its own link.
    is_elsewhere: bool,
    /// Where it was reached.
    reached: Option<IpAddr>,
}

impl Events for Notes<'_> {
    fn allows(&self, address: IpAddr) -> bool {
        !(self.is_elsewhere && is_local_address(address)) && self.events.allows(address)
    }

    fn reached(&mut self, address: IpAddr) {
        self.reached = Some(address);
        self.events.reached(address);
    }

    fn connected(&mut self) -> Result<()> {
        self.events.connected()
    }

    fn reply_by(&self, deadline: Instant) -> Instant {
        self.events.reply_by(deadline)
    }

    fn received(&mut self, head: &Head, body: &[u8]) {
        self.events.received(head, body);
    }

    fn note(&mut self, line: &str) {
        self.events.note(line);
        self.lines.push(line.to_string());
    }
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
            http: None,
            elsewhere: None,
        }
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

    /// Sends `request` before the call's deadline.
    ///
    /// # Errors
    /// As [`Http`].
    pub fn send(&mut self, request: &Request) -> Result<Response> {
        self.send_until(request, self.clock.deadline, &mut ())
    }

    /// Sends `request` before `deadline`, and tells `events` of it. Its notes go to the terminal as well, after the
    /// reply.
    ///
    /// # Errors
    /// As [`Http`].
    pub fn send_until(&mut self, request: &Request, deadline: Instant, events: &mut dyn Events) -> Result<Response> {
        let settings = self.http.is_none().then(|| self.network_settings());
        let http = self.http.get_or_insert_with(|| http::real(settings.unwrap_or_default(), clock::now));
        let host = Url::parse(&request.url).map(|url| url.host).unwrap_or_default();
        let named = self.elsewhere.as_ref().map(|elsewhere| elsewhere.names(host));
        // An address that is one by its text alone has been looked at before.
        let is_elsewhere = named == Some(false) && !is_local(host);
        let mut notes = Notes { events, lines: Vec::new(), is_elsewhere, reached: None };
        let to = escape(host);
        let progress = Progress::begin(self.terminal.progress(), move || format!("waiting for {to}…"));
        let answer = http(request, deadline, &mut notes);
        progress.end();
        // A server that answers there has shown its certificate.
        if named == Some(true) && answer.is_ok() && notes.reached.is_some_and(is_local_address) {
            self.elsewhere = None;
        }
        notes.lines.iter().for_each(|line| self.terminal.detail(line));
        answer
    }

    /// From here on an API says where to go: a host is not connected to on this machine or its own link. That is decided
    /// by the address, which only the connection knows. The hosts of `named`, URLs that a person gives, are not concerned;
    /// with one that is there itself, no host is.
    pub fn keep_off_this_machine<'u>(&mut self, named: impl IntoIterator<Item = &'u str>) {
        let hosts = named.into_iter().filter_map(|url| Url::parse(url).ok()).map(|url| url.host.to_string());
        self.elsewhere = Some(Elsewhere { named: hosts.collect() });
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

    /// The store of that choice; `None` for none.
    ///
    /// # Errors
    /// Where it cannot even be tried.
    pub fn store(&self, choice: &StoreChoice) -> std::result::Result<Option<Box<dyn Store>>, StoreError> {
        let opened = self.stores.open(choice, self.patience())?;
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

    /// What the command prints, without one trailing line break. It runs without a shell, without stdin and without
    /// any `TOK_` variable. On a terminal its stderr is ours, as it may ask for a password; elsewhere it is shown if the
    /// command fails, and with `-v`.
    ///
    /// # Errors
    /// In words without its output.
    pub fn run_command(&mut self, words: &[String], lines: Lines) -> std::result::Result<Secret, Failed> {
        let mark = (OsString::from(IN_COMMAND), OsString::from("1"));
        let env = self.env.for_children().chain(std::iter::once((&mark.0, &mark.1)));
        let said = process::output(words, env, None, self.clock.deadline, LIMIT);
        Ok(Secret::read(&self.shown(said)?, lines)?)
    }

    /// The stdout of a program; its stderr goes to ours where it says why the program failed.
    fn shown(&mut self, said: std::result::Result<Said, Failed>) -> std::result::Result<Zeroizing<Vec<u8>>, Failed> {
        match &said {
            Ok(said) => said.stderr.lines().for_each(|line| self.terminal.detail(line)),
            Err(failed) => failed.stderr.lines().for_each(|line| self.terminal.quote(line)),
        }
        said.map(|said| said.stdout)
    }

    /// Whether this tok may run a command of the config: not if one has started it.
    ///
    /// # Errors
    /// In words.
    pub fn may_run_commands(&self) -> std::result::Result<(), Failed> {
        match self.env.has(IN_COMMAND) {
            true => Err("it is not run, since tok itself was started by such a command".to_string().into()),
            false => Ok(()),
        }
    }

    /// Runs the hook of `event`, which is told of it by variables, for at most `limit`. It gets no stdin and no other
    /// variable of ours; its stdout is dropped, its stderr is as in [`Host::run_command`].
    ///
    /// # Errors
    /// In words without its output.
    pub fn run_hook(&mut self, event: &Event, limit: Duration) -> std::result::Result<(), Failed> {
        let told = [
            (EVENT, Some(event.name)),
            ("TOK_EVENT_PROFILE", Some(&event.profile)),
            ("TOK_EVENT_REASON", Some(&event.reason)),
            ("TOK_EVENT_HINT", event.hint.as_deref()),
        ];
        let told = told.map(|(name, text)| text.map(|text| (OsString::from(name), OsString::from(text))));
        let told = told.iter().flatten().map(|(name, text)| (name, text));
        let env = self.env.for_children().chain(told);
        let said = process::output(&event.command, env, None, Instant::now() + limit, LIMIT);
        match said {
            // A warning is all that comes of it.
            Err(failed) if self.terminal.quiet => Err(failed),
            said => self.shown(said).map(drop),
        }
    }

    /// Runs the command as [`Host::run_command`] does, with `input` as its stdin; what it prints is dropped.
    ///
    /// # Errors
    /// In words without its output.
    pub fn feed_command(&mut self, words: &[String], input: &Secret) -> std::result::Result<(), Failed> {
        let bytes = Zeroizing::new(input.expose().as_bytes().to_vec());
        let said = process::output(words, self.env.for_children(), Some(bytes), self.clock.deadline, LIMIT);
        self.shown(said).map(drop)
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
