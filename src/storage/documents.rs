//! Public documents of authorization servers, metadata and key sets, kept on disk for as long as the server allows.

use crate::base::digest;
use crate::base::error::{Kind, Result};
use crate::base::time::{CLOCK_SLACK, Time};
use crate::oauth::request::Response;
use crate::system::files::{Dir, Durable};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The shortest time for which a copy is used, and between two requests for missing keys, in seconds.
pub const MINUTE: i64 = 60;
/// How long a copy is used if the server does not say, in seconds.
const HOUR: i64 = 60 * MINUTE;
/// The longest time a copy is used for, also while the server cannot be reached, in seconds.
const DAY: i64 = 24 * HOUR;
/// How many levels the folder lies below `<state>/tok`, see [`Dir::open`].
const BELOW: usize = 1;
/// The most that a copy may hold, in bytes: a body of 1 MiB, each of its bytes perhaps escaped.
const LIMIT: u64 = 4 << 20;

/// How long a reply with these header lines may be kept, in seconds (RFC 9111 §5.2.2), from a minute to a day;
/// `None`: not at all. What must be asked about each time is kept for the minute.
pub fn lifetime(headers: &[(String, String)]) -> Option<i64> {
    let mut seconds = None;
    let lines = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("cache-control"));
    for directive in lines.flat_map(|(_, value)| value.split(',')) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        let value = value.trim().trim_matches('"');
        let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
        let said = match name.trim().to_ascii_lowercase().as_str() {
            "no-store" => return None,
            "no-cache" => 0,
            // Too many digits are a very long time.
            "max-age" if digits => value.parse().unwrap_or(i64::MAX),
            "max-age" => 0,
            _ => continue,
        };
        seconds = Some(seconds.map_or(said, |earlier: i64| earlier.min(said)));
    }
    Some(seconds.unwrap_or(HOUR).clamp(MINUTE, DAY))
}

/// A document as it waits on disk.
#[derive(Serialize, Deserialize)]
struct Copy {
    /// The issuer or URL.
    of: String,
    /// Nanoseconds since 1970.
    fetched: i64,
    /// How long it may be used, in seconds.
    lifetime: i64,
    body: String,
}

/// The place of one document's copy. Whatever is wrong with a copy is a miss, never an error.
pub struct DocumentCache {
    /// `None` if the user has no home.
    file: Option<PathBuf>,
    of: String,
}

impl DocumentCache {
    /// The place of the document `of` (an issuer or a URL) of one `kind` in `folder`.
    pub fn within(folder: Option<PathBuf>, kind: &str, of: &str) -> DocumentCache {
        let name = format!("{}.json", digest::hex(&[kind.as_bytes(), of.as_bytes()]));
        DocumentCache { file: folder.map(|folder| folder.join(name)), of: of.to_string() }
    }

    fn place(&self) -> Option<(&Path, &str)> {
        let file = self.file.as_deref()?;
        Some((file.parent()?, file.file_name()?.to_str()?))
    }

    /// The document: its copy, where that is younger than `youth` seconds or, without one, still alive; else by
    /// `fetch`. Beside it what should be said with `-v`.
    ///
    /// # Errors
    /// Those of `fetch`.
    pub fn get<T>(
        &self,
        now: Time,
        youth: Option<i64>,
        read: &dyn Fn(&[u8]) -> std::result::Result<T, String>,
        fetch: &mut dyn FnMut() -> Result<(T, Response)>,
    ) -> Result<(T, Option<String>)> {
        let copy = self
            .read(now)
            .and_then(|(copy, age)| Some((read(copy.body.as_bytes()).ok()?, age, copy.lifetime.min(DAY))));
        let copy = match copy {
            Some((document, age, lifetime)) if age < youth.unwrap_or(lifetime) => return Ok((document, None)),
            other => other,
        };
        match (fetch(), copy) {
            (Ok((document, response)), _) => {
                self.keep(&response);
                Ok((document, None))
            }
            (Err(error), Some((document, age, _)))
                if error.kind == Kind::Unavailable && youth.is_none() && age < DAY =>
            {
                Ok((document, Some(format!("{error}; using a copy that is {} min old", age / MINUTE))))
            }
            (Err(error), _) => Err(error),
        }
    }

