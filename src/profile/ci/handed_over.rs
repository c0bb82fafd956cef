//! Runners that hand the token over: in a variable, in a file, or by a program of theirs.

use super::{Runner, Wanted, audiences, is_for};
use crate::base::error::{Kind, Result};
use crate::base::secret::{Lines, Secret};
use crate::base::text::escape_to;
use crate::host::{Host, Stdin};
use std::path::{Path, PathBuf};

/// Variables with the path of a token for the workload: AKS and EKS set them.
const FILES: [&str; 2] = ["AZURE_FEDERATED_TOKEN_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE"];
/// The service account's token for the cluster's own API.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// The machine that this runs on, where it is no job of a CI service.
pub fn machine(host: &Host, audience: Option<&str>) -> Option<Runner> {
    let has = |name: &str| host.env.has(name);
    let dmi = |file: &str| {
        let path = Path::new("/sys/class/dmi/id").join(file);
        let text = host.read_secret_file(&path, Stdin::Refused, Lines::One).ok();
        text.map(|text| text.expose().trim().to_string()).unwrap_or_default()
    };
    // The cluster's own token is for its API alone, unless it is the one that is wanted.
    let fits = || {
        let token = host.read_secret_file(Path::new(ACCOUNT), Stdin::Refused, Lines::One).ok()?;
        is_for(&token, audience).then_some(())
    };
    match () {
        () if FILES.iter().any(|name| has(name)) => Some(Runner::Kubernetes),
        () if has("CODEBUILD_BUILD_ARN")
            || has("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
            || has("AWS_CONTAINER_CREDENTIALS_FULL_URI") =>
        {
            Some(Runner::Aws)
        }
        () if has("IDENTITY_ENDPOINT") || has("AZURE_POD_IDENTITY_AUTHORITY_HOST") => Some(Runner::AzureVm),
        () if has("GCE_METADATA_HOST") => Some(Runner::Gce),
        () if has("KUBERNETES_SERVICE_HOST") && fits().is_some() => Some(Runner::Kubernetes),
        () if ["Google", "Google Compute Engine"].contains(&dmi("product_name").as_str()) => Some(Runner::Gce),
        // The tag of every Azure machine.
        () if dmi("chassis_asset_tag") == "7783-7084-3265-9085-8269-3286-77" => Some(Runner::AzureVm),
        () if has("KUBERNETES_SERVICE_HOST") => Some(Runner::Kubernetes),
        () => None,
    }
}

/// A variable of the job's `id_tokens`: the one that is named after the audience, else the one whose token this GitLab
/// has made for it.
pub fn gitlab(host: &Host, wanted: &Wanted) -> Result<Secret> {
    let usual = wanted.audience.map(name_of);
    if let Some(name) = &usual
        && let Some(token) = wanted.in_variable(host, name)?
    {
        return Ok(token);
    }
    let issuer = host.var("CI_SERVER_URL")?;
    let is_ours = |token: &Secret| {
        let claims = crate::base::jose::jwt::claims(token.expose())?;
        let by = claims.get("iss")?.as_str()?.trim_end_matches('/');
        let is_its = issuer.as_ref().is_none_or(|url| url.trim_end_matches('/') == by);
        (is_its && is_for(token, wanted.audience)).then_some(())
    };
    let mut found: Vec<(String, Secret)> = Vec::new();
    // GitLab's own are for other ends.
    for name in host.env.all_names().filter(|name| !name.starts_with("CI_") && !name.starts_with("TOK_")) {
        let Ok(Some(text)) = host.line_var(name) else { continue };
        let token = Secret::new(text.as_str());
        if is_ours(&token).is_some() {
            found.push((name.to_string(), token));
        }
    }
    let example = wanted.audience().map(|audience| escape_to(audience, 200)).unwrap_or("https://…".into());
    let name = usual.unwrap_or("ID_TOKEN".into());
    let hint = format!("add it to the job in .gitlab-ci.yml: id_tokens: {{ {name}: {{ aud: \"{example}\" }} }}");
    match found.len() {
        1 => Ok(found.remove(0).1),
        0 => Err(match wanted.audience {
            Some(_) => wanted.unset(&name, "the job has no ID token for this audience").hint(hint),
            None => wanted.error(Kind::LoginNeeded, "the job has no ID token").hint(hint),
        }),
        _ => {
            let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
            let why = format!("the job has several: {}", names.join(", "));
            Err(wanted
                .error(Kind::Config, why)
                .hint(format!("name one in the config: {} = {{ env = \"{}\" }}", wanted.value, names[0])))
        }
    }
}

/// The variable that goes by the audience: sigstore's convention, `<AUD>_ID_TOKEN`.
fn name_of(audience: &str) -> String {
    let upper = audience.to_uppercase();
    let fits = |(at, c): (usize, char)| c.is_ascii_uppercase() || c == '_' || at > 0 && c.is_ascii_digit();
    let name: String = upper.chars().enumerate().map(|(at, c)| if fits((at, c)) { c } else { '_' }).collect();
    name + "_ID_TOKEN"
}

/// A variable with the organization as its audience; only CircleCI's program makes one for another.
pub fn circleci(host: &mut Host, wanted: &Wanted) -> Result<Secret> {
    let name = "CIRCLE_OIDC_TOKEN_V2";
    let handed = match wanted.in_variable(host, name)? {
        None => wanted.in_variable(host, "CIRCLE_OIDC_TOKEN")?,
        handed => handed,
    };
    match (handed, wanted.audience) {
        (Some(token), Some(audience)) if audiences(&token).is_some_and(|all| all.iter().any(|a| a == audience)) => {
            Ok(token)
        }
        (_, Some(audience)) => {
            let claims = serde_json::json!({ "aud": audience }).to_string();
            wanted.by_program(host, &["circleci", "run", "oidc", "get", "--claims", &claims])
        }
        (Some(token), None) => Ok(token),
        (None, None) => Err(wanted
            .unset(name, "only a job with a context has it")
            .hint("add a context to the job in the workflow: context: NAME")),
    }
}

/// What the agent prints.
pub fn buildkite(host: &mut Host, wanted: &Wanted) -> Result<Secret> {
    let mut words = vec!["buildkite-agent", "oidc", "request-token"];
    wanted.audience().iter().for_each(|audience| words.extend(["--audience", audience]));
    wanted.by_program(host, &words)
}

/// A variable of a step with `oidc: true`.
pub fn bitbucket(host: &Host, wanted: &Wanted) -> Result<Secret> {
    let name = "BITBUCKET_STEP_OIDC_TOKEN";
    let token = wanted.in_variable(host, name)?.ok_or_else(|| {
        wanted
            .unset(name, "the step does not ask for it")
            .hint("add it to the step in bitbucket-pipelines.yml: oidc: true")
    })?;
    wanted.checked(token, "set the audience in the config to the one that Bitbucket shows for the workspace")
}

/// A projected token: that of a workload identity, else the service account's own.
pub fn kubernetes(host: &Host, wanted: &Wanted) -> Result<Secret> {
    let mut last = None;
    for name in FILES {
        let Some(path) = host.var(name)? else { continue };
        let token = wanted.in_file(host, &PathBuf::from(path), &format!("the file that {name} names"))?;
        if is_for(&token, wanted.audience) {
            return Ok(token);
        }
        last = Some(token);
    }
    let token = match (host.read_secret_file(Path::new(ACCOUNT), Stdin::Refused, Lines::One), last) {
        (Ok(token), _) => token,
        (Err(_), Some(other)) => other,
        (Err(failed), None) => {
            let why = format!("{ACCOUNT}: {}", failed.why);
            return Err(wanted.error(Kind::LoginNeeded, why).hint(projected(wanted)));
        }
    };
    wanted.checked(token, &projected(wanted))
}

fn projected(wanted: &Wanted) -> String {
    format!("mount a projected serviceAccountToken and name it: {} = {{ file = \"/var/run/secrets/…\" }}", wanted.value)
}

/// What the AWS command-line program prints, by the role that it finds.
pub fn aws(host: &mut Host, wanted: &Wanted) -> Result<Secret> {
    let audience = wanted.named_audience(wanted.audience())?;
    let words = ["aws", "sts", "get-web-identity-token", "--audience", &audience, "--signing-algorithm", "RS256"];
    wanted.by_program(host, &[&words[..], &["--query", "WebIdentityToken", "--output", "text"]].concat())
}
