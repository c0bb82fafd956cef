//! The program: the short path, else `run` with the real host.
#![cfg_attr(unix, no_main)]
#![expect(clippy::disallowed_methods, reason = "a process begins here: its clock, its arguments, its end")]

use std::ffi::OsString;
use std::io::Write;

#[cfg(all(target_os = "linux", target_env = "musl"))]
#[global_allocator]
static MEMORY: tok::Memory<dlmalloc::GlobalDlmalloc> = tok::Memory(dlmalloc::GlobalDlmalloc);

#[cfg(not(all(target_os = "linux", target_env = "musl")))]
#[global_allocator]
static MEMORY: tok::Memory<std::alloc::System> = tok::Memory(std::alloc::System);

/// The entry point on Unix. Rust's own start-up takes as long as a whole cached answer; what the full path
/// needs of it is done when that is taken.
#[cfg(unix)]
#[allow(unsafe_code)]
mod start {
    use std::ffi::{CStr, c_char, c_int};

    /// The strings of a list that ends with a null pointer.
    fn texts(list: *const *const c_char) -> impl Iterator<Item = &'static CStr> + Clone {
        (0..).map_while(move |at| {
            // SAFETY: only `main` calls this, with the two lists that the system made: they end with a null pointer,
            // which stops this iterator, and neither they nor their texts are moved or changed while the process lives.
            unsafe {
                let text = *list.add(at);
                (!text.is_null()).then(|| CStr::from_ptr(text))
            }
        })
    }

    // SAFETY: nothing else in the program has this name: `no_main` keeps the compiler from making one.
    #[unsafe(no_mangle)]
    extern "C" fn main(_: c_int, args: *const *const c_char, env: *const *const c_char) -> c_int {
        // SAFETY: this replaces no handler of anybody: nothing has run yet. As in every Rust program, a closed pipe
        // is then an error of the write.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
        super::unix(texts(args), texts(env)).into()
    }
}

#[cfg(unix)]
fn unix(
    args: impl Iterator<Item = &'static std::ffi::CStr> + Clone,
    env: impl Iterator<Item = &'static std::ffi::CStr>,
) -> u8 {
    use std::os::unix::ffi::OsStrExt;
    hide_panics();
    tok::start::protect();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.ok().and_then(|since| i64::try_from(since.as_nanos()).ok()).unwrap_or(0);
    if tok::fast_path::answer(args.clone().map(|a| a.to_bytes()), env.map(|e| e.to_bytes()), now, tok::start::put) {
        return 0;
    }
    tok::start::open_streams();
    full(args.map(|a| std::ffi::OsStr::from_bytes(a.to_bytes()).to_owned()).collect())
}

#[cfg(not(unix))]
fn main() -> std::process::ExitCode {
    hide_panics();
    tok::start::protect();
    full(std::env::args_os().collect()).into()
}

/// A panic's own message may quote a value, and an abort would dump memory.
fn hide_panics() {
    std::panic::set_hook(Box::new(|panic| {
        tok::give_stdin_back();
        let place = panic.location().map(|l| format!("{}:{}", l.file(), l.line())).unwrap_or_default();
        let _ = writeln!(std::io::stderr(), "tok: internal error at {place} (please report it)");
        std::process::exit(1);
    }));
}

fn full(args: Vec<OsString>) -> u8 {
    tok::start::find_bus();
    // What it holds ends with the process.
    let mut host = std::mem::ManuallyDrop::new(tok::Host::real());
    let status = tok::run(args, &mut host);
    // Rust's own start-up did not run, so neither does its shutdown.
    let _ = std::io::stdout().flush();
    status
}
