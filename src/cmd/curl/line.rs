//! A command line of curl, read as curl reads it: which URLs it would request, by which method, and what of it would take
//! a header elsewhere than there.

use super::options::{CurlOption, Long, long, short};
use crate::base::text::escape_to;
use std::ffi::OsString;

/// What curl would do between one `--next` and another: options count up to there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Operation {
    /// The URLs as they are written.
    pub urls: Vec<String>,
    /// Files that are sent, or `-` for stdin.
    pub sent: Vec<String>,
    /// What leads a connection elsewhere than the URL says: harmless behind TLS alone.
    pub routes: Vec<String>,
    /// The names of the headers that are set.
    pub headers: Vec<String>,
    /// Redirects are followed.
    pub follows: bool,
    /// Braces and brackets of a URL mean themselves.
    pub globs_off: bool,
    /// Its output is not on stdout alone, or not in one piece: it cannot be made twice.
    pub is_once: bool,
    /// Its output goes to a file.
    pub to_file: bool,
    /// The reply's headers are written to a file.
    pub dumps: bool,
    method: Option<String>,
    head: bool,
    get: bool,
    data: bool,
    upload: bool,
}

/// A whole command line.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Its operations, at least one.
    pub operations: Vec<Operation>,
    /// After how many arguments each of them begins.
    pub starts: Vec<usize>,
    /// What is sent is shown on stderr.
    pub verbose: bool,
    /// stderr goes to a file.
    pub moves_stderr: bool,
}

/// An argument that is not passed on, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// The argument, safe to show.
    pub what: String,
    /// Why.
    pub why: &'static str,
}

/// Options that are never passed on, and why.
const REFUSED: &[(&str, &str)] = &[
    ("location-trusted", "it sends the token to wherever a redirect leads"),
    ("config", "a file of options may lead the token elsewhere"),
    ("proto-default", "it changes which URL is meant"),
    ("connect-to", "it sends the token to another host"),
    ("resolve", "it sends the token to another host"),
    ("insecure", "it sends the token to a server whose certificate is not checked"),
    ("trace", "it writes the token to a file"),
    ("trace-ascii", "it writes the token to a file"),
    ("libcurl", "it writes the token to a file"),
];

/// Options by which a connection goes elsewhere than the URL says.
const ROUTES: &[&str] = &[
    "proxy",
    "proxy1.0",
    "preproxy",
    "socks4",
    "socks4a",
    "socks5",
    "socks5-hostname",
    "unix-socket",
    "abstract-unix-socket",
    "doh-url",
    "dns-servers",
    "dns-interface",
    "dns-ipv4-addr",
    "dns-ipv6-addr",
];

impl Operation {
    /// The method of its requests.
    pub fn method(&self) -> &str {
        match &self.method {
            Some(method) => method,
            None if self.head => "HEAD",
            None if self.upload => "PUT",
            None if self.data && !self.get => "POST",
            None => "GET",
        }
    }

    /// Whether it makes one request alone.
    pub fn is_one_request(&self) -> bool {
        let [url] = self.urls.as_slice() else { return false };
        let globs = |text: &str| text.contains(['{', '[']);
        let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        // An address of IPv6 has brackets too.
        let path = rest.find(['/', '?', '#']).map_or("", |at| rest.get(at..).unwrap_or_default());
        (self.globs_off || !globs(path)) && !(self.upload && self.sent.iter().any(|file| globs(file)))
    }

    fn take(&mut self, option: CurlOption, value: &str) {
        match option.name {
            "url" => self.urls.push(value.into()),
            "location" | "follow" => self.follows = true,
            "globoff" => self.globs_off = true,
            "request" => self.method = Some(value.into()),
            "head" => self.head = true,
            "get" => self.get = true,
            "upload-file" => {
                self.upload = true;
                self.sent.push(if value == "." { "-".into() } else { value.into() });
            }
            "data" | "data-ascii" | "data-binary" | "json" => {
                self.data = true;
                self.sent.extend(value.strip_prefix('@').map(str::to_string));
            }
            "data-raw" | "form-string" => self.data = true,
            "data-urlencode" => {
                self.data = true;
                let name = value.split('=').next().unwrap_or_default();
                let file = if name == value { value.split_once('@').map(|(_, file)| file) } else { None };
                self.sent.extend(file.map(str::to_string));
            }
            "form" => {
                self.data = true;
                let content = value.split_once('=').map_or("", |(_, content)| content);
                if let Some(files) = content.strip_prefix(['@', '<']) {
                    let files = files.split(';').next().unwrap_or_default().split(',');
                    self.sent.extend(files.map(|file| file.trim_matches('"').to_string()));
                }
            }
            "header" => match value.strip_prefix('@') {
                Some(file) => self.sent.push(file.into()),
                None => {
                    self.headers.push(value.split([':', ';']).next().unwrap_or_default().trim().to_ascii_lowercase())
                }
            },
            "dump-header" => self.dumps = true,
            "output" | "remote-name" | "remote-name-all" => self.to_file = value != "-",
            "append" | "continue-at" | "remote-header-name" | "skip-existing" => self.is_once = true,
            name if ROUTES.contains(&name) => self.routes.push(format!("--{name}")),
            _ => {}
        }
    }
}

