//! The loopback listener that a login's redirect comes to (RFC 8252 §7.3 and §8.3): it is open for one login only,
//! reachable from this machine only, and turns away whatever is not the answer.

use crate::base::error::{Error, Kind, Result};
use crate::oauth::callback::{self, Callback, ExpectedRedirect, Foreign};
use crate::provider::State;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// The most of a request that is read, in bytes.
const HEAD: usize = 16 * 1024;
/// How many header lines a request may have.
const HEADERS: usize = 100;
/// How long a request may take to come.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a client has to hang up once it is answered: to hang up first could lose it the answer.
const FAREWELL: Duration = Duration::from_millis(500);
/// How many connections there are at a time; further ones wait in the system's queue.
const VISITORS: usize = 32;
/// How long nothing is done where nothing happens.
const TICK: Duration = Duration::from_millis(50);
/// How long nothing is done where nothing can be.
const PAUSE: Duration = Duration::from_millis(10);
/// How many ports are tried where any will do.
const TRIES: usize = 16;

/// The host of the redirect URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loopback {
    /// `127.0.0.1`
    V4,
    /// `[::1]`
    V6,
    /// `localhost`, for providers that know no other (RFC 8252 §8.3 advises against it): both addresses, as the
    /// browser chooses either.
    Name,
}

impl Loopback {
    /// As it stands in a URL.
    pub fn host(self) -> &'static str {
        match self {
            Loopback::V4 => "127.0.0.1",
            Loopback::V6 => "[::1]",
            Loopback::Name => "localhost",
        }
    }
}

/// The time is over without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOut {
    /// Why the last request that could have been meant as one was turned away.
    pub turned_away: Option<Foreign>,
}

/// Callbacks during a wait.
pub trait Watcher {
    /// Called many times a second. An answer that came another way ends the wait.
    fn tick(&mut self) -> Option<Callback>;

    /// Whether what comes on stdin is waited for too.
    #[cfg_attr(not(unix), allow(dead_code, reason = "a console cannot be waited for"))]
    fn watches_stdin(&self) -> bool {
        false
    }

    /// A request names this error and no login: whether it is about this one is unknown. As it came, not safe for
    /// a terminal.
    fn stateless_error(&mut self, _error: &str) {}
}

/// An open listener. When it goes, nothing listens any more.
#[derive(Debug)]
pub struct Listener {
    host: Loopback,
    port: u16,
    sockets: Vec<TcpListener>,
    link: Option<Link>,
}

/// An address of ours that leads to another, once.
#[derive(Debug)]
struct Link {
    path: String,
    to: String,
    used: bool,
}

impl Listener {
    /// Listens on `port`, or on a free one.
    ///
    /// # Errors
    /// [`Kind::Other`] where the port is in use or not permitted, or the machine lacks a loopback address.
    pub fn bind(host: Loopback, port: Option<u16>) -> Result<Listener> {
        let mut bound = Listener::try_bind(host, port.unwrap_or(0));
        for _ in 1..TRIES {
            // The other family's port of the same number may be taken by somebody.
            match &bound {
                Err(error) if port.is_none() && error.kind() == ErrorKind::AddrInUse => {}
                _ => break,
            }
            bound = Listener::try_bind(host, 0);
        }
        bound.map_err(|error| {
            let Some(port) = port else {
                let what = format!("cannot listen on {} for the login's redirect", host.host());
                return Error::new(Kind::Other, what, error.to_string())
                    .hint("log in with --no-browser, which needs no listener");
            };
            let what = format!("cannot listen on port {port} of {} for the login's redirect", host.host());
            match error.kind() {
                ErrorKind::AddrInUse => Error::new(Kind::Other, what, "the port is in use").hint(format!(
                    "stop the program that uses it ({} shows it), or give another registered port with --redirect-port",
                    whose(port)
                )),
                ErrorKind::PermissionDenied => Error::new(Kind::Other, what, "permission denied")
                    .hint("give a registered port above 1023 with --redirect-port"),
                _ => Error::new(Kind::Other, what, error.to_string())
                    .hint("give another registered port with --redirect-port"),
            }
        })
    }

