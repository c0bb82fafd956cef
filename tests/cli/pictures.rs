//! The README's pictures are what the program does: a session on a terminal, and the way that a token takes. Stale ones
//! fail here; `UPDATE=1 cargo test --test cli pictures` draws them anew.

use crate::readme::{World, run_on_terminal};
use crate::support::{CANARY, Sandbox, purewl};
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// What stands for a token: of no provider, and the same at each run.
const TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl";
/// The terminal's width, in columns.
const COLUMNS: usize = 96;

/// Compares a picture with the one that is checked in, or replaces that.
#[track_caller]
fn compare(name: &str, drawn: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    for word in [CANARY, "/tmp", "127.0.0.1", env!("CARGO_MANIFEST_DIR")] {
        assert!(!drawn.contains(word), "{name} holds {word}");
    }
    if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        fs::write(&path, drawn).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(there == drawn, "docs/{name} is stale: UPDATE=1 cargo test --test cli pictures; it should be\n{drawn}");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The beginning of a picture of this size, with a title for those who cannot see it.
fn begin(title: &str, width: usize, height: usize) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         role=\"img\">\n<title>{}</title>\n",
        escaped(title)
    )
}

/// What a terminal shows of `output`: lines of pieces, each with its colour.
fn lines(output: &str) -> Vec<Vec<(&'static str, String)>> {
    let mut color = "#d8dee9";
    let mut lines = vec![vec![]];
    for (at, part) in output.replace('\r', "").split('\u{1b}').enumerate() {
        let mut text = part;
        if at > 0 {
            let (code, rest) = part.split_once('m').expect("nothing but colours");
            color = match code {
                "[31" => "#ff6b68",
                "[32" => "#7fd962",
                "[33" => "#e6c35c",
                "[0" => "#d8dee9",
                other => panic!("a colour without a place in the picture: {other:?}"),
            };
            text = rest;
        }
        for (at, piece) in text.split('\n').enumerate() {
            if at > 0 {
                lines.push(vec![]);
            }
            if !piece.is_empty() {
                lines.last_mut().unwrap().push((color, piece.to_string()));
            }
        }
    }
    lines
}

/// What differs from run to run, as one thing: tokens, days and times of the day, times left.
fn settled(output: &str, token: &str) -> String {
    let words = output.replace(token, TOKEN);
    let mut text = String::new();
    for word in words.split_inclusive([' ', '\n']) {
        let bare = word.trim_end_matches([' ', '\n', '\r', ',', ';', ')']);
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_time = bare.split_once(':').is_some_and(|(hour, minute)| digits(hour) && digits(minute));
        // Where the time is one of tomorrow, its day stands before it.
        let is_day = bare.len() == 10 && bare.split('-').count() == 3 && bare.split('-').all(digits);
        if is_day {
            continue;
        }
        let is_left = bare.strip_suffix('m').is_some_and(|minutes| digits(minutes) && minutes.len() == 2);
        let settled = if is_time { "11:52" } else { "59m" };
        let kept = if is_time || is_left { word.replacen(bare, settled, 1) } else { word.to_string() };
        text.push_str(&kept);
    }
    text
}

