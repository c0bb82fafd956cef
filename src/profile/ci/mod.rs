//! The identity token of the CI job or the machine that this runs in: where it comes from, and how it is got. What it
//! is exchanged for is a value of the profile like any other.

mod endpoint;
mod handed_over;

use super::{Profile, Source, variable};
use crate::base::error::{Error, Kind, Result};
use crate::base::secret::{Lines, Secret};
use crate::base::text::escape_to;
use crate::base::toml::TomlValue;
use crate::host::{Host, Stdin};
use crate::oauth::request;
use crate::provider::{Grant, Param};
use crate::token::is_token;
use std::path::Path;

/// What gives identity tokens to the jobs and programs that run in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runner {
    /// GitHub Actions, and what is compatible with it.
    Github,
    /// GitLab CI/CD.
    Gitlab,
    /// Azure Pipelines.
    AzurePipelines,
    /// CircleCI.
    Circleci,
    /// Buildkite.
    Buildkite,
    /// Bitbucket Pipelines.
    Bitbucket,
    /// A pod: a projected service account token.
    Kubernetes,
    /// The role of an AWS workload, by its command-line program.
    Aws,
    /// Google Compute Engine, Cloud Run, GKE: the metadata server.
    Gce,
    /// The managed identity of an Azure virtual machine, App Service or Container App.
    AzureVm,
}

/// Each runner: its name in the config, and what people call it.
const RUNNERS: &[(&str, Runner, &str)] = &[
    ("github", Runner::Github, "GitHub Actions"),
    ("gitlab", Runner::Gitlab, "GitLab CI/CD"),
    ("azure-pipelines", Runner::AzurePipelines, "Azure Pipelines"),
    ("circleci", Runner::Circleci, "CircleCI"),
    ("buildkite", Runner::Buildkite, "Buildkite"),
    ("bitbucket", Runner::Bitbucket, "Bitbucket Pipelines"),
    ("kubernetes", Runner::Kubernetes, "Kubernetes"),
    ("aws", Runner::Aws, "AWS"),
    ("gce", Runner::Gce, "the Google Cloud metadata server"),
    ("azure-vm", Runner::AzureVm, "the Azure metadata service"),
];

/// The variables that differ from job to job: what is cached for one is not for the next on the same machine.
const JOBS: &[&str] = &[
    "ACTIONS_ID_TOKEN_REQUEST_URL",
    "CI_JOB_ID",
    "SYSTEM_OIDCREQUESTURI",
    "CIRCLE_WORKFLOW_JOB_ID",
    "BUILDKITE_JOB_ID",
    "BITBUCKET_STEP_UUID",
];

impl Runner {
    /// What people call it.
    pub fn title(self) -> &'static str {
        RUNNERS.iter().find(|(_, runner, _)| *runner == self).map_or("", |(_, _, title)| title)
    }

    /// The CI service whose job this is, by the variables that it sets in each.
    pub fn of_job(host: &Host) -> Option<Runner> {
        let has = |name: &str| host.env.get(name).is_some_and(|value| !value.is_empty() && value != "false");
        match () {
            () if has("GITHUB_ACTIONS") => Some(Runner::Github),
            () if has("GITLAB_CI") => Some(Runner::Gitlab),
            () if has("TF_BUILD") || has("SYSTEM_OIDCREQUESTURI") => Some(Runner::AzurePipelines),
            () if has("CIRCLECI") => Some(Runner::Circleci),
            () if has("BUILDKITE") => Some(Runner::Buildkite),
            () if has("BITBUCKET_BUILD_NUMBER") || has("BITBUCKET_STEP_OIDC_TOKEN") => Some(Runner::Bitbucket),
            () => None,
        }
    }
}

/// `{ ci = "…" }` as the config has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CiSource {
    /// The runner; `None`: the one that this runs in.
    pub runner: Option<Runner>,
    /// Whom the identity token is for.
    pub audience: Option<String>,
    /// The service connection of Azure Pipelines, by its id.
    pub service_connection: Option<String>,
}

