//! The small parts of the chain between socket and ureq: [`Watched`] keeps every read and write within the deadline
//! and notes a reset; [`LentConnection`] keeps the connection open when ureq is done with it; [`Ready`] is the connector that
//! gives ureq a connection that already stands.

use super::Head;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use ureq::Timeout;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport, time};

/// A result of one of ureq's traits.
pub(super) type UreqResult<T> = std::result::Result<T, ureq::Error>;

/// Buffers of a layer of the chain: for reading room for the longest head, so that it can be looked at whole.
pub(super) fn buffers() -> LazyBuffers {
    LazyBuffers::new(super::head::LONGEST_HEAD + (4 << 10), 16 << 10)
}

/// What was seen on a connection.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The other side cut it.
    reset: AtomicBool,
    head: Mutex<Option<Head>>,
    /// Until when the reply is waited for, where that is later than the deadline of the connection.
    reply_by: Mutex<Option<Instant>>,
}

impl Seen {
    /// Whether the other side cut the connection.
    pub(super) fn reset(&self) -> bool {
        self.reset.load(Ordering::Relaxed)
    }

    /// Waits for the reply until `instant`, beyond the deadline of the connection.
    pub(super) fn set_reply_by(&self, instant: Instant) {
        if let Ok(mut place) = self.reply_by.lock() {
            *place = Some(instant);
        }
    }

    fn reply_by(&self) -> Option<Instant> {
        *self.reply_by.lock().ok()?
    }

    /// Keeps the head of the reply.
    pub(super) fn set_head(&self, head: Head) {
        if let Ok(mut place) = self.head.lock() {
            *place = Some(head);
        }
    }

    /// The head of the reply, once.
    pub(super) fn take_head(&self) -> Option<Head> {
        self.head.lock().ok()?.take()
    }
}

/// A TCP connection; ureq keeps its own to itself.
#[derive(Debug)]
pub(super) struct Tcp {
    stream: TcpStream,
    buffers: LazyBuffers,
}

impl Tcp {
    pub(super) fn new(stream: TcpStream) -> Tcp {
        Tcp { stream, buffers: buffers() }
    }
}

/// Repeats `step` while a signal interrupts it; `limit` sets the remaining time.
fn timed<T>(
    timeout: NextTimeout,
    limit: impl Fn(Option<Duration>) -> io::Result<()>,
    mut step: impl FnMut() -> io::Result<T>,
) -> UreqResult<T> {
    let start = Instant::now();
    loop {
        let left = match timeout.after {
            time::Duration::NotHappening => None,
            time::Duration::Exact(after) => Some(after.saturating_sub(start.elapsed())),
        };
        if left.is_some_and(|left| left.is_zero()) {
            return Err(ureq::Error::Timeout(timeout.reason));
        }
        match limit(left) {
            // macOS refuses it on a connection that the other side has closed, although a reply may still be there.
            Err(error) if cfg!(target_os = "macos") && error.kind() == io::ErrorKind::InvalidInput => {}
            other => other?,
        }
        match step() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Err(ureq::Error::Timeout(timeout.reason));
            }
            other => return Ok(other?),
        }
    }
}

impl Transport for Tcp {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> UreqResult<()> {
        let mut stream = &self.stream;
        let mut rest = &self.buffers.output()[..amount];
        while !rest.is_empty() {
            let limit = |left| stream.set_write_timeout(left);
            let written = timed(timeout.for_write(), limit, || (&mut { stream }).write(rest))?;
            if written == 0 {
                return Err(ureq::Error::Io(io::ErrorKind::WriteZero.into()));
            }
            rest = &rest[written..];
        }
        stream.flush()?;
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> UreqResult<bool> {
        let stream = &self.stream;
        let room = self.buffers.input_append_buf();
        let limit = |left| stream.set_read_timeout(left);
        let amount = timed(timeout.for_read(), limit, || (&mut { stream }).read(room))?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    /// Never asked for another request.
    fn is_open(&mut self) -> bool {
        false
    }
}

/// A socket that keeps to the deadline. ureq gives some reads the whole time anew, so that a trickle would hold it
/// for ever.
#[derive(Debug)]
pub(super) struct Watched<T> {
    pub(super) socket: T,
    pub(super) deadline: Instant,
    pub(super) seen: Arc<Seen>,
}

impl<T> Watched<T> {
    fn within(&self, mut timeout: NextTimeout) -> UreqResult<NextTimeout> {
        let deadline = self.seen.reply_by().unwrap_or(self.deadline);
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ureq::Error::Timeout(Timeout::Global));
        }
        if timeout.after > left.into() {
            timeout.after = left.into();
            timeout.reason = Timeout::Global;
        }
        Ok(timeout)
    }
}

impl<T: Transport> Transport for Watched<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.socket.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> UreqResult<()> {
        let timeout = self.within(timeout)?;
        self.socket.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> UreqResult<bool> {
        let timeout = self.within(timeout)?;
        let result = self.socket.await_input(timeout);
        if let Err(ureq::Error::Io(error)) = &result
            && matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted)
        {
            self.seen.reset.store(true, Ordering::Relaxed);
        }
        result
    }

    fn is_open(&mut self) -> bool {
        self.socket.is_open()
    }

    fn is_tls(&self) -> bool {
        self.socket.is_tls()
    }
}

/// The place of a connection between its uses.
pub(super) type Slot = Arc<Mutex<Option<Box<dyn Transport>>>>;

/// The connector at ureq's seam: it hands out the connection that stands in the place, which comes back there when
/// ureq drops it. ureq does so as soon as the body ends, and closing a socket takes time that the reply has not.
#[derive(Debug)]
pub(super) struct Ready(pub(super) Slot);

impl Connector<()> for Ready {
    type Out = LentConnection;

    fn connect(&self, _: &ConnectionDetails, _: Option<()>) -> UreqResult<Option<LentConnection>> {
        let transport = self.0.lock().ok().and_then(|mut place| place.take());
        Ok(transport.map(|transport| LentConnection {
            transport: Some(transport),
            nothing: buffers(),
            place: self.0.clone(),
        }))
    }
}

/// A connection that ureq has for a while.
#[derive(Debug)]
pub(super) struct LentConnection {
    /// There until it is dropped.
    transport: Option<Box<dyn Transport>>,
    nothing: LazyBuffers,
    place: Slot,
}

impl Drop for LentConnection {
    fn drop(&mut self) {
        if let Ok(mut place) = self.place.lock() {
            *place = self.transport.take();
        }
    }
}

impl LentConnection {
    fn transport(&mut self) -> UreqResult<&mut Box<dyn Transport>> {
        self.transport.as_mut().ok_or(ureq::Error::ConnectionFailed)
    }
}

impl Transport for LentConnection {
    fn buffers(&mut self) -> &mut dyn Buffers {
        match &mut self.transport {
            Some(transport) => transport.buffers(),
            None => &mut self.nothing,
        }
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> UreqResult<()> {
        self.transport()?.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> UreqResult<bool> {
        self.transport()?.await_input(timeout)
    }

    /// Never asked for another request, and looking would take a read.
    fn is_open(&mut self) -> bool {
        false
    }

    fn is_tls(&self) -> bool {
        self.transport.as_ref().is_some_and(|transport| transport.is_tls())
    }
}

/// For an agent whose connection already stands: there is nothing to look up.
#[derive(Debug)]
pub(super) struct NoLookup;

impl Resolver for NoLookup {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> UreqResult<ResolvedSocketAddrs> {
        Ok(self.empty())
    }
}
