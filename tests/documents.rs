//! What the pages say about this repository is true: links lead somewhere, files that are named exist, commands are
//! accepted. `tests/cli/readme.rs` runs the README's commands.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The pages for people: path and text.
fn pages() -> Vec<(PathBuf, String)> {
    let docs =
        fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let pages = ["README.md", "SECURITY.md", "CONTRIBUTING.md"].map(|name| root().join(name));
    let read = |path: PathBuf| (path.clone(), fs::read_to_string(path).unwrap());
    pages.into_iter().chain(docs).map(read).collect()
}

#[test]
fn every_link_leads_to_a_file() {
    let slug = |heading: &str| heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
    for (page, text) in pages() {
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
            if file.contains("://") {
                continue;
            }
            let path = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(path.exists(), "{}: {target}", page.display());
            if let Some(anchor) = anchor {
                let text = fs::read_to_string(&path).unwrap();
                assert!(text.lines().any(|l| l.starts_with('#') && slug(l) == anchor), "{}: {target}", page.display());
            }
        }
    }
}

/// Between backticks, a path with a known beginning is a file or a folder here. Whoever moves a file finds the page.
#[test]
fn every_file_that_a_page_names_exists() {
    let mut named = 0;
    for (page, text) in pages() {
        for word in text.split('`').skip(1).step_by(2) {
            let known = ["src/", "tests/", "docs/", "benches/", ".ci/"].iter().any(|start| word.starts_with(start));
            let is_path = known && !word.contains([' ', '*']) && !word.contains("NAME");
            if is_path {
                assert!(root().join(word).exists(), "{}: {word}", page.display());
                named += 1;
            }
        }
    }
    assert!(named > 25, "{named}");
}

/// The questions of somebody who is new here, and the file where they would look first.
#[test]
fn the_architecture_answers_fifteen_questions() {
    let text = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let (_, table) = text.split_once("## Where is it decided").unwrap();
    let rows: Vec<&str> = table.lines().filter(|line| line.contains("? | `src/")).collect();
    assert_eq!(rows.len(), 15);
    // And every folder of the program is in the picture.
    let (_, picture) = text.split_once("## Folders").unwrap();
    for entry in fs::read_dir(root().join("src")).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let name = if entry.path().is_dir() { format!("`{name}/`") } else { format!("`{name}`") };
        assert!(picture.contains(&name), "docs/architecture.md does not say what {name} is");
    }
}

/// A command in a page is one that `tok` takes: with `--help` behind it nothing is run.
#[cfg(all(unix, not(target_os = "macos")))] // where the config lies differs elsewhere
#[test]
fn every_command_in_the_docs_is_accepted() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join(".config/tok");
    fs::create_dir_all(config.join("providers")).unwrap();
    let profiles = "[profile.work]\nprovider = \"oidc\"\n[profile.mcp-example-com]\nprovider = \"resource\"\n";
    fs::write(config.join("config.toml"), profiles).unwrap();
    fs::write(config.join("providers/example.toml"), "like = \"oauth2\"\n").unwrap();
    let mut tried = 0;
    for (page, text) in pages() {
        for block in text.split("\n```sh\n").skip(1).filter_map(|rest| rest.split("\n```").next()) {
            for line in block.lines().filter(|line| line.starts_with("tok ")) {
                let line = line.split([';', '|', '#', '>', '&']).next().unwrap();
                // What follows there is another program's.
                let line = match line.split_once(" -- ") {
                    Some((own, _)) if line.starts_with("tok exec ") => own,
                    _ if line.starts_with("tok curl ") => "tok curl",
                    _ => line,
                };
                let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tok"));
                command.args(line.split_whitespace().skip(1)).arg("--help").env_clear().env("HOME", home.path());
                let out = command.output().unwrap();
                let said = String::from_utf8_lossy(&out.stderr);
                assert!(out.status.success(), "{}: {line}\n{said}", page.display());
                tried += 1;
            }
        }
    }
    assert!(tried > 10, "{tried}");
}