    fn try_bind(host: Loopback, port: u16) -> io::Result<Listener> {
        let (v4, v6) = (IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST));
        let sockets = match host {
            Loopback::V4 => vec![TcpListener::bind((v4, port))?],
            Loopback::V6 => vec![TcpListener::bind((v6, port))?],
            Loopback::Name => {
                // A machine may have one family only. A port that is taken is another matter: the browser would
                // bring the code to whoever has it.
                let absent = |error: &io::Error| error.kind() != ErrorKind::AddrInUse;
                match TcpListener::bind((v4, port)) {
                    Ok(first) => match TcpListener::bind((v6, first.local_addr()?.port())) {
                        Ok(second) => vec![first, second],
                        Err(error) if absent(&error) => vec![first],
                        Err(error) => return Err(error),
                    },
                    Err(error) if absent(&error) && error.kind() != ErrorKind::PermissionDenied => {
                        vec![TcpListener::bind((v6, port))?]
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        let mut port = port;
        for socket in &sockets {
            socket.set_nonblocking(true)?;
            port = socket.local_addr()?.port();
        }
        Ok(Listener { host, port, sockets, link: None })
    }

    /// The redirect URI with that path, which begins with a slash.
    pub fn redirect_uri(&self, path: &str) -> String {
        format!("http://{}:{}{path}", self.host.host(), self.port)
    }

    /// An address that leads to `to` during the wait, once: for an argument list, which other users can read. Whoever
    /// else asks for it, or asks again, is turned away; a query behind it means nothing.
    pub fn link_to(&mut self, to: &str) -> String {
        let path = format!("/{}", crate::base::digest::random(32));
        // `localhost` may mean another machine to a browser with a proxy.
        let is_v6 = self.sockets.first().and_then(|s| s.local_addr().ok()).is_some_and(|address| address.is_ipv6());
        let host = if is_v6 { Loopback::V6 } else { Loopback::V4 };
        let address = format!("http://{}:{}{path}", host.host(), self.port);
        self.link = Some(Link { path, to: to.into(), used: false });
        address
    }

    /// Waits for the answer until `deadline`. Whatever else comes is turned away and waited past. At the end, whatever
    /// it is, nothing listens any more.
    ///
    /// # Errors
    /// [`TimedOut`].
    pub fn wait(
        mut self,
        deadline: Instant,
        expected: &ExpectedRedirect,
        watcher: &mut dyn Watcher,
    ) -> std::result::Result<Callback, TimedOut> {
        let mut visitors: Vec<Visitor> = Vec::new();
        let mut turned_away = None;
        let mut woken = false;
        loop {
            if let Some(callback) = watcher.tick() {
                return Ok(callback);
            }
            let mut busy = self.welcome(&mut visitors);
            for visitor in &mut visitors {
                let heard = visitor.listen();
                busy |= heard != Heard::Nothing;
                if heard != Heard::Something || visitor.answered {
                    continue;
                }
                match self.judge(&visitor.head, expected) {
                    Verdict::More => {}
                    Verdict::Answer(callback) => {
                        drop(self);
                        visitor.answer(page_of(&callback));
                        visitor.linger();
                        return Ok(callback);
                    }
                    Verdict::TurnedAway(page, why) => {
                        turned_away = why.or(turned_away);
                        visitor.answer(page);
                    }
                    Verdict::Stateless(error, why) => {
                        turned_away = Some(why);
                        visitor.answer(&BAD);
                        watcher.stateless_error(&error);
                    }
                    Verdict::Linked => {
                        let Some(link) = &mut self.link else { continue };
                        link.used = true;
                        visitor.send_to(&link.to);
                    }
                }
            }
            let now = Instant::now();
            visitors.retain(|visitor| !visitor.gone && now < visitor.until);
            if now >= deadline {
                return Err(TimedOut { turned_away });
            }
            if !busy {
                // What woke us and then was nothing, such as a connection without a free descriptor, stays so.
                if woken {
                    std::thread::sleep(PAUSE.min(deadline - now));
                }
                woken = self.idle(&visitors, watcher, TICK.min(deadline - now));
            }
        }
    }

    /// Waits until there is something to do, at most for `limit`; whether there is.
    #[cfg(unix)]
    fn idle(&self, visitors: &[Visitor], watcher: &dyn Watcher, limit: Duration) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let stdin = rustix::stdio::stdin();
        let doors = self.sockets.iter().filter(|_| visitors.len() < VISITORS);
        let mut all: Vec<PollFd<'_>> = doors.map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
        all.extend(visitors.iter().map(|visitor| PollFd::new(&visitor.stream, PollFlags::IN)));
        all.extend(watcher.watches_stdin().then(|| PollFd::new(&stdin, PollFlags::IN)));
        let limit = Timespec::try_from(limit).unwrap_or_default();
        poll(&mut all, Some(&limit)).is_ok_and(|ready| ready > 0)
    }

    /// Waits for a moment.
    #[cfg(not(unix))]
    fn idle(&self, _: &[Visitor], _: &dyn Watcher, limit: Duration) -> bool {
        std::thread::sleep(PAUSE.min(limit));
        false
    }

    /// Lets in who waits at the door; whether there was anybody.
    fn welcome(&self, visitors: &mut Vec<Visitor>) -> bool {
        let before = visitors.len();
        for socket in &self.sockets {
            while visitors.len() < VISITORS {
                // Also where accepting fails, for want of descriptors perhaps: the next round may have more luck.
                let Ok((stream, peer)) = socket.accept() else { break };
                if peer.ip().is_loopback() && stream.set_nonblocking(true).is_ok() {
                    visitors.push(Visitor::new(stream));
                }
            }
        }
        visitors.len() > before
    }

    /// What a request is, as far as it has come.
    fn judge(&self, head: &[u8], expected: &ExpectedRedirect) -> Verdict {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(head) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) if head.len() < HEAD => return Verdict::More,
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                return Verdict::TurnedAway(&TOO_LONG, None);
            }
            Err(_) => return Verdict::TurnedAway(&BAD, None),
        }
        let mut hosts = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("host"));
        // A page that had its own name resolved to this machine is not to talk to us (DNS rebinding).
        let ours = |value: &[u8]| std::str::from_utf8(value).is_ok_and(|host| self.is_called(host.trim()));
        if !hosts.next().is_some_and(|host| ours(host.value)) || hosts.next().is_some() {
            return Verdict::TurnedAway(&BAD, Some(Foreign("its Host header is not this listener's")));
        }
        if request.method != Some("GET") {
            return Verdict::TurnedAway(&NOT_GET, Some(Foreign("it is not a GET")));
        }
        let target = request.path.unwrap_or_default();
        if target.split('?').next() == Some("/favicon.ico") && expected.path != "/favicon.ico" {
            return Verdict::TurnedAway(&NOT_FOUND, None);
        }
        if let Some(link) = self.link.as_ref().filter(|link| target.split('?').next() == Some(&link.path)) {
            return if link.used { Verdict::TurnedAway(&USED, None) } else { Verdict::Linked };
        }
        // Without a state any page could bring a code of its own; at least not by a picture or a script of it (Fetch
        // Metadata Request Headers §2: browsers say what a request is for).
        let mut aims = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("sec-fetch-dest"));
        if expected.rules.state != State::Required && aims.any(|header| header.value != b"document") {
            return Verdict::TurnedAway(&BAD, Some(Foreign("it is not a page that the browser opens")));
        }
        match (callback::read(target, expected), callback::stateless_error(target, expected)) {
            (Ok(callback), _) => Verdict::Answer(callback),
            (Err(why), Some(error)) => Verdict::Stateless(error, why),
            (Err(why), None) => Verdict::TurnedAway(&BAD, Some(why)),
        }
    }

    /// Whether `host`, as in a `Host` header, is a name that only this machine can have, with our port.
    fn is_called(&self, host: &str) -> bool {
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok()),
            _ => (host, Some(80)),
        };
        let names = [Loopback::V4, Loopback::V6, Loopback::Name].map(Loopback::host);
        port == Some(self.port) && names.iter().any(|ours| name.eq_ignore_ascii_case(ours))
    }
}