impl CiSource {
    /// Reads the values of the keys `ci`, `audience` and `service_connection`.
    ///
    /// # Errors
    /// [`Kind::Config`].
    pub fn read(
        runner: TomlValue,
        audience: Option<TomlValue>,
        service_connection: Option<TomlValue>,
    ) -> Result<CiSource> {
        let names = [("auto", None)].into_iter().chain(RUNNERS.iter().map(|(name, runner, _)| (*name, Some(*runner))));
        let text = |value: TomlValue| match value.text()? {
            "" => Err(value.error("it is empty")),
            // It is an argument of some runners' programs.
            text if text.starts_with('-') => Err(value.error("it must not begin with `-`")),
            text if text.contains(char::is_control) => Err(value.error("it contains a control character")),
            text => Ok(text.to_string()),
        };
        Ok(CiSource {
            runner: runner.choice(&names.collect::<Vec<_>>())?,
            audience: audience.map(text).transpose()?,
            service_connection: service_connection.map(text).transpose()?,
        })
    }

    /// The source of a value of the config, for the job that this is.
    pub(super) fn source(&self, host: &Host) -> Source {
        Source::Ci { source: self.clone(), job: job(host), by_flag: false }
    }
}

/// A digest of what tells this job from others.
fn job(host: &Host) -> String {
    let jobs = JOBS.iter().filter_map(|name| host.env.get(name));
    let job = jobs.map(|text| text.to_string_lossy()).collect::<Vec<_>>().join("\u{1f}");
    crate::base::digest::hex(&[job.as_bytes()])
}

impl std::fmt::Display for CiSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = |of: Runner| RUNNERS.iter().find(|(_, runner, _)| *runner == of).map_or("", |(name, ..)| name);
        f.write_str(self.runner.map_or("auto", name))?;
        self.audience.iter().try_for_each(|audience| write!(f, ", for {}", escape_to(audience, 80)))
    }
}

/// What is asked of a runner.
struct Wanted<'a> {
    /// The runner.
    runner: Runner,
    /// The audience that the config names.
    audience: Option<&'a str>,
    /// The authorization server, which an assertion is for (RFC 7523 §3): its issuer, else its token endpoint.
    server: Option<String>,
    /// The service connection of Azure Pipelines.
    service_connection: Option<&'a str>,
    /// The profile's `ca_file`.
    ca_file: Option<&'a Path>,
    /// The name of the value, and where it stands in the config.
    value: &'a str,
    at: Option<&'a str>,
}

impl Wanted<'_> {
    /// The error for an identity that cannot be had.
    fn error(&self, kind: Kind, why: impl Into<String>) -> Error {
        let what = format!("no identity token from {}", self.runner.title());
        match self.at.filter(|_| kind == Kind::Config) {
            Some(at) => Error::new(kind, format!("{at}: {what}"), why),
            None => Error::new(kind, what, why),
        }
    }

    /// The error for a variable that the runner sets for a job that may have an identity.
    fn unset(&self, variable: &str, why: &str) -> Error {
        self.error(Kind::LoginNeeded, format!("{variable} is not set: {why}"))
    }

    /// Whom the token is for.
    fn audience(&self) -> Option<&str> {
        self.audience.or(self.server.as_deref())
    }

    /// The same where the runner has no default of its own.
    fn named_audience(&self, audience: Option<&str>) -> Result<String> {
        audience.map(str::to_string).ok_or_else(|| {
            self.error(Kind::Config, "it needs an audience")
                .hint(format!("name it in the config: {} = {{ ci = \"auto\", audience = \"…\" }}", self.value))
        })
    }

    /// `token`, if it is for the audience that the config names.
    fn checked(&self, token: Secret, how: &str) -> Result<Secret> {
        if is_for(&token, self.audience) {
            return Ok(token);
        }
        let has = audiences(&token).unwrap_or_default().join(", ");
        let wanted = self.audience.unwrap_or_default();
        let why = format!("it is for {}, not for {}", escape_to(&has, 200), escape_to(wanted, 80));
        Err(self.error(Kind::Config, why).hint(how))
    }

    /// The token in a variable that the runner sets.
    fn in_variable(&self, host: &Host, name: &str) -> Result<Option<Secret>> {
        Ok(host.line_var(name)?.map(|text| Secret::new(text.as_str())))
    }

    /// The token in a file, which is read each time: it is replaced before it expires.
    fn in_file(&self, host: &Host, path: &Path, named_by: &str) -> Result<Secret> {
        let read = host.read_secret_file(path, Stdin::Refused, Lines::One);
        read.map_err(|failed| {
            let kind = if failed.timed_out { Kind::Unavailable } else { Kind::Config };
            self.error(kind, format!("{named_by}: {}", failed.why))
        })
    }

    /// The token that a program of the runner prints.
    fn by_program(&self, host: &mut Host, words: &[&str]) -> Result<Secret> {
        let words: Vec<String> = words.iter().map(|word| word.to_string()).collect();
        host.run_command(&words, Lines::One).map_err(|failed| {
            let kind = if failed.timed_out { Kind::Unavailable } else { Kind::Config };
            self.error(kind, format!("{}: {}", words.first().map_or("", String::as_str), failed.why))
        })
    }
}