impl Line {
    /// Reads `args`, all that follows the program's name.
    ///
    /// # Errors
    /// [`Refused`] for what would take a header elsewhere whichever the URL.
    pub fn parse(args: &[OsString]) -> Result<Line, Refused> {
        let mut line =
            Line { operations: vec![Operation::default()], starts: vec![0], verbose: false, moves_stderr: false };
        // What is not UTF-8 is in no option, and in no host.
        let texts: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
        let mut rest = texts.iter().enumerate();
        let mut takes_options = true;
        while let Some((at, text)) = rest.next() {
            // A pipe can be read once.
            if ["/dev/fd/", "/dev/stdin", "/proc/self/fd/"].iter().any(|pipe| text.contains(pipe)) {
                line.last().is_once = true;
            }
            if !takes_options || !text.starts_with('-') {
                line.last().urls.push(text.clone());
            } else if text == "--" {
                takes_options = false;
            } else if let Some(word) = text.strip_prefix("--") {
                let refuse = |why: &'static str| Refused { what: format!("--{}", escape_to(word, 40)), why };
                let option = match long(word) {
                    Long::Is(option) => option,
                    Long::Not(option) => {
                        line.last().is_once |= option.name == "clobber";
                        continue;
                    }
                    Long::Expanded(option) if option.name == "url" || ROUTES.contains(&option.name) => {
                        return Err(refuse("what it expands to cannot be checked"));
                    }
                    Long::Expanded(option) => option,
                    Long::Ambiguous => return Err(refuse("several options begin so: write it in full")),
                    Long::Unknown => return Err(refuse("tok does not know this option of curl")),
                };
                let value = if option.takes_value { rest.next().map(|(_, value)| value.as_str()) } else { None };
                let end = at + 1 + usize::from(value.is_some());
                line.take(option, value.unwrap_or_default(), text, end)?;
            } else {
                if text == "-" {
                    line.last().urls.push(text.clone());
                }
                for (start, letter) in text.char_indices().skip(1) {
                    let Some(option) = short(letter) else {
                        let what = format!("-{}", escape_to(&letter.to_string(), 10));
                        return Err(Refused { what, why: "tok does not know this option of curl" });
                    };
                    let what = format!("-{letter}");
                    if !option.takes_value {
                        line.take(option, "", &what, at + 1)?;
                        continue;
                    }
                    let joined = text.get(start + letter.len_utf8()..).filter(|value| !value.is_empty());
                    let value = joined.or_else(|| rest.next().map(|(_, value)| value.as_str()));
                    line.take(option, value.unwrap_or_default(), &what, at + 1)?;
                    break;
                }
            }
        }
        Ok(line)
    }

    fn last(&mut self) -> &mut Operation {
        if self.operations.is_empty() {
            self.operations.push(Operation::default());
        }
        let last = self.operations.len() - 1;
        &mut self.operations[last]
    }

