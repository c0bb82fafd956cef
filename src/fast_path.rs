//! The short path: `tok get NAME` and `tok header NAME` with a valid cached token. It runs before the command line
//! is built and reads two small files; in any doubt, the full path answers instead. It prints the same as the full
//! path: a test compares.
//!
//! Options and `TOK_*` variables are not interpreted here, only recognised: the same ones as in a call that the full
//! path answered mean the same again.

#[cfg(unix)]
pub use unix::{answer, line};

#[cfg(unix)]
mod unix {
    use crate::BUILD;
    use crate::storage::head::{CachedHead, Invocation, Stamp};
    use crate::system::files;
    use crate::token::freshness::freshness;
    use crate::token::{Expires, LONGEST_TOKEN};
    use std::ffi::OsStr;
    use std::ops::Range;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;
    use std::str::from_utf8;
    use std::sync::Mutex;
    use zeroize::Zeroize;

    /// The longest head and the longest token file that are read here, in bytes.
    const LONGEST: (usize, usize) = (4 << 10, 32 << 10);
    /// Room for both. Not on the stack, of which a function touches each page when it begins: here it is those alone
    /// that are written to.
    static ROOM: Mutex<([u8; LONGEST.0], [u8; LONGEST.1])> = Mutex::new(([0; LONGEST.0], [0; LONGEST.1]));