/// Whether `token` is for the audience that the config names; one that cannot be read may be.
fn is_for(token: &Secret, audience: Option<&str>) -> bool {
    let Some(wanted) = audience else { return true };
    audiences(token).is_none_or(|audiences| audiences.iter().any(|audience| audience == wanted))
}

/// The audiences of a JWT (RFC 7519 §4.1.3), decoded and not verified.
fn audiences(token: &Secret) -> Option<Vec<String>> {
    let claims = crate::base::jose::jwt::claims(token.expose())?;
    let text = |value: &serde_json::Value| value.as_str().map(str::to_string);
    match claims.get("aud") {
        Some(serde_json::Value::Array(all)) => Some(all.iter().filter_map(text).collect()),
        Some(one) => Some(text(one).into_iter().collect()),
        None => Some(Vec::new()),
    }
}

/// The runner that `source` names, or that this runs in.
fn runner(host: &mut Host, source: &CiSource) -> Result<Runner> {
    let audience = source.audience.as_deref();
    let found = source.runner.or_else(|| Runner::of_job(host)).or_else(|| handed_over::machine(host, audience));
    let why = "this is neither a job of a CI service nor a cloud machine that tok knows";
    found.ok_or_else(|| Error::new(Kind::LoginNeeded, "no identity token", why))
}

/// The identity token for the setting `name` of a store, asked for now.
///
/// # Errors
/// As [`Profile::ci_identity`].
pub(super) fn for_store(host: &mut Host, source: &CiSource, name: &str) -> Result<Secret> {
    let wanted = Wanted {
        runner: runner(host, source)?,
        audience: source.audience.as_deref(),
        server: None,
        service_connection: source.service_connection.as_deref(),
        ca_file: None,
        value: name,
        at: None,
    };
    ask(host, &wanted)
}

fn ask(host: &mut Host, wanted: &Wanted) -> Result<Secret> {
    let token = match wanted.runner {
        Runner::Github => endpoint::github(host, wanted),
        Runner::AzurePipelines => endpoint::azure_pipelines(host, wanted),
        Runner::Gce => endpoint::gce(host, wanted),
        Runner::AzureVm => endpoint::azure_vm(host, wanted),
        Runner::Gitlab => handed_over::gitlab(host, wanted),
        Runner::Circleci => handed_over::circleci(host, wanted),
        Runner::Buildkite => handed_over::buildkite(host, wanted),
        Runner::Bitbucket => handed_over::bitbucket(host, wanted),
        Runner::Kubernetes => handed_over::kubernetes(host, wanted),
        Runner::Aws => handed_over::aws(host, wanted),
    }?;
    match is_token(token.expose()) {
        true => Ok(token),
        false => Err(wanted.error(Kind::Reply, "what came is not a token: it is too long or contains a space")),
    }
}

impl Profile {
    /// The identity token for the value `name`, asked for now.
    ///
    /// # Errors
    /// [`Kind::LoginNeeded`] where the job or machine has none, naming what it lacks; [`Kind::Config`] where the config
    /// or a file does not fit; of an endpoint as the contract's "By reply".
    pub(super) fn ci_identity(&self, host: &mut Host, name: &str, source: &CiSource) -> Result<Secret> {
        let values = self.known_values().ok();
        let endpoint = || request::url(&self.provider, &self.default_grant().call, values.as_ref()?).ok();
        let server = self.issuer().or_else(endpoint);
        let at = self.config.values.get(name).map(|(_, at)| at.as_str());
        let runner = runner(host, source)
            .map_err(|error| error.hint(format!("give one in a file: {}_FILE=PATH", variable(&self.name, name))))?;
        let wanted = Wanted {
            runner,
            audience: source.audience.as_deref(),
            server,
            service_connection: source.service_connection.as_deref(),
            ca_file: self.ca_file.as_deref(),
            value: name,
            at,
        };
        host.terminal.detail(&format!("{}: {name} is the identity token of {}", self.name, wanted.runner.title()));
        ask(host, &wanted)
    }

