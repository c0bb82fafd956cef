//! The allocator: where there is no memory left, the process ends with an error and not with an abort. What must not be
//! lost to that takes its room beforehand ([`reserve`]).

use std::alloc::{GlobalAlloc, Layout};
use std::sync::Mutex;

/// Room for what happens between the sending of a refresh token and the writing of its journal, in bytes: a reply is at
/// most 1 MiB long, and is there twice at most; TLS takes some hundred kilobytes.
const ROOM: usize = 8 << 20;

/// Held back until memory runs out.
static RESERVE: Mutex<Option<Vec<u8>>> = Mutex::new(None);

/// Takes the room that a refresh needs once its token is sent. Where it cannot be had, the process ends here, and
/// nothing was sent. It is not touched, so it costs address space and no memory.
pub fn reserve() {
    if let Ok(mut reserve) = RESERVE.lock() {
        reserve.get_or_insert_with(|| Vec::with_capacity(ROOM));
    }
}

/// Gives the reserve back, and says whether there was one.
fn give_back() -> bool {
    // Whoever holds the lock is about to take the reserve, or to give it back.
    RESERVE.try_lock().ok().and_then(|mut reserve| reserve.take()).is_some()
}

/// The allocator `A`, that ends the process where it has nothing left.
pub struct Memory<A>(pub A);

#[allow(unsafe_code)]
// SAFETY: whatever is returned comes from `A` for the same layout, and whatever is given goes back there.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Memory<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's layout, as it is.
        or_end(|| unsafe { self.0.alloc(layout) })
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's layout, as it is.
        or_end(|| unsafe { self.0.alloc_zeroed(layout) })
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's block, layout and size, as they are; a block that could not be moved is still there.
        or_end(|| unsafe { self.0.realloc(block, layout, size) })
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's block and layout, as they are.
        unsafe { self.0.dealloc(block, layout) }
    }
}

/// What `allocate` returns, at the second try if need be.
#[inline]
fn or_end(allocate: impl Fn() -> *mut u8) -> *mut u8 {
    let block = allocate();
    if block.is_null() { again(&allocate) } else { block }
}

#[cold]
fn again(allocate: &dyn Fn() -> *mut u8) -> *mut u8 {
    while give_back() {
        let block = allocate();
        if !block.is_null() {
            return block;
        }
    }
    end()
}

/// Nothing here allocates.
#[cfg(unix)]
fn end() -> ! {
    super::signals::give_stdin_back();
    let _ = rustix::io::write(rustix::stdio::stderr(), MESSAGE);
    signal_hook::low_level::exit(1)
}

#[cfg(not(unix))]
#[expect(clippy::disallowed_methods, reason = "there is nothing left to return with")]
fn end() -> ! {
    let _ = std::io::Write::write_all(&mut std::io::stderr(), MESSAGE);
    std::process::exit(1)
}

const MESSAGE: &[u8] = b"tok: not enough memory\nhint: stop some processes, or raise the limit (ulimit -v)\n";
