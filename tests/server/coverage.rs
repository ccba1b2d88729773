//! The rows of docs/protocol.md against the tests: a guaranteed row without a test fails the suite,
//! and so does a test that does not say what it is for.
//!
//! Each test says above its `#[test]` which row it is for, as `// protocol.md 2.2`, or which other
//! promise it keeps, as `// promise: one bad peer costs one connection`. The modules are those in
//! this directory, and the rows those of the document: neither is listed here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Rows that are shown elsewhere: a file, and one of its tests for the row.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    (
        "6.2",
        "tests/server_tls/records.rs",
        "each_frame_to_a_script_has_a_record_of_its_own_and_no_blanks",
    ),
    (
        "7.1",
        "tests/cli/main.rs",
        "an_ini_beside_the_executable_is_found",
    ),
    (
        "7.2",
        "tests/cli/main.rs",
        "console_does_not_swallow_an_option",
    ),
    (
        "7.3",
        "tests/cli/main.rs",
        "the_2021_ini_of_php_is_in_force_as_it_is",
    ),
];

/// Guaranteed rows that are not built yet. Whoever builds one takes it out of here.
const NOT_BUILT_YET: &[&str] = &[];

/// A file of this package.
fn package_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[track_caller]
fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A row of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    Guaranteed,
    /// It may change, or is planned.
    Open,
}

/// Every row of these tables: `| 2.6a | behaviour | guaranteed |`. What stands last says whether it
/// is guaranteed, in full or (as in 7.6) in part.
fn rows_in(document: &str) -> BTreeMap<String, Row> {
    let mut rows = BTreeMap::new();
    for line in document.lines() {
        let Some(cells) = line.strip_prefix("| ").and_then(|l| l.strip_suffix(" |")) else {
            continue;
        };
        let Some((name, rest)) = cells.split_once(" | ") else {
            continue;
        };
        if !is_row_name(name) {
            continue;
        }
        let status = rest.rsplit(" | ").next().unwrap_or_default();
        let row = match status.split([' ', ',']).next() {
            Some("guaranteed") => Row::Guaranteed,
            Some("planned") => Row::Open,
            Some("may") if status == "may change" => Row::Open,
            _ => panic!("row {name} of docs/protocol.md says neither guaranteed nor planned"),
        };
        let other = rows.insert(name.to_owned(), row);
        assert_eq!(other, None, "row {name} is there twice");
    }
    rows
}

/// `2.6`, or `2.6a` for one that was put in later.
fn is_row_name(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    name.split_once('.').is_some_and(|(section, number)| {
        digits(section) && digits(number.trim_end_matches(|c: char| c.is_ascii_lowercase()))
    })
}

/// What a test is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Purpose {
    Row(String),
    Promise(String),
}

/// The tests of a module with their purposes. Panics if one has none.
#[track_caller]
fn tests_in(module: &str, source: &str) -> Vec<(String, Vec<Purpose>)> {
    let (mut tests, mut purposes, mut is_test) = (Vec::new(), Vec::new(), false);
    for line in source.lines() {
        if let Some(row) = line.strip_prefix("// protocol.md ") {
            purposes.push(Purpose::Row(row.to_owned()));
        } else if let Some(promise) = line.strip_prefix("// promise: ") {
            purposes.push(Purpose::Promise(promise.to_owned()));
        } else if line == "#[test]" {
            is_test = true;
        } else if let Some(signature) = line.strip_prefix("fn ").filter(|_| is_test) {
            let name = signature.split('(').next().unwrap_or_default();
            assert!(
                !purposes.is_empty(),
                "{module}::{name} does not say what it is for"
            );
            let purposes = std::mem::take(&mut purposes);
            tests.push((format!("{module}::{name}"), purposes));
            is_test = false;
        }
    }
    assert!(purposes.is_empty(), "{module}: {purposes:?} without a test");
    tests
}

