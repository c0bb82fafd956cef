//! `tok setup`: what `docs/credential-helpers.md` says, command by command as it stands, and configs that are there
//! already. The programs themselves are in `consumers.rs`.

use crate::skip::lacking;
use crate::support::server::Server;
use crate::support::{CANARY, Sandbox, mode, plain_provider, put};
use std::fs;

const PAGE: &str = include_str!("../../docs/credential-helpers.md");

/// The code blocks under each heading: language and text.
fn blocks(heading: &str) -> Vec<(String, String)> {
    let (_, section) = PAGE.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    let section = section.split("\n## ").next().unwrap();
    let mut found = Vec::new();
    let mut lines = section.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            found.push((language.to_string(), block.join("\n") + "\n"));
        }
    }
    found
}

/// A sandbox with the page's config, whose tokens come from `issuer`, and `tok` on its `PATH`.
fn world(issuer: &Server) -> Sandbox {
    let mut sandbox = Sandbox::with_file_store();
    let (_, config) = blocks("Which host gets which token").remove(0);
    assert!(config.contains("token_url = \"https://id.example.com/token\""));
    sandbox.config(&config.replace("https://id.example.com", &issuer.url()));
    put(&sandbox.home().join(".secrets/our-build"), format!("s-{CANARY}\n").as_bytes());
    let bin = sandbox.home().join("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_tok"), bin.join("tok")).unwrap();
    for name in ["docker-credential-tok", "bazel-credential-tok"] {
        std::os::unix::fs::symlink("tok", bin.join(name)).unwrap();
    }
    let plugins = sandbox.home().join(".terraform.d/plugins");
    fs::create_dir_all(&plugins).unwrap();
    std::os::unix::fs::symlink(bin.join("tok"), plugins.join("terraform-credentials-tok")).unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    sandbox.set("PATH", format!("{}:{path}", bin.display()));
    sandbox
}

/// Heading, program, and the file that is written.
const PROGRAMS: [(&str, &str, &str); 7] = [
    ("git", "git", ".gitconfig"),
    ("docker", "docker", ".docker/config.json"),
    ("kubectl", "kubernetes", ".kube/config"),
    ("cargo", "cargo", ".cargo/config.toml"),
    ("go", "goauth", ".config/go/env"),
    ("Terraform and OpenTofu", "terraform", ".terraformrc"),
    ("Bazel", "bazel", ".bazelrc"),
];

#[test]
fn each_setup_is_as_the_page_says() {
    let issuer = Server::issuing(600);
    for (heading, program, file) in PROGRAMS {
        let sandbox = world(&issuer);
        let found = blocks(heading);
        let [(sh, command), (_, lines), ..] = found.as_slice() else { panic!("{heading}: {found:?}") };
        assert_eq!((sh.as_str(), command.as_str()), ("sh", format!("tok setup {program} shop --write\n").as_str()));
        // What is printed is what the page shows, and changes nothing.
        let before = sandbox.files();
        sandbox.run(&format!("setup {program} shop")).silent().prints(lines);
        assert_eq!(sandbox.files(), before);
        let needed = if heading == "kubectl" { "kubectl" } else { heading };
        if ["git", "kubectl"].contains(&needed) && lacking(&[needed]).is_some() {
            crate::skip::skip_part!("{needed} is not installed");
            continue;
        }
        // What is written says the same to the program.
        for _ in 0..2 {
            sandbox.run(command.trim().strip_prefix("tok ").unwrap()).silent().prints("");
        }
        let written = fs::read_to_string(sandbox.home().join(file)).unwrap();
        let bare = |text: &str| {
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            lines.map(|line| line.split_whitespace().collect::<String>().replace('"', "")).collect::<Vec<_>>()
        };
        if heading == "kubectl" {
            assert!(written.contains("command: tok") && written.contains("- kubernetes"), "{written}");
        } else {
            assert_eq!(bare(&written), bare(lines), "{heading}");
        }
    }
    assert_eq!(issuer.connections(), 0);
}

