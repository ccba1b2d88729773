//! What is installed beside the program says what the program says: man pages and completions against
//! `--help` and the keys. What installing them does is proven by run.sh.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn completions_offer_the_options_of_help_and_no_others() {
    let help = help();
    let options = options_in(&help);
    assert!(options.len() > 15, "only {options:?} were found");
    for (file, offered) in [
        ("websock.bash", options_in_bash as fn(&str) -> _),
        ("_websock", options_in_zsh),
        ("websock.fish", options_in_fish),
    ] {
        let offered = offered(&read(&format!("packaging/completions/{file}")));
        let missing: Vec<_> = options.difference(&offered).collect();
        assert!(missing.is_empty(), "{file} does not know {missing:?}");
        let known: BTreeSet<&str> = options.iter().map(|name| bare(name)).collect();
        let unknown: Vec<_> = offered
            .iter()
            .filter(|name| !known.contains(bare(name)) && bare(name) != "ini")
            .collect();
        assert!(unknown.is_empty(), "{file} has {unknown:?}, --help has not");
    }
}

#[test]
fn completions_offer_the_commands_of_help() {
    let help = help();
    let usage = help
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("websock "));
    let commands = usage.and_then(|usage| usage.split(' ').next());
    let commands: Vec<&str> = commands.unwrap_or_default().split('|').collect();
    assert!(commands.len() > 2, "only {commands:?} were found");
    for file in ["websock.bash", "_websock", "websock.fish"] {
        let text = read(&format!("packaging/completions/{file}"));
        for command in &commands {
            let is_offered = text.lines().any(|line| match file {
                "websock.bash" => line.contains("offered+=' send") && contains(line, command),
                "_websock" => line.contains("$server") && contains(line, command),
                _ => line.contains(&format!("__fish_use_subcommand -a {command} ")),
            });
            assert!(is_offered, "{file} does not offer {command}");
        }
    }
}

fn contains(line: &str, word: &str) -> bool {
    let mut words = line.split(|c: char| !c.is_ascii_alphanumeric());
    words.any(|one| one == word)
}

#[test]
fn completions_offer_the_proxies_that_are_printed() {
    for proxy in ["nginx", "apache", "caddy", "haproxy"] {
        assert!(help().contains(proxy), "--help does not name {proxy}");
        for file in ["websock.bash", "_websock", "websock.fish"] {
            let text = read(&format!("packaging/completions/{file}"));
            assert!(text.contains(proxy), "{file} does not know {proxy}");
        }
    }
}

#[test]
fn websock_1_has_every_option_and_word_of_help() {
    let page = unescaped(&built_file("websock.1"));
    let help = help().replace('…', "...");
    for option in options_in(&help) {
        assert!(
            page.lines()
                .any(|line| { line.starts_with(".B ") && words(line).any(|word| word == option) })
                || page.contains(&format!("({option} ")),
            "websock(1) has no entry for {option}"
        );
    }
    let page: BTreeSet<&str> = words(&page).collect();
    let body = help
        .split_once("\n\n")
        .and_then(|(_, rest)| rest.split_once("\n\n"));
    let (_, body) = body.expect("title, usage and options");
    let missing: Vec<_> = words(body).filter(|word| !page.contains(word)).collect();
    assert!(missing.is_empty(), "websock(1) has not {missing:?}");
}

#[test]
fn websock_ini_5_has_every_key_of_the_table_and_what_is_said_of_it() {
    let page = unescaped(&built_file("websock.ini.5"));
    let keys = keys_of_the_table();
    assert!(keys.len() > 40, "only {} keys were found", keys.len());
    for key in keys {
        let line = format!(".B {key}=");
        assert!(
            page.lines().any(|entry| entry.starts_with(&line)),
            "websock.ini(5) has no entry for {key}"
        );
    }
    let ini = read("websock.ini");
    let comments: String = ini
        .lines()
        .skip(1)
        .filter(|line| line.starts_with(';'))
        .map(|line| format!("{}\n", line.trim_matches([';', ' ', '-'])))
        .collect();
    let page: BTreeSet<&str> = words(&page).collect();
    let missing: Vec<_> = words(&comments)
        .filter(|word| !page.contains(word))
        .collect();
    assert!(missing.is_empty(), "websock.ini(5) has not {missing:?}");
}

#[test]
fn the_ini_file_of_the_service_differs_in_the_demo_page_only() {
    let shipped = read("websock.ini");
    let service = built_file("websock.ini");
    let differing: Vec<_> = shipped
        .lines()
        .zip(service.lines())
        .filter(|(one, other)| one != other)
        .collect();
    assert_eq!(differing, [("demo=true", "demo=false")]);
    assert_eq!(shipped.lines().count(), service.lines().count());
}