    /// Takes an option that was typed as `what`, whose arguments end before that of the number `end`.
    fn take(&mut self, option: CurlOption, value: &str, what: &str, end: usize) -> Result<(), Refused> {
        if let Some((_, why)) = REFUSED.iter().find(|(name, _)| *name == option.name) {
            return Err(Refused { what: escape_to(what, 40), why });
        }
        // Its value may be a pipe.
        if ["/dev/fd/", "/dev/stdin", "/proc/self/fd/"].iter().any(|pipe| value.contains(pipe)) {
            self.last().is_once = true;
        }
        match option.name {
            "next" => {
                self.operations.push(Operation::default());
                self.starts.push(end);
            }
            "verbose" | "trace-config" => self.verbose = true,
            "stderr" => self.moves_stderr = true,
            _ => self.last().take(option, value),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Result<Line, Refused> {
        Line::parse(&text.split(' ').filter(|word| !word.is_empty()).map(OsString::from).collect::<Vec<_>>())
    }

    fn one(text: &str) -> Operation {
        let line = line(text).unwrap_or_else(|refused| panic!("{text}: {refused:?}"));
        assert_eq!(line.operations.len(), 1, "{text}");
        line.operations[0].clone()
    }

    #[test]
    fn urls_are_found_wherever_they_stand() {
        for text in [
            "https://a.example",
            "-s https://a.example",
            "-sSfo file https://a.example",
            "-ofile https://a.example -s",
            "--url https://a.example",
            "-H Accept:x -XPOST https://a.example -d x=y",
            "-- https://a.example",
            "https://a.example --max-time 5",
            "-m5 https://a.example",
        ] {
            assert_eq!(one(text).urls, ["https://a.example"], "{text}");
        }
        assert_eq!(one("a b --url c -- -d").urls, ["a", "b", "c", "-d"]);
        assert_eq!(one("-d https://b.example https://a.example").urls, ["https://a.example"]);
        assert_eq!(one("-").urls, ["-"]);
    }

    #[test]
    fn what_takes_the_header_elsewhere_is_refused_however_it_is_written() {
        for text in [
            "--insecure",
            "--insec",
            "-k",
            "-sk",
            "-sLk",
            "-skL",
            "--location-trusted",
            "--location-t",
            "-K file",
            "-Kfile",
            "-sK-",
            "--config x",
            "--conf x",
            "--proto-default http",
            "--proto-d http",
            "--connect-to ::b:",
            "--connect-to=::b:",
            "--resolve a:443:1.2.3.4",
            "--reso a:443:1.2.3.4",
            "--trace -",
            "--trace-ascii x",
            "--libcurl x",
            "--expand-url {{x}}",
            "--expand-resolve x",
            "--expand-proxy x",
            "--expand-config x",
            "--brand-new x",
            "-!",
            "--",
            "-s -- --",
        ] {
            let full = format!("{text} https://a.example");
            let refused = match line(&full) {
                Err(refused) => !refused.what.is_empty() && !refused.why.is_empty(),
                // Everything after it is a URL.
                Ok(line) => text.ends_with("--") && line.operations[0].urls.ends_with(&["https://a.example".into()]),
            };
            assert!(refused, "{text}");
        }
        // As a value, or switched off, it is none.
        for text in ["-d -k", "-H --insecure", "--data --location-trusted", "--no-insecure", "-o -K", "-dk"] {
            assert!(line(&format!("{text} https://a.example")).is_ok(), "{text}");
        }
        assert_eq!(line("--proto =https https://a.example").map(|_| ()), Ok(()));
        assert_eq!(line("-sLk x").map(|_| ()).map_err(|refused| refused.what), Err("-k".into()));
    }

    #[test]
    fn the_method_is_curls() {
        for (text, method) in [
            ("", "GET"),
            ("-d x", "POST"),
            ("--json {}", "POST"),
            ("-F a=b", "POST"),
            ("-d x -G", "GET"),
            ("-I", "HEAD"),
            ("-T file", "PUT"),
            ("-XPATCH -d x", "PATCH"),
            ("--request DELETE", "DELETE"),
        ] {
            assert_eq!(one(&format!("{text} https://a.example")).method(), method, "{text}");
        }
    }

    #[test]
    fn what_is_sent_is_known() {
        for (text, files) in [
            ("-d @-", &["-"][..]),
            ("-d@body", &["body"]),
            ("-d body", &[]),
            ("--data-raw @-", &[]),
            ("--data-urlencode a@-", &["-"]),
            ("--data-urlencode a=@-", &[]),
            ("-F a=@-;type=text/plain", &["-"]),
            ("-F a=<-", &["-"]),
            ("-F a=@x,y", &["x", "y"]),
            ("-T -", &["-"]),
            ("-T .", &["-"]),
            ("-H @-", &["-"]),
            ("--json @-", &["-"]),
        ] {
            assert_eq!(one(&format!("{text} https://a.example")).sent, files, "{text}");
        }
        assert!(one("-d @/dev/fd/63 https://a.example").is_once);
        assert!(one("-C - https://a.example").is_once && one("--no-clobber https://a.example").is_once);
        assert!(!one("-d x https://a.example").is_once);
    }

    #[test]
    fn operations_are_apart() {
        let two = line("-L https://a.example --next -d x https://b.example").expect("a line");
        assert_eq!(two.starts, [0, 3]);
        assert_eq!(two.operations.iter().map(|one| one.follows).collect::<Vec<_>>(), [true, false]);
        assert_eq!(two.operations[1].urls, ["https://b.example"]);
        assert_eq!(line("a -s: b").expect("a line").starts, [0, 2]);
        assert_eq!(line("a -: b").expect("a line").operations[1].urls, ["b"]);
    }

    #[test]
    fn one_request_is_one_url_without_patterns() {
        for (text, is_one) in [
            ("https://a.example/x", true),
            ("https://[::1]:8443/x", true),
            ("https://a.example/{a,b}", false),
            ("https://a.example/[1-3]", false),
            ("-g https://a.example/[1-3]", true),
            ("https://a.example https://a.example", false),
            ("-T {a,b} https://a.example", false),
        ] {
            assert_eq!(one(text).is_one_request(), is_one, "{text}");
        }
    }

    #[test]
    fn headers_and_routes_are_known() {
        let operation = one("-H authorization:x -HHost:y -x proxy --unix-socket s https://a.example");
        assert_eq!(operation.headers, ["authorization", "host"]);
        assert_eq!(operation.routes, ["--proxy", "--unix-socket"]);
        let line = line("-v --stderr f https://a.example").expect("a line");
        assert!(line.verbose && line.moves_stderr);
    }
}