#[test]
fn the_page_s_question_has_the_page_s_answer() {
    let issuer = Server::issuing(600);
    let sandbox = world(&issuer);
    let (_, command) = blocks("When it does not work").remove(0);
    let out = sandbox.tok(["--version"]).before(command.trim()).run().ok();
    assert!(out.stdout.starts_with(&format!("username=oauth2\npassword=at-{CANARY}-1\n")), "{out}");
    let other = command.replace("code.example.com", "example.com");
    let out = sandbox.tok(["--version"]).before(&format!("({}) && echo nothing", other.trim())).run().ok();
    assert!(out.stdout.starts_with("nothing\n"), "{out}");
}

fn plain(config: &str) -> Sandbox {
    let sandbox = Sandbox::with_file_store();
    sandbox.provider("plain", &plain_provider("https://id.example.com", ""));
    sandbox.config(config);
    sandbox
}

const SHOP: &str = "[profile.shop]\nprovider = \"plain\"\nhosts = [\"code.example.com\", \"api.example.com:8443\"]\n";

#[test]
fn a_profile_without_hosts_is_told_what_to_add() {
    let sandbox = plain("[profile.shop]\nprovider = \"plain\"\n");
    for program in ["git", "docker", "bazel", "cargo", "goauth", "terraform"] {
        let out = sandbox.run(&format!("setup {program} shop")).fails(3);
        out.says("hosts").hints_at("[profile.shop]");
    }
    sandbox.run("setup kubernetes shop").ok();
    sandbox.run("setup git nobody").fails(3).says("nobody");
    sandbox.run("setup svn shop").fails(2);
    sandbox.run("setup git").fails(2);
    let sandbox = plain("[profile.shop]\nprovider = \"plain\"\nhosts = [\"http://127.0.0.1:5000\"]\n");
    for program in ["docker", "bazel", "cargo", "goauth", "terraform"] {
        sandbox.run(&format!("setup {program} shop")).fails(3).says("none of them is https").hints();
    }
    sandbox.run("setup git shop").ok();
}

#[test]
fn where_two_profiles_have_a_host_the_one_is_named_or_it_is_an_error() {
    let sandbox = plain(&format!("{SHOP}[profile.other]\nprovider = \"plain\"\nhosts = [\"code.example.com\"]\n"));
    for program in ["git", "cargo", "goauth"] {
        let out = sandbox.run(&format!("setup {program} shop")).ok();
        assert!(out.stdout.contains(" --profile shop"), "{out}");
    }
    let out = sandbox.run("setup terraform shop").ok();
    assert!(out.stdout.contains("args = [\"--profile\", \"shop\"]"), "{out}");
    for program in ["docker", "bazel"] {
        sandbox.run(&format!("setup {program} shop")).fails(3).says("another profile");
    }
}

#[test]
fn a_helper_that_is_missing_is_told_and_made_with_write() {
    let mut sandbox = plain(SHOP);
    let bin = sandbox.home().join("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_tok"), bin.join("tok")).unwrap();
    sandbox.set("PATH", format!("{}:/usr/bin:/bin", bin.display()));
    for (program, at) in [
        ("docker", bin.join("docker-credential-tok")),
        ("bazel", bin.join("bazel-credential-tok")),
        ("terraform", sandbox.home().join(".terraform.d/plugins/terraform-credentials-tok")),
    ] {
        let out = sandbox.run(&format!("setup {program} shop")).ok().says("create it with: ln -s ");
        assert!(!at.exists() && out.stderr.contains(at.to_str().unwrap()), "{out}");
        sandbox.run(&format!("setup {program} shop --write")).silent().prints("");
        assert!(fs::canonicalize(&at).unwrap() == fs::canonicalize(env!("CARGO_BIN_EXE_tok")).unwrap());
        sandbox.run(&format!("setup {program} shop")).silent().ok();
    }
}