/// The names that are found, so that the tests above do look at something.
#[test]
fn options_are_found_where_they_stand() {
    let found =
        options_in("  -a FILE   text -b\n  -c, --long [V]  (-d as well)\n  x [--e U | --f]\n");
    let expected = ["--e", "--f", "--long", "-a", "-c", "-d"].map(str::to_owned);
    assert_eq!(found, BTreeSet::from(expected));
    let found = options_in_bash("--a)\n offered=' -b --c-d'\n offered+='-e' ;;\n# --not");
    let expected = ["--c-d", "-b", "-e"].map(str::to_owned);
    assert_eq!(found, BTreeSet::from(expected));
    let found = options_in_zsh("local -a x=(\n '(-f)'{-g,--h}'[-x]'\n '--i[y]:z:'\n)\n# --no");
    let expected = ["--h", "--i", "-f", "-g"].map(str::to_owned);
    assert_eq!(found, BTreeSet::from(expected));
    let found = options_in_fish("complete -c websock -n x -s v -l verbose -d 'with -l other'\n");
    assert_eq!(
        found,
        BTreeSet::from(["--verbose", "-v"].map(str::to_owned))
    );
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    let path = root().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn help() -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_websock"))
        .arg("--help")
        .output()
        .expect("the program");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// What `packaging/build.sh files` makes; each call has a directory of its own.
fn built_file(name: &str) -> String {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("packaging-{name}"));
    let output = Command::new("sh")
        .arg(root().join("packaging/build.sh"))
        .arg("files")
        .arg(&directory)
        .env("WEBSOCK", env!("CARGO_BIN_EXE_websock"))
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    fs::read_to_string(directory.join(name)).expect("what it has made")
}

/// The names of `src/config/keys.rs`.
fn keys_of_the_table() -> Vec<String> {
    let text = read("src/config/keys.rs");
    let (_, table) = text.split_once("const KEYS").expect("the table");
    table
        .split("\n    key(\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next().map(str::to_owned))
        .collect()
}

/// The options of `--help`: those that begin a line, stand beside one that does, or in brackets.
fn options_in(help: &str) -> BTreeSet<String> {
    let mut options = BTreeSet::new();
    for line in help.lines().filter(|line| line.starts_with("  ")) {
        let is_entry = line.starts_with("  -");
        let head = line.trim_start().split("  ").next().unwrap_or_default();
        let heads = words(head).filter(|_| is_entry);
        let bracketed = line
            .split(['[', '|', '('])
            .skip(1)
            .filter_map(|part| words(part).next());
        let names = heads.chain(bracketed).filter(|word| is_option(word));
        options.extend(names.map(str::to_owned));
    }
    options
}

/// All options that a script of bash offers.
fn options_in_bash(text: &str) -> BTreeSet<String> {
    let lines = text.lines().map(str::trim_start);
    let offers =
        lines.filter_map(|line| line.split_once("offered=").or(line.split_once("offered+=")));
    let names = offers.flat_map(|(_, names)| names.split([' ', '\'']));
    let names = names.filter(|name| is_option(name));
    names.map(str::to_owned).collect()
}

/// All options that a script of zsh names, comments left out.
fn options_in_zsh(text: &str) -> BTreeSet<String> {
    let lines = text.lines().map(str::trim_start);
    let offers = lines.filter(|line| !line.starts_with('#') && !line.starts_with("local "));
    let mut options = BTreeSet::new();
    // What an option is for stands in brackets.
    for part in offers.flat_map(|line| line.split('[')) {
        let part = part.split_once(']').map_or(part, |(_, rest)| rest);
        let names = part.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
        options.extend(names.filter(|name| is_option(name)).map(str::to_owned));
    }
    options
}

/// All options that a script of fish gives to websock: `-s` short, `-o` one dash, `-l` two.
fn options_in_fish(text: &str) -> BTreeSet<String> {
    let mut options = BTreeSet::new();
    for line in text.lines().filter(|line| line.starts_with("complete ")) {
        let line = line.split(" -d ").next().unwrap_or_default();
        let words: Vec<&str> = line.split(' ').collect();
        for pair in words.windows(2) {
            match pair {
                ["-s" | "-o", name] => options.insert(format!("-{name}")),
                ["-l", name] => options.insert(format!("--{name}")),
                _ => false,
            };
        }
    }
    options
}

/// Without its dashes.
fn bare(option: &str) -> &str {
    option.trim_start_matches('-')
}

fn is_option(word: &str) -> bool {
    let name = bare(word);
    let dashes = word.len() - name.len();
    (1..=2).contains(&dashes) && name.starts_with(|c: char| c.is_ascii_alphabetic())
}

/// Without what roff needs before some characters.
fn unescaped(page: &str) -> String {
    page.replace("\\-", "-")
        .replace("\\&", "")
        .replace("\\e", "\\")
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace()
        .map(|word| word.trim_matches([',', ';', ']', '[', '"']))
        .filter(|word| !word.is_empty())
}