/// The command that shows who listens on `port`.
fn whose(port: u16) -> String {
    if cfg!(windows) {
        format!("netstat -ano | findstr :{port}")
    } else if cfg!(target_os = "linux") {
        format!("ss -ltnp sport = :{port}")
    } else {
        format!("lsof -nP -iTCP:{port} -sTCP:LISTEN")
    }
}

enum Verdict {
    /// It is not whole yet.
    More,
    Answer(Callback),
    /// With why, where it could have been meant as an answer.
    TurnedAway(&'static Page, Option<Foreign>),
    /// It names this error, and no login.
    Stateless(String, Foreign),
    /// It is for the address that leads on.
    Linked,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Heard {
    Nothing,
    Something,
    End,
}

/// A connection.
struct Visitor {
    stream: TcpStream,
    /// What it said; holds the code. All its room is there from the start, so that no copy of it is left behind.
    head: Zeroizing<Vec<u8>>,
    until: Instant,
    answered: bool,
    gone: bool,
}

impl Visitor {
    fn new(stream: TcpStream) -> Visitor {
        let head = Zeroizing::new(Vec::with_capacity(HEAD));
        Visitor { stream, head, until: Instant::now() + PATIENCE, answered: false, gone: false }
    }

    /// Hears what has come; what comes after the answer is not kept.
    fn listen(&mut self) -> Heard {
        let mut buffer = Zeroizing::new([0; 4096]);
        let room = if self.answered { buffer.len() } else { buffer.len().min(HEAD - self.head.len()) };
        match self.stream.read(&mut buffer[..room]) {
            Ok(0) => {
                self.gone = true;
                Heard::End
            }
            Ok(count) => {
                if !self.answered {
                    self.head.extend_from_slice(&buffer[..count]);
                }
                Heard::Something
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Heard::Nothing,
            Err(_) => {
                self.gone = true;
                Heard::End
            }
        }
    }

    fn answer(&mut self, page: &Page) {
        self.reply(&page.to_string());
    }

    /// Sends it on to `address`, which holds no control character.
    fn send_to(&mut self, address: &str) {
        self.reply(&format!(
            "HTTP/1.1 302 Found\r\nLocation: {address}\r\nContent-Length: 0\r\nCache-Control: no-store\r\n\
             Referrer-Policy: no-referrer\r\nConnection: close\r\n\r\n"
        ));
    }

    fn reply(&mut self, text: &str) {
        // It fits the system's buffer: a client that does not read cannot hold us up. One that is gone gets nothing.
        let _ = self.stream.write_all(text.as_bytes());
        let _ = self.stream.shutdown(Shutdown::Write);
        self.answered = true;
        self.until = Instant::now() + FAREWELL;
    }

    /// Waits until it has hung up.
    fn linger(&mut self) {
        while !self.gone && Instant::now() < self.until {
            if self.listen() == Heard::Nothing {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// What a browser is shown. Nothing of the request is in it.
struct Page {
    status: &'static str,
    title: &'static str,
    text: &'static str,
}

const DONE: Page = Page {
    status: "200 OK",
    title: "Back to the terminal",
    text: "The response has arrived. You can close this window and return to the terminal.",
};
const REFUSED: Page = Page {
    status: "200 OK",
    title: "The login was refused",
    text: "See the terminal for details. You can close this window.",
};
const MIXED_UP: Page = Page {
    status: "400 Bad Request",
    title: "The login failed",
    text: "The response came from the wrong issuer. See the terminal for details. You can close this window.",
};
const BAD: Page = Page {
    status: "400 Bad Request",
    title: "Not the response to this login",
    text: "This address only receives the response to a login in the terminal, which is still waiting for it.",
};
const NOT_FOUND: Page = Page { status: "404 Not Found", title: "Not found", text: "There is nothing here." };
const USED: Page = Page {
    status: "410 Gone",
    title: "This URL was already used",
    text: "It leads to the login only once. The terminal shows the URL of the login itself.",
};
const NOT_GET: Page = Page { status: "400 Bad Request", title: "Method not allowed", text: "Only GET is supported." };
const TOO_LONG: Page =
    Page { status: "431 Request Header Fields Too Large", title: "Request too long", text: "The request is too long." };

fn page_of(callback: &Callback) -> &'static Page {
    match callback {
        Callback::Code(..) => &DONE,
        Callback::Denied { .. } => &REFUSED,
        Callback::MixUp { .. } => &MIXED_UP,
    }
}

impl std::fmt::Display for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Page { status, title, text } = self;
        let html = format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{title}</title>\n<h1>{title}</h1>\n\
             <p>{text}</p>\n</html>\n"
        );
        write!(
            f,
            "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
             Content-Security-Policy: default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\
             \r\nCache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nX-Content-Type-Options: nosniff\r\n\
             Connection: close\r\n\r\n{html}",
            html.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::Secret;
    use std::thread::JoinHandle;

    const GOOD: &str = "/callback?code=abc&state=st-1";

    fn expected() -> ExpectedRedirect {
        ExpectedRedirect {
            state: Secret::new("st-1"),
            issuer: None,
            issuer_required: false,
            path: "/callback".into(),
            rules: Default::default(),
        }
    }

    /// Counts the ticks, and keeps the errors.
    #[derive(Default)]
    struct Watching(usize, Vec<String>);

    impl Watcher for Watching {
        fn tick(&mut self) -> Option<Callback> {
            self.0 += 1;
            None
        }

        fn stateless_error(&mut self, error: &str) {
            self.1.push(error.into());
        }
    }

    type WaitThread = JoinHandle<std::result::Result<Callback, TimedOut>>;

    fn waiting(host: Loopback, limit: Duration) -> (u16, WaitThread) {
        let listener = Listener::bind(host, None).expect("a port");
        let port = listener.port;
        let deadline = Instant::now() + limit;
        (port, std::thread::spawn(move || listener.wait(deadline, &expected(), &mut Watching::default())))
    }

    fn start() -> (u16, WaitThread) {
        waiting(Loopback::V4, Duration::from_secs(20))
    }

    fn connect(port: u16) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
        stream
    }

    /// The whole reply to `request`.
    fn raw(port: u16, request: &str) -> String {
        let mut stream = connect(port);
        stream.write_all(request.as_bytes()).expect("sent");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("a reply");
        reply
    }

    fn get(port: u16, target: &str) -> String {
        raw(port, &format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: */*\r\n\r\n"))
    }

    fn status(reply: &str) -> &str {
        reply.split(' ').nth(1).unwrap_or_default()
    }

    fn code(waiting: WaitThread) -> String {
        match waiting.join().expect("no panic") {
            Ok(Callback::Code(code, _)) => code.expose().to_string(),
            other => panic!("{other:?}"),
        }
    }

    fn is_closed(port: u16) -> bool {
        TcpStream::connect(("127.0.0.1", port)).is_err()
    }

    #[test]
    fn a_code_comes_and_then_nothing_listens() {
        let (port, waiting) = start();
        let reply = get(port, GOOD);
        assert_eq!(status(&reply), "200");
        for line in [
            "Content-Security-Policy: default-src 'none'",
            "Cache-Control: no-store",
            "Referrer-Policy: no-referrer",
            "Connection: close",
            "close this window",
        ] {
            assert!(reply.contains(line), "{line}: {reply}");
        }
        assert!(!reply.contains("abc") && !reply.contains("<script"), "{reply}");
        assert_eq!(code(waiting), "abc");
        assert!(is_closed(port));
    }

    #[test]
    fn what_is_not_the_answer_is_turned_away_and_waited_past() {
        let (port, waiting) = start();
        let host = format!("Host: 127.0.0.1:{port}");
        for (request, expected) in [
            (format!("GET /callback?code=evil&state=st-2 HTTP/1.1\r\n{host}\r\n\r\n"), "400"),
            (format!("GET /callback?code=evil HTTP/1.1\r\n{host}\r\n\r\n"), "400"),
            (format!("GET /other?code=evil&state=st-1 HTTP/1.1\r\n{host}\r\n\r\n"), "400"),
            (format!("GET /favicon.ico HTTP/1.1\r\n{host}\r\n\r\n"), "404"),
            (format!("POST {GOOD} HTTP/1.1\r\n{host}\r\nContent-Length: 3\r\n\r\na=b"), "400"),
            (format!("HEAD {GOOD} HTTP/1.1\r\n{host}\r\n\r\n"), "400"),
            (format!("OPTIONS {GOOD} HTTP/1.1\r\n{host}\r\n\r\n"), "400"),
            (format!("GET {GOOD} HTTP/1.1\r\nHost: evil.example:{port}\r\n\r\n"), "400"),
            (format!("GET {GOOD} HTTP/1.1\r\nHost: 127.0.0.1.evil.example:{port}\r\n\r\n"), "400"),
            (format!("GET {GOOD} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"), "400"),
            (format!("GET {GOOD} HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n"), "400"),
            (format!("GET {GOOD} HTTP/1.1\r\n{host}\r\n{host}\r\n\r\n"), "400"),
            (format!("GET {GOOD} HTTP/1.1\r\n\r\n"), "400"),
            (format!("GET {GOOD}\r\n\r\n"), "400"),
            ("\u{16}\u{3}\u{1}\u{2}hello\r\n\r\n".to_string(), "400"),
            (format!("GET /{} HTTP/1.1\r\n{host}\r\n\r\n", "x".repeat(20_000)), "431"),
            (format!("GET {GOOD} HTTP/1.1\r\n{host}\r\n{}\r\n", "a: b\r\n".repeat(200)), "431"),
        ] {
            let reply = raw(port, &request);
            assert_eq!(status(&reply), expected, "{request}: {reply}");
            assert!(!reply.contains("evil"), "{reply}");
        }
        assert_eq!(status(&get(port, GOOD)), "200");
        assert_eq!(code(waiting), "abc");
    }

    #[test]
    fn odd_but_honest_requests_are_understood() {
        let requests: [fn(u16) -> String; 5] = [
            |port| format!("GET {GOOD} HTTP/1.0\r\nhost: localhost:{port}\r\n\r\n"),
            |port| format!("GET {GOOD} HTTP/1.1\nHOST:LocalHost:{port}\n\n"),
            |port| format!("\r\nGET {GOOD} HTTP/1.1\r\nHost: [::1]:{port}\r\n\r\n"),
            |port| {
                format!(
                    "GET {GOOD} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\nGET /callback?code=late&state=st-1 \0\u{1}"
                )
            },
            |port| format!("GET {GOOD} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: {}\r\n\r\n", "c".repeat(9000)),
        ];
        for request in requests {
            let (port, waiting) = start();
            let request = request(port);
            assert_eq!(status(&raw(port, &request)), "200", "{request}");
            assert_eq!(code(waiting), "abc");
        }
    }

    #[test]
    fn a_request_may_come_in_pieces() {
        let (port, waiting) = start();
        let mut stream = connect(port);
        for piece in
            ["GET /callback?co", "de=abc&state=st-1 HTT", "P/1.1\r\nHost: 127.0.", &format!("0.1:{port}\r\n\r"), "\n"]
        {
            stream.write_all(piece.as_bytes()).expect("sent");
            std::thread::sleep(Duration::from_millis(30));
        }
        assert_eq!(code(waiting), "abc");
    }

    #[test]
    fn silent_clients_do_not_keep_a_good_one_waiting() {
        let (port, waiting) = start();
        let mut silent: Vec<TcpStream> = (0..VISITORS - 2).map(|_| connect(port)).collect();
        silent[0].write_all(b"GET /callback?code=").expect("sent");
        let begun = Instant::now();
        assert_eq!(status(&get(port, GOOD)), "200");
        assert!(begun.elapsed() < PATIENCE * (VISITORS as u32 - 2), "{:?}", begun.elapsed()); // one after the other
        assert_eq!(code(waiting), "abc");
    }

    #[test]
    fn a_full_house_of_silent_clients_is_cleared() {
        let (port, waiting) = start();
        let silent: Vec<TcpStream> = (0..VISITORS + 8).map(|_| connect(port)).collect();
        assert_eq!(status(&get(port, GOOD)), "200");
        assert_eq!(code(waiting), "abc");
        drop(silent);
    }

    #[test]
    fn a_refusal_is_an_answer_and_its_text_stays_out_of_the_page() {
        let (port, waiting) = start();
        let reply = get(port, "/callback?error=access_denied&error_description=%1b%5B2J%3Cscript%3E&state=st-1");
        assert!(status(&reply) == "200" && !reply.contains("script") && !reply.contains('\u{1b}'), "{reply}");
        let answer = waiting.join().expect("no panic").expect("an answer");
        assert_eq!(
            answer,
            Callback::Denied { code: "access_denied".into(), description: Some("\u{1b}[2J<script>".into()) }
        );
        assert!(is_closed(port));
    }

    #[test]
    fn an_error_without_a_state_is_told_and_waited_past() {
        let listener = Listener::bind(Loopback::V4, None).expect("a port");
        let port = listener.port;
        let waiting = std::thread::spawn(move || {
            let mut watching = Watching::default();
            let answer = listener.wait(Instant::now() + Duration::from_secs(60), &expected(), &mut watching);
            (answer, watching.1)
        });
        assert_eq!(status(&get(port, "/callback?error=invalid_request&error_description=no+uri")), "400");
        assert_eq!(status(&get(port, "/callback?error=a&state=st-2")), "400");
        assert_eq!(status(&get(port, GOOD)), "200");
        let (answer, errors) = waiting.join().expect("no panic");
        assert!(matches!(answer, Ok(Callback::Code(..))), "{answer:?}");
        assert_eq!(errors, ["invalid_request (no uri)"]);
    }

    #[test]
    fn the_address_that_leads_on_does_so_once_whatever_its_query() {
        const TO: &str = "https://as.example/authorize?state=st-1&code_challenge=c";
        let mut listener = Listener::bind(Loopback::V4, None).expect("a port");
        let (port, link) = (listener.port, listener.link_to(TO));
        let path = link.strip_prefix(&format!("http://127.0.0.1:{port}")).expect("here").to_string();
        assert!(path.len() >= 33 && !link.contains("st-1"), "{link}");
        let deadline = Instant::now() + Duration::from_secs(60);
        let waiting = std::thread::spawn(move || listener.wait(deadline, &expected(), &mut Watching::default()));
        let host = format!("Host: 127.0.0.1:{port}");
        for (request, answer) in [
            (format!("HEAD {path} HTTP/1.1\r\n{host}\r\n\r\n"), "400"),
            (format!("GET {path} HTTP/1.1\r\nHost: evil.example:{port}\r\n\r\n"), "400"),
            (format!("GET {path}x HTTP/1.1\r\n{host}\r\n\r\n"), "400"),
            (format!("GET {path}?code=evil&state=st-1 HTTP/1.1\r\n{host}\r\n\r\n"), "302"),
            (format!("GET {path} HTTP/1.1\r\n{host}\r\n\r\n"), "410"),
        ] {
            let reply = raw(port, &request);
            assert_eq!(status(&reply), answer, "{request}: {reply}");
            assert_eq!(reply.contains(&format!("\r\nLocation: {TO}\r\n")), answer == "302", "{reply}");
        }
        assert_eq!(status(&get(port, GOOD)), "200");
        assert_eq!(code(waiting), "abc");
    }

    #[test]
    fn an_answer_of_another_issuer_ends_the_wait() {
        let listener = Listener::bind(Loopback::V4, None).expect("a port");
        let port = listener.port;
        let expected = ExpectedRedirect { issuer: Some("https://as.example".into()), ..expected() };
        let deadline = Instant::now() + Duration::from_secs(20);
        let waiting = std::thread::spawn(move || listener.wait(deadline, &expected, &mut Watching::default()));
        assert_eq!(status(&get(port, &format!("{GOOD}&iss=https://evil.example"))), "400");
        let answer = waiting.join().expect("no panic").expect("an answer");
        assert_eq!(answer, Callback::MixUp { issuer: Some("https://evil.example".into()) });
    }

    #[test]
    fn of_two_codes_the_first_counts() {
        let (port, waiting) = start();
        let (mut one, mut two) = (connect(port), connect(port));
        let request =
            |code: &str| format!("GET /callback?code={code}&state=st-1 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
        one.write_all(request("first").as_bytes()).expect("sent");
        let mut reply = String::new();
        one.read_to_string(&mut reply).expect("a reply");
        let _ = two.write_all(request("second").as_bytes());
        let mut late = String::new();
        let _ = two.read_to_string(&mut late);
        assert_eq!((status(&reply), late.as_str()), ("200", ""));
        assert_eq!(code(waiting), "first");
        assert!(is_closed(port));
    }

    #[test]
    fn the_time_ends_the_wait_and_the_reason_of_the_last_request_is_kept() {
        let listener = Listener::bind(Loopback::V4, None).expect("a port");
        let port = listener.port;
        let mut watching = Watching::default();
        let begun = Instant::now();
        let ended = listener.wait(begun + Duration::from_millis(200), &expected(), &mut watching);
        assert_eq!(ended, Err(TimedOut { turned_away: None }));
        assert!(begun.elapsed() >= Duration::from_millis(200) && watching.0 > 1);
        assert!(is_closed(port));

        let (port, waiting) = waiting(Loopback::V4, Duration::from_secs(1));
        get(port, "/callback?code=abc&state=old");
        get(port, "/favicon.ico");
        let ended = waiting.join().expect("no panic");
        assert_eq!(ended, Err(TimedOut { turned_away: Some(Foreign("its state is from another login")) }));
    }

    #[test]
    fn a_port_that_is_taken_is_named() {
        for host in [Loopback::V4, Loopback::Name] {
            let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
            let port = taken.local_addr().expect("an address").port();
            let error = Listener::bind(host, Some(port)).expect_err("taken");
            let hint = error.hint.clone().unwrap_or_default();
            assert_eq!(error.kind, Kind::Other);
            assert!(error.what.contains(&port.to_string()) && hint.contains("--redirect-port"), "{error:?}");
            drop(taken);
            let listener = Listener::bind(host, Some(port)).expect("free now");
            assert_eq!(listener.redirect_uri("/x"), format!("http://{}:{port}/x", host.host()));
        }
    }

    #[test]
    fn localhost_is_both_families_and_no_other_process_may_have_either() {
        let Ok(taken) = TcpListener::bind(("::1", 0)) else { return };
        let port = taken.local_addr().expect("an address").port();
        assert!(Listener::bind(Loopback::Name, Some(port)).is_err());
        for address in ["127.0.0.1", "::1"] {
            let (port, waiting) = waiting(Loopback::Name, Duration::from_secs(20));
            let mut stream = TcpStream::connect((address, port)).expect("a connection");
            write!(stream, "GET {GOOD} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n").expect("sent");
            assert_eq!(code(waiting), "abc");
        }
        let (port, waiting) = waiting(Loopback::V6, Duration::from_secs(20));
        assert!(is_closed(port));
        let mut stream = TcpStream::connect(("::1", port)).expect("a connection");
        write!(stream, "GET {GOOD} HTTP/1.1\r\nHost: [::1]:{port}\r\n\r\n").expect("sent");
        assert_eq!(code(waiting), "abc");
    }

    #[test]
    fn only_names_of_this_machine_with_our_port_are_ours() {
        let listener = Listener { host: Loopback::V4, port: 80, sockets: Vec::new(), link: None };
        for (host, ours) in [
            ("127.0.0.1", true),
            ("127.0.0.1:80", true),
            ("LOCALHOST", true),
            ("[::1]", true),
            ("[::1]:80", true),
            ("::1", false),
            ("127.0.0.1:", false),
            ("127.0.0.1:81", false),
            ("127.0.0.1:8080", false),
            ("localhost.", false),
            ("localhost.evil.example", false),
            ("", false),
        ] {
            assert_eq!(listener.is_called(host), ours, "{host}");
        }
    }
}