#[test]
fn what_is_there_is_kept_or_refused_and_never_lost() {
    let mut sandbox = plain(SHOP);
    let bin = sandbox.home().join("bin");
    for name in ["tok", "docker-credential-tok", "bazel-credential-tok"] {
        put(&bin.join(name), b"");
        crate::support::chmod(&bin.join(name), 0o755);
    }
    sandbox.set("PATH", format!("{}:/usr/bin:/bin", bin.display()));
    for (program, file, taken) in [
        ("docker", ".docker/config.json", "{\"credHelpers\":{\"code.example.com\":\"pass\"}}"),
        ("docker", ".docker/config.json", "{ not JSON"),
        ("docker", ".docker/config.json", "[]"),
        ("terraform", ".terraformrc", "credentials_helper \"other\" {\n}\n"),
        ("goauth", ".config/go/env", "GOAUTH=off\n"),
        ("cargo", ".cargo/config.toml", "[registry\n"),
        ("cargo", ".cargo/config.toml", "registry = 1\n"),
    ] {
        let path = sandbox.home().join(file);
        put(&path, taken.as_bytes());
        sandbox.run(&format!("setup {program} shop --write")).fails(1).says(file.rsplit('/').next().unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), taken);
        fs::remove_file(&path).unwrap();
    }
    // Behind a link, with its own mode.
    for (program, file, old) in [
        ("docker", ".docker/config.json", "{\"auths\":{\"x\":{}}}"),
        ("terraform", ".terraformrc", "plugin_cache_dir = \"/x\"\n"),
        ("goauth", ".config/go/env", "GOPROXY=https://proxy.example.com\n"),
        ("cargo", ".cargo/config.toml", "# mine\n[build]\njobs = 1\n"),
        ("bazel", ".bazelrc", "build --jobs=1"),
    ] {
        let (real, link) = (sandbox.home().join(format!("dotfiles/{program}")), sandbox.home().join(file));
        put(&real, old.as_bytes());
        crate::support::chmod(&real, 0o644);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        sandbox.run(&format!("setup {program} shop --write")).silent().prints("");
        let new = fs::read_to_string(&real).unwrap();
        assert!(link.is_symlink() && mode(&real) == 0o644 && new != old, "{program}: {new}");
        assert!(new.contains(if program == "docker" { "\"x\": {}" } else { old.trim() }), "{program}: {new}");
    }
}

#[test]
fn variables_say_where_a_config_is() {
    let mut sandbox = plain(SHOP);
    let bin = sandbox.home().join("bin");
    for name in ["tok", "docker-credential-tok"] {
        put(&bin.join(name), b"");
        crate::support::chmod(&bin.join(name), 0o755);
    }
    sandbox.set("PATH", format!("{}:/usr/bin:/bin", bin.display()));
    let at = |name: &str| sandbox.home().join("elsewhere").join(name);
    for (program, variable, value, file) in [
        ("docker", "DOCKER_CONFIG", at(""), at("config.json")),
        ("cargo", "CARGO_HOME", at(""), at("config.toml")),
        ("goauth", "GOENV", at("go.env"), at("go.env")),
        ("terraform", "TF_CLI_CONFIG_FILE", at("rc"), at("rc")),
    ] {
        let words = ["setup", program, "shop", "--write"];
        sandbox.tok(words).env(variable, value).run().silent().prints("");
        assert!(file.exists(), "{program}");
    }
    sandbox.tok(["setup", "goauth", "shop", "--write"]).env("GOENV", "off").run().fails(1).says("GOENV");
}

#[test]
fn tok_that_is_not_on_path_is_called_by_its_path() {
    let mut sandbox = plain(SHOP);
    sandbox.set("PATH", "/nonexistent");
    let own = fs::canonicalize(env!("CARGO_BIN_EXE_tok")).unwrap();
    for program in ["git", "cargo", "goauth", "kubernetes"] {
        let out = sandbox.run(&format!("setup {program} shop")).ok();
        assert!(out.stdout.contains(own.to_str().unwrap()), "{out}");
    }
}
