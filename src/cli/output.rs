//! How `tok get` prints a token.

use clap::{Args, ValueEnum};

/// What `tok get` prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The access token
    #[default]
    Token,
    /// The request header line
    Header,
    /// Everything known about it, as JSON
    Json,
    /// `export ACCESS_TOKEN='…'`, for a shell (--shell, --name)
    Env,
    /// The ID token, verified
    IdToken,
    /// A line for `curl -K -`
    Curl,
    /// An ExecCredential, for kubectl's exec plugin
    Kubernetes,
    /// SASL XOAUTH2, in base64 (--user)
    Xoauth2,
    /// SASL OAUTHBEARER (RFC 7628), in base64 (--user, --host, --port)
    Oauthbearer,
    /// For Google's executable-sourced credentials
    GcpExecutable,
    /// For AWS' credential_process, by AssumeRoleWithWebIdentity (--role-arn)
    Aws,
    /// Masks the token and writes it to $GITHUB_OUTPUT (--name)
    Github,
}

/// The shell that a variable is set in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Syntax {
    /// sh, bash, dash, zsh and others
    #[default]
    Posix,
    /// fish
    Fish,
    /// PowerShell
    Powershell,
    /// A batch file of cmd.exe
    Cmd,
}

// What formats take in addition.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct FormatArgs {
    /// Shell that `-o env` is for
    #[arg(long, value_name = "SHELL", value_enum, default_value_t = Syntax::Posix, help_heading = "Format options")]
    pub shell: Syntax,
    /// Variable that `-o env` sets, or output that `-o github` sets [default: ACCESS_TOKEN, token]
    #[arg(long, value_name = "NAME", value_parser = output_name, help_heading = "Format options")]
    pub name: Option<String>,
    /// Print the ID token, verified, in place of the access token
    #[arg(long, help_heading = "Format options")]
    pub id_token: bool,
    /// Print no newline at the end
    #[arg(short = 'n', long, help_heading = "Format options")]
    pub no_newline: bool,
    /// User, for xoauth2 and oauthbearer [default: the profile's username]
    #[arg(long, value_name = "USER", help_heading = "Format options")]
    pub user: Option<String>,
    /// Server, for oauthbearer
    #[arg(long, value_name = "HOST", help_heading = "Format options")]
    pub host: Option<String>,
    /// Port of the server, for oauthbearer
    #[arg(long, value_name = "PORT", help_heading = "Format options")]
    pub port: Option<String>,
    /// Role to assume, for aws
    #[arg(long, value_name = "ARN", help_heading = "Format options")]
    pub role_arn: Option<String>,
    /// Name of the session at AWS [default: tok-PROFILE]
    #[arg(long, value_name = "NAME", requires = "role_arn", help_heading = "Format options")]
    pub role_session_name: Option<String>,
}

/// Options of formats that are the names of some providers' values as well: where the format takes no such option, the
/// value is meant.
pub const ALSO_VALUES: &[&str] = &["user", "host", "port"];

impl FormatArgs {
    /// Whether none of them is given.
    pub fn is_default(&self) -> bool {
        *self == FormatArgs::default()
    }

    /// Takes those of [`ALSO_VALUES`] that `format` has no use for.
    pub fn take_values(&mut self, format: Format) -> Vec<(&'static str, String)> {
        let unused = |names: &'static [&'static str]| names.iter().copied();
        let names = match format {
            Format::Oauthbearer => unused(&[]),
            Format::Xoauth2 => unused(&["host", "port"]),
            _ => unused(ALSO_VALUES),
        };
        let mut of = |name| match name {
            "user" => self.user.take(),
            "host" => self.host.take(),
            _ => self.port.take(),
        };
        names.filter_map(|name| Some((name, of(name)?))).collect()
    }
}

/// What a variable or a step's output may be called; a variable may hold no `-`, which is seen to by its format.
fn output_name(text: &str) -> Result<String, String> {
    super::types::variable_name(&text.replace('-', "_")).map(|_| text.to_string())
}