/// The modules of this suite and their sources: each file is one, and each is compiled.
#[track_caller]
fn modules() -> Vec<(String, String)> {
    let directory = package_file("tests/server");
    let main = read(&directory.join("main.rs"));
    let mut modules = Vec::new();
    for entry in fs::read_dir(&directory).expect("the suite's directory") {
        let path = entry.expect("an entry").path();
        let is_source = path.extension().is_some_and(|extension| extension == "rs");
        let name = path.file_stem().and_then(|stem| stem.to_str());
        let name = name.expect("a name").to_owned();
        if is_source && name != "main" {
            let is_compiled = main.lines().any(|line| line == format!("mod {name};"));
            assert!(is_compiled, "tests/server/main.rs has no `mod {name};`");
            modules.push((name, read(&path)));
        }
    }
    modules
}

/// Purpose → its tests.
fn tests_by_purpose() -> BTreeMap<Purpose, Vec<String>> {
    let mut tests_by_purpose: BTreeMap<Purpose, Vec<String>> = BTreeMap::new();
    for (module, source) in modules() {
        for (test, purposes) in tests_in(&module, &source) {
            for purpose in purposes {
                tests_by_purpose
                    .entry(purpose)
                    .or_default()
                    .push(test.clone());
            }
        }
    }
    tests_by_purpose
}

// promise: every guaranteed row has a test, and every test says what it is for
#[test]
fn every_guaranteed_row_has_a_test() {
    let rows = rows_in(&read(&package_file("docs/protocol.md")));
    assert!(rows.len() > 50, "only {} rows were found", rows.len());
    let mut tested = BTreeSet::new();
    for (purpose, tests) in tests_by_purpose() {
        match &purpose {
            Purpose::Promise(promise) => println!("{promise}"),
            Purpose::Row(row) => {
                println!("{row}");
                assert!(
                    rows.contains_key(row),
                    "docs/protocol.md has no row {row}: {tests:?}"
                );
                tested.insert(row.clone());
            }
        }
        for test in tests {
            println!("    {test}");
        }
    }
    for (row, file, test) in ELSEWHERE {
        assert!(rows.contains_key(*row), "docs/protocol.md has no row {row}");
        let signature = format!("#[test]\nfn {test}() {{");
        let is_there = read(&package_file(file)).contains(&signature);
        assert!(
            is_there,
            "{file} has no test {test}, which is for row {row}"
        );
        assert!(!tested.contains(*row), "row {row} is here and elsewhere");
    }
    let untested: Vec<&str> = rows
        .iter()
        .filter(|(_, status)| **status == Row::Guaranteed)
        .map(|(row, _)| row.as_str())
        .filter(|row| !tested.contains(*row) && !ELSEWHERE.iter().any(|(other, ..)| other == row))
        .collect();
    assert_eq!(untested, NOT_BUILT_YET, "guaranteed rows without a test");
}

// promise: every guaranteed row has a test, and every test says what it is for
#[test]
fn rows_and_purposes_are_read_as_they_are_written() {
    let document = "| row | behaviour | |\n| --- | --- | --- |\n\
        | 1.1 | A or B | guaranteed |\n| 2.6a | \"a\"|\"b\" | may change |\n\
        | 10.1 | x | planned |\n| 7.6 | Texts | guaranteed for these; the rest may change |\n\
        | 200 ms | 1 | 2 |\n";
    let row = |name: &str, row| (name.to_owned(), row);
    let expected = BTreeMap::from([
        row("1.1", Row::Guaranteed),
        row("2.6a", Row::Open),
        row("7.6", Row::Guaranteed),
        row("10.1", Row::Open),
    ]);
    assert_eq!(rows_in(document), expected);
    assert!(std::panic::catch_unwind(|| rows_in("| 1.1 | A | bind |")).is_err());

    let source = "// protocol.md 1.1\n// promise: p\n#[test]\nfn a() {\n}\nfn helper() {}\n";
    let purposes = vec![Purpose::Row("1.1".into()), Purpose::Promise("p".into())];
    assert_eq!(tests_in("m", source), [("m::a".to_owned(), purposes)]);
    for wrong in [
        "#[test]\nfn a() {}\n",
        "// protocol.md 1.1\nfn helper() {}\n",
    ] {
        assert!(std::panic::catch_unwind(|| tests_in("m", wrong)).is_err());
    }
}
