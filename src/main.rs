//! The program: the short path, else the real world and `run`.

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    // A panic's own message may quote a value, and an abort would dump memory.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(|l| format!("{}:{}", l.file(), l.line())).unwrap_or_default();
        let _ = writeln!(std::io::stderr(), "tok: this is a mistake in tok, at {place}");
        std::process::exit(1);
    }));
    tok::host::protect();
    let args: Vec<std::ffi::OsString> = std::env::args_os().collect();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.ok().and_then(|since| i64::try_from(since.as_nanos()).ok()).unwrap_or(0);
    if let Some(line) = tok::short::answer(&args, now) {
        // A closed stdout is no error; a full disk is, and the full path says so.
        match std::io::stdout().write_all(&line) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {}
            _ => return ExitCode::SUCCESS,
        }
    }
    tok::host::find_bus();
    ExitCode::from(tok::run(args, &mut tok::host::Host::real()))
}
