//! The token in a variable, for a shell that reads the line: `eval "$(…)"` in POSIX shells, `… | source` in fish,
//! `… | Invoke-Expression` in PowerShell, a batch file that is called in cmd.exe.

use super::Answer;
use crate::base::error::{Error, Kind};
use crate::cli::Syntax;
use anyhow::Result;

/// Whether a shell takes the name: a step's output, which the option names too, may have more characters.
///
/// # Errors
/// [`Kind::Usage`].
pub fn check_name(variable: &str) -> Result<()> {
    match variable.contains('-') {
        true => Err(Error::new(Kind::Usage, "--name", "a variable's name has letters, digits and `_` only").into()),
        false => Ok(()),
    }
}

/// # Errors
/// [`Kind::Other`] where cmd.exe cannot hold the token.
pub fn write(answer: &Answer, shell: Syntax, variable: &str) -> Result<String> {
    let token = answer.token.access_token.expose();
    Ok(match shell {
        // Nothing is special inside single quotes but the quote itself.
        Syntax::Posix => format!("export {variable}='{}'\n", token.replace('\'', "'\\''")),
        // fish(1), "Quotes": the backslash too.
        Syntax::Fish => {
            format!("set -gx {variable} '{}'\n", token.replace('\\', "\\\\").replace('\'', "\\'"))
        }
        // about_Quoting_Rules: a quote is doubled.
        Syntax::Powershell => format!("$env:{variable} = '{}'\n", token.replace('\'', "''")),
        Syntax::Cmd => {
            if token.contains('"') {
                let why = "cmd.exe has no way to quote the quotation mark in it";
                return Err(Error::new(Kind::Other, "the token cannot be set in cmd.exe", why).into());
            }
            // A batch file takes %% for %; the rest means nothing inside quotes.
            format!("@set \"{variable}={}\"\r\n", token.replace('%', "%%"))
        }
    })
}