    /// The copy and its age in seconds.
    fn read(&self, now: Time) -> Option<(Copy, i64)> {
        let (folder, name) = self.place()?;
        // In a folder of others somebody may have put a document for us.
        let copy: Copy = serde_json::from_slice(&Dir::open(folder, BELOW).ok()?.read(name, LIMIT).ok()??).ok()?;
        let age = now.secs().saturating_sub(Time(copy.fetched).secs());
        // From the future: the clock was set back, and its age is unknown.
        (copy.of == self.of && age >= -CLOCK_SLACK).then_some((copy, age.max(0)))
    }

    /// Puts the body of `response` on disk for as long as it says. A failure costs time alone.
    fn keep(&self, response: &Response) {
        let Some((folder, name)) = self.place() else { return };
        let (Some(lifetime), Ok(body)) = (lifetime(&response.headers), std::str::from_utf8(&response.body)) else {
            let _ = Dir::open(folder, BELOW).and_then(|dir| dir.remove(name));
            return;
        };
        let copy = Copy { of: self.of.clone(), fetched: response.received.0, lifetime, body: body.into() };
        if let (Ok(text), Ok(dir)) = (serde_json::to_vec(&copy), Dir::make(folder, BELOW)) {
            let _ = dir.write(name, &text, Durable::No);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::base::error::Error;
    use std::fs;
    use zeroize::Zeroizing;

    const ISSUER: &str = "https://a.example/t";

    fn reply(status: u16, cache_control: Option<&str>, body: &str, at: i64) -> Response {
        let headers = cache_control.map(|value| ("Cache-Control".to_string(), value.to_string()));
        let body = Zeroizing::new(body.as_bytes().to_vec());
        Response { status, headers: headers.into_iter().collect(), body, received: Time::from_secs(at) }
    }

    #[test]
    fn the_server_says_how_long_a_copy_lives() {
        let life = |lines: &[&str]| {
            let headers: Vec<_> = lines.iter().map(|line| ("cache-control".to_string(), line.to_string())).collect();
            lifetime(&headers)
        };
        assert_eq!(life(&[]), Some(HOUR));
        assert_eq!(life(&["public, max-age=600"]), Some(600));
        assert_eq!(life(&["Max-Age=\"600\" , must-revalidate"]), Some(600));
        assert_eq!(life(&["max-age=0"]), Some(MINUTE));
        assert_eq!(life(&["max-age=-1"]), Some(MINUTE));
        assert_eq!(life(&["max-age=99999999999999999999999"]), Some(DAY));
        assert_eq!(life(&["max-age=600, no-cache"]), Some(MINUTE));
        assert_eq!(life(&["max-age=600", "No-Store"]), None);
        assert_eq!(life(&["s-maxage=5, private"]), Some(HOUR));
    }

    /// A place in a new folder, and what a call finds there at `now`: whether it asked, and the document's
    /// mark or the error.
    struct World {
        dir: tempfile::TempDir,
        place: DocumentCache,
    }

    impl World {
        fn new() -> World {
            let dir = tempfile::tempdir().unwrap();
            let place = DocumentCache::within(Some(dir.path().join("tok/metadata")), "metadata", ISSUER);
            World { dir, place }
        }

        /// The text that the call gives, whether it asked for it, and whether something is to be said.
        fn get(&self, now: i64, youth: Option<i64>, answer: Result<(&str, Option<&str>)>) -> (String, bool, bool) {
            let mut asked = false;
            let read = |body: &[u8]| String::from_utf8(body.to_vec()).map_err(|e| e.to_string());
            let result = self.place.get(Time::from_secs(now), youth, &read, &mut || {
                asked = true;
                let (text, cache_control) = answer.clone()?;
                Ok((text.to_string(), reply(200, cache_control, text, now)))
            });
            let (text, note) = result.unwrap_or_else(|error| (format!("{:?}", error.kind), None));
            (text, asked, note.is_some())
        }

        fn file(&self) -> PathBuf {
            self.place.file.clone().unwrap()
        }
    }

    fn down<T>() -> Result<T> {
        Err(Error::new(Kind::Unavailable, "a.example could not be reached", "connection refused"))
    }

    const NOW: i64 = 1_800_000_000;

    #[test]
    fn a_copy_is_used_as_long_as_it_lives() {
        let world = World::new();
        assert_eq!(world.get(NOW, None, Ok(("1", Some("max-age=600")))), ("1".into(), true, false));
        assert_eq!(world.get(NOW + 599, None, Ok(("2", None))), ("1".into(), false, false));
        assert_eq!(world.get(NOW - 3, None, Ok(("2", None))), ("1".into(), false, false));
        assert_eq!(world.get(NOW + 600, None, Ok(("2", Some("no-store")))), ("2".into(), true, false));
        assert!(!world.file().exists());
        assert_eq!(world.get(NOW + 601, None, Ok(("3", None))), ("3".into(), true, false));
        assert_eq!(world.get(NOW - 60, None, Ok(("4", None))), ("4".into(), true, false), "the clock was set back");
    }

    #[test]
    fn whoever_wants_it_fresh_gets_it_so() {
        let world = World::new();
        world.get(NOW, None, Ok(("1", None)));
        assert_eq!(world.get(NOW + 1, Some(0), Ok(("2", None))), ("2".into(), true, false));
        assert_eq!(world.get(NOW + 60, Some(MINUTE), Ok(("3", None))), ("2".into(), false, false));
        assert_eq!(world.get(NOW + 61, Some(MINUTE), Ok(("3", None))), ("3".into(), true, false));
        assert_eq!(world.get(NOW + 200, Some(MINUTE), down()), ("Unavailable".into(), true, false));
    }

    #[test]
    fn an_old_copy_will_do_while_the_server_cannot_be_reached() {
        let world = World::new();
        assert_eq!(world.get(NOW, None, down()), ("Unavailable".into(), true, false));
        world.get(NOW, None, Ok(("1", None)));
        assert_eq!(world.get(NOW + HOUR, None, down()), ("1".into(), true, true));
        let odd = Error::new(Kind::Reply, "a.example", "it is an HTML or XML page");
        assert_eq!(world.get(NOW + HOUR, None, Err(odd)), ("Reply".into(), true, false));
        assert_eq!(world.get(NOW + DAY - 1, None, down()), ("1".into(), true, true));
        assert_eq!(world.get(NOW + DAY, None, down()), ("Unavailable".into(), true, false));
    }

    #[test]
    fn a_copy_that_is_not_good_is_none() {
        let world = World::new();
        world.get(NOW, None, Ok(("1", None)));
        let good = fs::read_to_string(world.file()).unwrap();
        for bad in ["", "{}", "[", &good.replace("a.example", "b.example"), &good.replace("3600", "0"), &good[1..]] {
            fs::write(world.file(), bad).unwrap();
            assert_eq!(world.get(NOW, None, Ok(("2", None))), ("2".into(), true, false), "{bad}");
        }
        // No folder at all costs time alone.
        let nowhere = DocumentCache::within(None, "metadata", ISSUER);
        let got = nowhere
            .get(Time(0), None, &|body: &[u8]| Ok(body.to_vec()), &mut || Ok((vec![1], reply(200, None, "x", 0))));
        assert_eq!(got.unwrap().0, [1]);
        assert_ne!(
            DocumentCache::within(Some("x".into()), "jwks", ISSUER).file,
            DocumentCache::within(Some("x".into()), "metadata", ISSUER).file
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_copy_is_ours_alone() {
        use std::os::unix::fs::PermissionsExt;
        let world = World::new();
        world.get(NOW, None, Ok(("1", None)));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let folder = world.dir.path().join("tok/metadata");
        assert_eq!((mode(&world.file()), mode(&folder), mode(folder.parent().unwrap())), (0o600, 0o700, 0o700));
        for (path, bad, good) in [(world.file(), 0o640, 0o600), (folder, 0o777, 0o700)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(bad)).unwrap();
            assert_eq!(world.get(NOW, None, down()), ("Unavailable".into(), true, false), "{}", path.display());
            fs::set_permissions(&path, fs::Permissions::from_mode(good)).unwrap();
        }
        assert_eq!(world.get(NOW, None, down()), ("1".into(), false, false));
    }
}
