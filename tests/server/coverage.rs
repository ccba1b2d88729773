//! The rows of docs/protocol.md against the tests: a row marked *bind* without a test fails the suite, and
//! so does a test that names no row.
//!
//! Each test says above its `#[test]` which row it is for, as `// protocol.md 2.2`, or which other
//! promise, as `// issue 2, point 9`.

use std::collections::BTreeMap;

/// Every row marked *bind*, and 7.6, whose texts are.
const ROWS: &[(&str, u32)] = &[("1", 12), ("2", 10), ("3", 5), ("4", 4), ("5", 5), ("7", 8)];

/// Row 2.6a, and the rows of section 6 that bind.
const OTHER_ROWS: [&str; 4] = ["2.6a", "6.1", "6.2", "6.4"];

/// Rows that are shown elsewhere.
const ELSEWHERE: &[(&str, &str)] = &[
    ("6.2", "tests/server_tls/records.rs"),
    ("7.1", "tests/cli"),
    ("7.2", "tests/cli"),
    ("7.3", "tests/cli"),
];

const SOURCES: &[(&str, &str)] = &[
    ("compression", include_str!("compression.rs")),
    ("control", include_str!("control.rs")),
    ("dialogue", include_str!("dialogue.rs")),
    ("echo_example", include_str!("echo_example.rs")),
    ("feedback", include_str!("feedback.rs")),
    ("isolation", include_str!("isolation.rs")),
    ("long_messages", include_str!("long_messages.rs")),
    ("operation", include_str!("operation.rs")),
    ("php_clients", include_str!("php_clients.rs")),
    ("push", include_str!("push.rs")),
    ("upgrade", include_str!("upgrade.rs")),
];

/// Row (or other promise) → its tests. Run with `--nocapture` to see it.
fn tests_by_row() -> BTreeMap<String, Vec<String>> {
    let mut tests_by_row: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (module, source) in SOURCES {
        let mut rows = Vec::new();
        let mut is_test = false;
        for line in source.lines() {
            if let Some(row) = line.strip_prefix("// protocol.md ") {
                rows.push(row.to_owned());
            } else if let Some(promise) = line.strip_prefix("// issue ") {
                rows.push(format!("issue {promise}"));
            } else if line == "#[test]" {
                is_test = true;
            } else if let Some(signature) = line.strip_prefix("fn ").filter(|_| is_test) {
                let name = signature.split('(').next().unwrap_or_default();
                assert!(
                    !rows.is_empty(),
                    "{module}::{name} does not say which row it is for"
                );
                for row in rows.drain(..) {
                    let tests = tests_by_row.entry(row).or_default();
                    tests.push(format!("{module}::{name}"));
                }
                is_test = false;
            }
        }
        assert!(rows.is_empty(), "{module}: {rows:?} without a test");
    }
    tests_by_row
}

#[test]
fn every_row_that_binds_has_a_test() {
    let numbered = ROWS
        .iter()
        .flat_map(|(section, last)| (1..=*last).map(move |number| format!("{section}.{number}")));
    let rows: Vec<String> = numbered.chain(OTHER_ROWS.map(str::to_owned)).collect();
    let tests_by_row = tests_by_row();
    for (row, tests) in &tests_by_row {
        println!("{row}");
        for test in tests {
            println!("    {test}");
        }
        let is_known = row.starts_with("issue ") || rows.contains(row);
        assert!(
            is_known,
            "docs/protocol.md has no row {row} that binds: {tests:?}"
        );
    }
    for row in rows {
        let elsewhere = ELSEWHERE.iter().any(|(other, _)| *other == row);
        let here = tests_by_row.contains_key(&row);
        assert!(here || elsewhere, "no test for row {row}");
        assert!(!(here && elsewhere), "row {row} is here and elsewhere");
    }
}