    /// Hands the line to `write`, if this command line was answered before and the answer still holds.
    /// `env`: the environment, `NAME=value` each. `now`: nanoseconds since 1970. Whether `write` took it.
    pub fn answer<'a>(
        args: impl Iterator<Item = &'a [u8]>,
        env: impl Iterator<Item = &'a [u8]>,
        now: i64,
        write: impl FnOnce(&[u8]) -> bool,
    ) -> bool {
        let Ok(mut room) = ROOM.lock() else { return false };
        let (head, token) = &mut *room;
        let Some((bytes, line)) = find(args, env, now, head, token) else { return false };
        if bytes.get(line).is_some_and(write) {
            return true;
        }
        // The process goes on, with the token in its memory.
        bytes.zeroize();
        false
    }

    fn find<'a, 'b>(
        mut args: impl Iterator<Item = &'a [u8]>,
        env: impl Iterator<Item = &'a [u8]>,
        now: i64,
        text: &mut [u8],
        buffer: &'b mut [u8],
    ) -> Option<(&'b mut [u8], Range<usize>)> {
        let (program, verb, name) = (args.next()?, args.next()?, args.next()?);
        // A credential helper by its name, such as terraform-credentials-tok: `get` means another thing to it.
        if program.ends_with(b"-tok") {
            return None;
        }
        let header = match verb {
            b"get" => false,
            b"header" => true,
            _ => return None,
        };
        let name = from_utf8(name).ok().filter(|name| crate::base::name::is_name(name))?;
        let mut call = Invocation { verb, words: args.collect(), env: Vec::new() };
        let (config, mut state) = folders(env, &mut call.env)?;
        // In a folder that others can change, someone else may have put a token. Below the one that is open only we
        // can change what was looked at.
        let root = files::Dir::open(state.path(), 0).ok()?;
        let start = state.len + 1;
        for below in ["cache", name] {
            state.join(below.as_bytes())?;
            if !root.has_own_dir(state.below(start)) {
                return None;
            }
        }
        let folder = state.len;
        state.join(call.head().as_bytes())?;
        let (text, _) = root.read_into(state.below(start), text)?;
        let head: CachedHead = serde_json::from_slice(text).ok()?;
        // The head was written for the folders at that time, which may have changed.
        let places: [(&[u8], bool); 2] = [(b"/config.toml", true), (b"/providers/", false)];
        for (stamp, (place, whole)) in head.stamps.iter().zip(places) {
            let below = stamp.path.as_os_str().as_bytes().strip_prefix(config.bytes())?;
            if !below.starts_with(place) || (whole && below != place) {
                return None;
            }
        }
        if head.build != BUILD || head.call != call.digest(head.token) {
            return None;
        }
        if head.token.contains('/') || head.stamps.iter().any(|stamp| !is_same(stamp, &head)) {
            return None;
        }
        state.len = folder;
        state.join(head.token.as_bytes())?;
        let (bytes, of) = root.read_into(state.below(start), buffer)?;
        match line(&head, bytes, header, now) {
            Some(line) if of == head.of => Some((bytes, line)),
            _ => {
                bytes.zeroize();
                None
            }
        }
    }

    fn is_same(stamp: &Stamp<'_>, head: &CachedHead<'_>) -> bool {
        !stamp.is_too_young(head.started) && Stamp::of(stamp.path).as_ref() == Some(stamp)
    }

    /// Makes the line of the token whose file holds `bytes`, in place, as long as it is good at `now` (nanoseconds
    /// since 1970). Only what stands before the token is looked at, as `cache.rs` writes it.
    pub fn line(head: &CachedHead<'_>, bytes: &mut [u8], header: bool, now: i64) -> Option<Range<usize>> {
        let mut scan = Scan { bytes, at: 0 };
        scan.word(b"{\"received\":")?;
        let received = scan.number()?;
        scan.word(b",\"expires_at\":")?;
        let expires_at = match scan.word(b"null") {
            Some(()) => None,
            None => Some(scan.number()?),
        };
        scan.word(b",\"never_expires\":")?;
        let never = scan.word(b"true").is_some();
        if !never {
            scan.word(b"false")?;
        }
        let expires = match expires_at {
            Some(at) => Expires::At(at),
            None if never => Expires::Never,
            None => Expires::Unknown,
        };
        let seconds = |nanos: i64| nanos.div_euclid(1_000_000_000);
        freshness(seconds(received), expires, seconds(now), head.min_ttl.into()).ok()?;
        scan.word(b",\"access_token\":")?;
        let token = scan.text(GRAPHIC)?;
        if !(1..=LONGEST_TOKEN).contains(&token.len()) {
            return None;
        }
        if !header {
            let end = token.end;
            *bytes.get_mut(end)? = b'\n';
            return Some(token.start..end + 1);
        }
        scan.word(b",\"header_name\":")?;
        let name = scan.text(GRAPHIC).filter(|name| !name.is_empty())?;
        scan.word(b",\"header_value\":")?;
        let value = scan.text(GRAPHIC | SPACE)?;
        // Several are a line each.
        if scan.word(b",\"more_headers\"").is_some() {
            return None;
        }
        // The name is moved to the value, over the quotes and the key between them.
        let start = value.start.checked_sub(name.len() + 2)?;
        bytes.copy_within(name, start);
        bytes.get_mut(value.start - 2..value.start)?.copy_from_slice(b": ");
        *bytes.get_mut(value.end)? = b'\n';
        Some(start..value.end + 1)
    }

    /// Visible ASCII, but for the two characters that JSON escapes: what a token is made of.
    const GRAPHIC: u8 = 1;
    /// What a header's value may hold besides.
    const SPACE: u8 = 2;
    /// The class of each byte: one lookup instead of five comparisons per byte of a token.
    const SORTS: [u8; 256] = {
        let mut classes = [0; 256];
        let mut byte = b'!';
        while byte <= b'~' {
            classes[byte as usize] = if byte == b'"' || byte == b'\\' { 0 } else { GRAPHIC };
            byte += 1;
        }
        classes[b' ' as usize] = SPACE;
        classes
    };

    /// A file being read in the one form that it is written in.
    struct Scan<'b> {
        bytes: &'b [u8],
        at: usize,
    }

    impl Scan<'_> {
        fn rest(&self) -> &[u8] {
            self.bytes.get(self.at..).unwrap_or_default()
        }

        fn word(&mut self, word: &[u8]) -> Option<()> {
            let is_there = self.rest().starts_with(word);
            self.at += if is_there { word.len() } else { 0 };
            is_there.then_some(())
        }

        fn number(&mut self) -> Option<i64> {
            let length = self.rest().iter().position(|b| !b.is_ascii_digit() && *b != b'-')?;
            let number = from_utf8(self.rest().get(..length)?).ok()?.parse().ok()?;
            self.at += length;
            Some(number)
        }

        /// Where the text between two quotes is; none with an escape in it, or with other characters than of these
        /// `classes`.
        fn text(&mut self, classes: u8) -> Option<Range<usize>> {
            self.word(b"\"")?;
            let length = self.rest().iter().position(|b| SORTS[usize::from(*b)] & classes == 0)?;
            let text = self.at..self.at + length;
            self.at = text.end;
            self.word(b"\"").map(|()| text)
        }
    }

    /// A path in the making.
    pub(super) struct PathBytes {
        bytes: [u8; 1024],
        len: usize,
    }

    impl PathBytes {
        fn new() -> PathBytes {
            PathBytes { bytes: [0; 1024], len: 0 }
        }

        fn bytes(&self) -> &[u8] {
            self.bytes.get(..self.len).unwrap_or_default()
        }

        pub(super) fn path(&self) -> &Path {
            Path::new(OsStr::from_bytes(self.bytes()))
        }

        /// What follows the first `start` bytes.
        fn below(&self, start: usize) -> &Path {
            Path::new(OsStr::from_bytes(self.bytes().get(start..).unwrap_or_default()))
        }

        /// `None` where it becomes too long. `below` may be empty: then nothing is changed.
        fn join(&mut self, below: &[u8]) -> Option<()> {
            let gap: &[u8] = match self.bytes().last() {
                None | Some(b'/') => b"",
                Some(_) if below.is_empty() => b"",
                Some(_) => b"/",
            };
            for part in [gap, below] {
                self.bytes.get_mut(self.len..self.len + part.len())?.copy_from_slice(part);
                self.len += part.len();
            }
            Some(())
        }
    }

    /// `<config>/tok` and `<state>/tok`, as `directories` finds them; variables of ours go to `own`.
    pub(super) fn folders<'a>(
        env: impl Iterator<Item = &'a [u8]>,
        own: &mut Vec<&'a [u8]>,
    ) -> Option<(PathBytes, PathBytes)> {
        let (mut home, mut config, mut state) = (None, None, None);
        for entry in env {
            if crate::base::env::is_own(OsStr::from_bytes(entry)) {
                own.push(entry);
            }
            // The first of two counts, as for getenv(3).
            if let Some(value) = entry.strip_prefix(b"HOME=") {
                home = home.or(Some(value));
            } else if let Some(value) = entry.strip_prefix(b"XDG_CONFIG_HOME=") {
                config = config.or(Some(value));
            } else if let Some(value) = entry.strip_prefix(b"XDG_STATE_HOME=") {
                state = state.or(Some(value));
            }
        }
        // Without HOME the user database is asked: not here.
        let home = home.filter(|home| home.starts_with(b"/"))?;
        let of = |own: Option<&[u8]>, below: &[u8]| {
            let mut place = PathBytes::new();
            match own.filter(|path| path.starts_with(b"/") && cfg!(not(target_os = "macos"))) {
                Some(path) => place.join(path)?,
                None => {
                    place.join(home)?;
                    place.join(below)?;
                }
            }
            place.join(b"tok")?;
            Some(place)
        };
        let (in_config, in_state): (&[u8], &[u8]) = match cfg!(target_os = "macos") {
            true => (b"Library/Application Support", b"Library/Application Support"),
            false => (b".config", b".local/state"),
        };
        Some((of(config, in_config)?, of(state, in_state)?))
    }
}

#[cfg(all(test, unix))]
#[expect(clippy::disallowed_methods, reason = "the test is the program here")]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    #[test]
    fn the_folders_are_those_of_the_platform() {
        let base = directories::BaseDirs::new().expect("a home");
        let state = base.state_dir().unwrap_or(base.data_local_dir()).join("tok");
        let env: Vec<Vec<u8>> = std::env::vars_os()
            .filter(|(name, _)| !crate::base::env::is_own(name))
            .map(|(name, value)| [name.into_vec(), value.into_vec()].join(&b'='))
            .collect();
        let (config, found) = super::unix::folders(env.iter().map(Vec::as_slice), &mut Vec::new()).expect("a home");
        assert_eq!((config.path(), found.path()), (base.config_dir().join("tok").as_path(), state.as_path()));
    }
}
