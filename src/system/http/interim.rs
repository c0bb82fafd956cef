//! The filter between connection and ureq: it skips interim replies (RFC 9110 §15.2), and gives ureq a head
//! and chunks in the simplest form that RFC 9112 allows. It keeps the
//! original head.

use super::Head;
use super::head::{self, Broken, Framing};
use super::transport::{Seen, buffers};
use std::sync::Arc;
use ureq::unversioned::transport::{Buffers, LazyBuffers, NextTimeout, Transport};

/// The longest line with the size of a chunk, its extensions included (RFC 9112 §7.1.1 requires such a limit), in
/// bytes.
const LONGEST_SIZE: usize = 16 << 10;

/// The most that a head or a size takes in the form that is handed on, in bytes.
const OUR_LINES: usize = 128;

/// A connection whose replies are normalized.
#[derive(Debug)]
pub(super) struct Plain<T> {
    inner: T,
    buffers: LazyBuffers,
    awaited: Awaited,
    seen: Arc<Seen>,
}

/// What comes next from the server.
#[derive(Clone, Copy, Debug)]
enum Awaited {
    Head,
    /// So much of a body.
    Body(u64),
    /// All until the connection ends.
    Rest,
    ChunkSize,
    /// So much of a chunk.
    Chunk(u64),
    ChunkEnd,
    /// Nothing relevant: the body is complete.
    Nothing,
}

impl<T: Transport> Plain<T> {
    pub(super) fn new(inner: T, seen: Arc<Seen>) -> Plain<T> {
        Plain { inner, buffers: buffers(), awaited: Awaited::Head, seen }
    }

    /// Normalizes the next part of what has arrived: whether it is something for ureq, or `None` if more must
    /// come first.
    fn step(&mut self) -> Result<Option<bool>, Broken> {
        let room = self.buffers.input_append_buf().len();
        let input = self.inner.buffers().input();
        let (used, next) = match self.awaited {
            Awaited::Head => {
                let Some((head, used)) = head::split(input)? else { return Ok(None) };
                (used, self.begin(head)?)
            }
            Awaited::ChunkSize => {
                let Some((size, used)) = chunk_size(input)? else { return Ok(None) };
                if room < OUR_LINES {
                    return Ok(None);
                }
                if size > 0 {
                    append(&mut self.buffers, format!("{size:x}\r\n").as_bytes());
                    (used, Awaited::Chunk(size))
                } else {
                    // What follows are trailer lines, which are ignored.
                    append(&mut self.buffers, b"0\r\n\r\n");
                    (used, Awaited::Nothing)
                }
            }
            Awaited::ChunkEnd => {
                let used = match input {
                    [b'\n', ..] => 1,
                    [b'\r', b'\n', ..] => 2,
                    [] | [b'\r'] => return Ok(None),
                    _ => return Err(Broken::NotHttp("a chunk of its body is longer than it says")),
                };
                if room < OUR_LINES {
                    return Ok(None);
                }
                append(&mut self.buffers, b"\r\n");
                (used, Awaited::ChunkSize)
            }
            Awaited::Body(left) | Awaited::Chunk(left) => {
                let most = input.len().min(room).min(usize::try_from(left).unwrap_or(usize::MAX));
                if most == 0 {
                    return Ok(None);
                }
                append(&mut self.buffers, &input[..most]);
                let left = left - most as u64;
                let next = match self.awaited {
                    Awaited::Chunk(_) if left == 0 => Awaited::ChunkEnd,
                    Awaited::Chunk(_) => Awaited::Chunk(left),
                    _ if left == 0 => Awaited::Nothing,
                    _ => Awaited::Body(left),
                };
                (most, next)
            }
            Awaited::Rest => {
                let most = input.len().min(room);
                if most == 0 {
                    return Ok(None);
                }
                append(&mut self.buffers, &input[..most]);
                (most, Awaited::Rest)
            }
            Awaited::Nothing => return Ok(None),
        };
        self.inner.buffers().input_consume(used);
        self.awaited = next;
        // An interim reply is not passed to ureq.
        Ok(Some(!matches!(next, Awaited::Head)))
    }

    /// Hands on the head of the reply in the fewest words, unless it is an interim one. 101 is final: it can only
    /// follow an `Upgrade`, which is never sent.
    fn begin(&mut self, head: Head) -> Result<Awaited, Broken> {
        if matches!(head.status, 100 | 102..200) {
            return Ok(Awaited::Head);
        }
        let fields = head::fields(&head);
        let framing = head::framing(head.status, &fields)?;
        let (line, next) = match framing {
            Framing::None => (String::new(), Awaited::Nothing),
            Framing::Length(0) => ("Content-Length: 0\r\n".into(), Awaited::Nothing),
            Framing::Length(length) => (format!("Content-Length: {length}\r\n"), Awaited::Body(length)),
            Framing::Chunked => ("Transfer-Encoding: chunked\r\n".into(), Awaited::ChunkSize),
            Framing::Close => (String::new(), Awaited::Rest),
        };
        let plain = format!("HTTP/1.1 {} \r\n{line}Connection: close\r\n\r\n", head.status);
        append(&mut self.buffers, plain.as_bytes());
        self.seen.set_head(head);
        Ok(next)
    }
}

/// Appends to what ureq reads; there must be room for it.
fn append(buffers: &mut LazyBuffers, bytes: &[u8]) {
    if let Some(room) = buffers.input_append_buf().get_mut(..bytes.len()) {
        room.copy_from_slice(bytes);
        buffers.input_appended(bytes.len());
    }
}

/// The size of the chunk whose line stands at the beginning of `input`, and the length of that line; extensions are
/// passed over (RFC 9112 §7.1.1). `None` if it is not all there.
fn chunk_size(input: &[u8]) -> Result<Option<(u64, usize)>, Broken> {
    let Some(end) = input.iter().position(|b| *b == b'\n') else {
        return match input.len() > LONGEST_SIZE {
            true => Err(Broken::NotHttp("the size of a chunk of its body cannot be read")),
            false => Ok(None),
        };
    };
    let text = input[..end].split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    let text = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
    match text.and_then(|text| u64::from_str_radix(text, 16).ok()) {
        Some(size) => Ok(Some((size, end + 1))),
        None => Err(Broken::NotHttp("the size of a chunk of its body is not a number")),
    }
}

impl<T: Transport> Transport for Plain<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let mut rest = &self.buffers.output()[..amount];
        while !rest.is_empty() {
            let room = self.inner.buffers().output();
            let part = rest.len().min(room.len());
            room[..part].copy_from_slice(&rest[..part]);
            self.inner.transmit_output(part, timeout)?;
            rest = &rest[part..];
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        loop {
            match self.step()? {
                Some(true) => return Ok(true),
                Some(false) => {}
                None if matches!(self.awaited, Awaited::Nothing) => return Ok(false),
                None if !self.inner.await_input(timeout)? => return Ok(false),
                None => {}
            }
        }
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_chunk_is_hexadecimal_whatever_follows_it() {
        for (text, size) in [("5\r\n", 5), ("0a \r\n", 10), ("fF;name=\"a b\"\r\n", 255), ("000\n", 0), ("1;\r\n", 1)] {
            assert_eq!(chunk_size(text.as_bytes()), Ok(Some((size, text.len()))), "{text:?}");
        }
        assert_eq!(chunk_size(b"5;a"), Ok(None));
        for text in ["\r\n", "+5\r\n", "0x5\r\n", "-1\r\n", "xyz\r\n", "fffffffffffffffff\r\n"] {
            assert!(chunk_size(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(chunk_size(&[b'1'; LONGEST_SIZE + 1]).is_err());
    }
}