    /// What `--ci` sets: the identity value of the grant, where the profile gives none. A grant that needs a person is never
    /// meant: without one of its own the profile gets the first that runs with the identity that it gives.
    pub(super) fn take_identity(&mut self, host: &Host) {
        if self.asked.is_none() && self.config.grant.is_none() && self.default_grant().flow.needs_person() {
            self.asked = self.grant_by_identity();
        }
        if let Some(name) = self.identity_value() {
            let source = Source::Ci { source: CiSource::default(), job: job(host), by_flag: true };
            self.given.insert(name, super::Given { text: None, source });
        }
    }

    /// The defaults that an identity brings for other values, where nothing gives those.
    pub(super) fn identity_defaults(&mut self) {
        let is_ci = |param: &&Param| self.given.get(&param.name).is_some_and(|g| matches!(g.source, Source::Ci { .. }));
        let params = self.provider.params.iter().filter(is_ci);
        let with: Vec<(String, String)> = params.flat_map(|param| param.identity.clone().unwrap_or_default()).collect();
        for (name, text) in with {
            let given = super::Given { text: Some(vec![Secret::new(text)]), source: Source::Default };
            self.given.entry(name).or_insert(given);
        }
    }

    /// The value of the default grant that is to be the job's identity; `None` where it takes none, or has it or another
    /// way already.
    fn identity_value(&self) -> Option<String> {
        let grant = self.default_grant();
        let uses = self.provider.uses(grant);
        let has = |name: &str| self.given.contains_key(name);
        let mut takes = self.provider.params.iter().filter(|p| p.identity.is_some() && uses.contains_key(&p.name));
        if takes.clone().any(|param| has(&param.name)) {
            return None;
        }
        let names = grant.names();
        // What tok would sign itself needs no identity where there is a key.
        let signs = |param: &Param| param.name == "assertion" && grant.assertion.is_some() && has("private_key");
        let needed = takes.clone().find(|param| names.get(&param.name) == Some(&false) && !signs(param));
        if let Some(param) = needed {
            return Some(param.name.clone());
        }
        let lacks_client = grant.needs(&has).get("client_secret") == Some(&false) && !has("client_secret");
        takes.find(|param| lacks_client && grant.call.auth.takes(&param.name)).map(|param| param.name.clone())
    }

    /// The first grant that runs without a person by an identity that the profile gives.
    fn grant_by_identity(&self) -> Option<String> {
        let has = |name: &str| self.given.contains_key(name);
        let is_known = |name: &str| {
            let param = self.provider.param(name);
            has(name) || param.is_some_and(|p| p.default.is_some() || p.metadata.is_some())
        };
        let runs = |grant: &&Grant| {
            let uses = self.provider.uses(grant);
            let by_identity =
                self.provider.params.iter().any(|p| p.identity.is_some() && has(&p.name) && uses.contains_key(&p.name));
            let lacks = |(name, optional): (String, bool)| !optional && !is_known(&name);
            by_identity && !grant.flow.needs_person() && !grant.needs(&has).into_iter().any(lacks)
        };
        self.provider.grants.iter().find(runs).map(|grant| grant.name.clone())
    }

    /// What to use where `--ci` meets a grant that needs a person: one that takes an identity; first one that can say
    /// which kind of token it is given, for an assertion may have to be another kind.
    pub fn grant_for_ci(&self) -> Option<&Grant> {
        let takes = |grant: &Grant, typed: bool| {
            let names = grant.names();
            let fits = |with: &Vec<(String, String)>| !typed || !with.is_empty();
            let needs =
                |param: &Param| param.identity.as_ref().is_some_and(fits) && names.get(&param.name) == Some(&false);
            !grant.flow.needs_person() && self.provider.params.iter().any(needs)
        };
        let first = |typed| self.provider.grants.iter().find(|grant| takes(grant, typed));
        first(true).or_else(|| first(false))
    }
}