/// A line as a terminal breaks it where it is longer than that is wide.
fn wrapped(line: Vec<(&'static str, String)>) -> Vec<Vec<(&'static str, String)>> {
    let mut rows = vec![vec![]];
    let mut column = 0;
    for (color, text) in line {
        let mut rest: Vec<char> = text.chars().collect();
        while !rest.is_empty() {
            if column == COLUMNS {
                rows.push(vec![]);
                column = 0;
            }
            let piece: String = rest.drain(..rest.len().min(COLUMNS - column)).collect();
            column += piece.chars().count();
            rows.last_mut().unwrap().push((color, piece));
        }
    }
    rows
}

/// A terminal with commands and what each has shown.
fn terminal(session: &[(String, String)]) -> String {
    let mut shown = vec![];
    for (command, output) in session {
        shown.push(vec![("#7fd962", "$ ".to_string()), ("#ffffff", command.clone())]);
        shown.extend(lines(output.trim_end()));
        shown.push(vec![]);
    }
    shown.pop();
    let shown: Vec<_> = shown.into_iter().flat_map(wrapped).collect();
    // A character is 0.6 of its height wide in all common fixed-width fonts; `textLength` holds the others to it.
    let (wide, high, edge) = (8.4, 20, 16);
    let (width, height) = ((COLUMNS as f64 * wide) as usize + 2 * edge, shown.len() * high + 2 * edge + 24);
    let mut svg = begin("tok on a terminal", width, height);
    writeln!(svg, "<rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#1d2330\"/>").unwrap();
    for (at, color) in ["#ff6b68", "#e6c35c", "#7fd962"].iter().enumerate() {
        writeln!(svg, "<circle cx=\"{}\" cy=\"18\" r=\"6\" fill=\"{color}\"/>", 20 + 20 * at).unwrap();
    }
    svg.push_str("<g font-family=\"ui-monospace, SFMono-Regular, Menlo, Consolas, monospace\" font-size=\"14\">\n");
    for (row, pieces) in shown.iter().enumerate() {
        let mut column = 0;
        for (color, text) in pieces {
            let length = text.chars().count();
            writeln!(
                svg,
                "<text xml:space=\"preserve\" x=\"{:.1}\" y=\"{}\" fill=\"{color}\" textLength=\"{:.1}\">{}</text>",
                edge as f64 + column as f64 * wide,
                edge + 24 + row * high + 14,
                length as f64 * wide,
                escaped(text)
            )
            .unwrap();
            column += length;
        }
    }
    svg + "</g>\n</svg>\n"
}

/// A home with the file store, at the README's addresses.
fn home(world: &World) -> Sandbox {
    let mut sandbox = world.sandbox();
    sandbox.set("TOK_STORE", "file").set("TERM", "xterm").set("COLUMNS", COLUMNS.to_string());
    sandbox
}

#[test]
fn the_session_is_what_a_terminal_shows() {
    let world = World::new();
    let sandbox = home(&world);
    let mut session = vec![];
    for (command, answer) in [
        ("tok login purewl", Some(("Secret Key from the partner panel: ", purewl::secret_key()))),
        ("tok get purewl", None),
        ("tok header purewl | curl -fsS -H @- https://atomapi.com/vam/v2/status", None),
        ("tok get xcover", None),
    ] {
        let answers: Vec<(&str, &str)> = answer.iter().map(|(prompt, answer)| (*prompt, answer.as_str())).collect();
        // One that fails is shown too.
        let shown = run_on_terminal(&sandbox, &format!("{command} || true"), &answers, &|| ());
        let prompt = answers.first().map_or("", |(prompt, _)| prompt);
        session.push((command.to_string(), format!("{prompt}{shown}")));
    }
    let token = sandbox.run("get purewl").line();
    let settle = |(command, output): (String, String)| {
        let home = sandbox.home();
        (command, settled(&output, &token).replace(home.to_str().expect("UTF-8"), "~"))
    };
    let session: Vec<_> = session.into_iter().map(settle).collect();
    assert!(session[3].1.contains("hint: "), "{session:?}");
    compare("session.svg", &terminal(&session));
}

/// How the program says that it came by a token, and the requests that it took.
fn came_by(world: &World, sandbox: &Sandbox) -> (String, usize) {
    let before = world.purewl.grants().len();
    let token = sandbox.run("get purewl -o json").json();
    (token["source"].as_str().expect("a source").to_string(), world.purewl.grants().len() - before)
}

#[test]
fn the_way_of_a_token_is_the_one_that_it_takes() {
    let world = World::new();
    let sandbox = home(&world);
    let login = [("Secret Key from the partner panel: ", purewl::secret_key())];
    let login = login.each_ref().map(|(prompt, answer)| (*prompt, answer.as_str()));
    run_on_terminal(&sandbox, "tok login purewl", &login, &|| ());
    let cached = came_by(&world, &sandbox);
    sandbox.forget_cache();
    let refreshed = came_by(&world, &sandbox);
    sandbox.run("logout purewl").ok();
    let key = sandbox.file_arg("key", purewl::secret_key());
    let granted = {
        let before = world.purewl.grants().len();
        let token = sandbox.tok(["get", "purewl", "-o", "json", "--secret-key-file", &key]).run().json();
        (token["source"].as_str().expect("a source").to_string(), world.purewl.grants().len() - before)
    };
    sandbox.run("logout purewl").ok();
    let asked = world.purewl.grants().len();
    sandbox.run("get purewl").fails(4).hints();
    assert_eq!(world.purewl.grants().len(), asked);

    let steps = [
        ("Is a token cached that is still valid?", "from the cache", &cached),
        ("Is there a refresh token in the store?", "with the refresh token", &refreshed),
        ("Are all values of a grant known?", "with a non-interactive grant", &granted),
    ];
    let (width, row) = (820, 84);
    let height = row * 4 + 24;
    let mut svg = begin("The way of a token through tok get", width, height);
    writeln!(svg, "<rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#ffffff\" stroke=\"#c9d1d9\"/>")
        .unwrap();
    svg.push_str("<g font-family=\"system-ui, sans-serif\" font-size=\"15\" fill=\"#1d2330\">\n");
    let text = |svg: &mut String, x: usize, y: usize, text: &str| {
        writeln!(svg, "<text x=\"{x}\" y=\"{y}\">{}</text>", escaped(text)).unwrap();
    };
    let shape = |svg: &mut String, x: usize, y: usize, wide: usize, fill: &str| {
        writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{wide}\" height=\"56\" rx=\"6\" fill=\"{fill}\" stroke=\"#8b949e\"/>"
        )
        .unwrap();
    };
    let arrow = |svg: &mut String, path: &str, head: &str| {
        writeln!(svg, "<path d=\"{path}\" stroke=\"#57606a\" fill=\"none\"/>").unwrap();
        writeln!(svg, "<path d=\"{head}\" fill=\"#57606a\"/>").unwrap();
    };
    for (at, (question, answer, (source, requests))) in steps.iter().enumerate() {
        let y = 24 + at * row;
        shape(&mut svg, 24, y, 320, "#eef4ff");
        text(&mut svg, 40, y + 33, question);
        arrow(&mut svg, &format!("M344 {0} H412", y + 28), &format!("M420 {0} l-10 -5 v10 z", y + 28));
        text(&mut svg, 366, y + 22, "yes");
        shape(&mut svg, 420, y, 376, "#eaf7ea");
        text(&mut svg, 436, y + 24, &format!("a valid token, {answer}"));
        let requests = match requests {
            0 => "no request".to_string(),
            1 => "one request, shared by all".to_string(),
            more => panic!("{more} requests for one token"),
        };
        text(&mut svg, 436, y + 45, &format!("\"source\": \"{source}\" · {requests}"));
        arrow(&mut svg, &format!("M184 {} V{}", y + 56, y + row - 8), &format!("M184 {} l-5 -10 h10 z", y + row));
        text(&mut svg, 196, y + 75, "no");
    }
    let y = 24 + 3 * row;
    shape(&mut svg, 24, y, 772, "#fff1ee");
    text(&mut svg, 40, y + 33, "status 4: the message names the command and the variable that help");
    compare("way.svg", &(svg + "</g>\n</svg>\n"));
}
