//! The docs against the repository: every key has its row, and every link leads somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use websock::api::metrics::METRICS;
use websock::api::{Metric, MetricKind};
use websock::config::{Config, Effect, effect_of};

#[test]
fn every_key_of_the_shipped_ini_has_a_row_with_its_default() {
    let ini = keys_of(&read("websock.ini"));
    assert!(ini.len() > 40, "only {} keys were found", ini.len());
    let rows = key_rows_of(&read("docs/configuration.md"));
    let names: BTreeSet<&str> = ini.iter().map(|(name, _)| name.as_str()).collect();
    let described: BTreeSet<&str> = rows.iter().map(|(name, _)| name.as_str()).collect();
    let missing: Vec<_> = names.difference(&described).collect();
    assert!(
        missing.is_empty(),
        "docs/configuration.md has no row for {missing:?}"
    );
    let unknown: Vec<_> = described.difference(&names).collect();
    assert!(
        unknown.is_empty(),
        "docs/configuration.md has rows for {unknown:?}, which websock.ini has not"
    );
    for (name, default) in &ini {
        let cell = rows
            .iter()
            .find(|(row, _)| row == name)
            .map(|(_, cell)| cell);
        // Switched on in the shipped file, to show the first message; its row says so.
        let expected = if default.is_empty() { "none" } else { default };
        assert!(
            cell.is_some_and(|cell| words(cell).any(|word| word == expected) || name == "demo"),
            "{name} is {expected} in websock.ini, and {cell:?} in docs/configuration.md"
        );
    }
}

#[test]
fn the_docs_say_of_every_key_when_a_change_takes_effect() {
    let docs = read("docs/configuration.md");
    let said = |key: &str| {
        let mut rows = docs
            .lines()
            .filter(|line| line.contains(&format!("`{key}`")));
        rows.find_map(|row| match row.split('|').nth(1).map(str::trim) {
            Some("at once") => Some(Effect::AtOnce),
            Some("for newcomers") => Some(Effect::Newcomers),
            Some("at a restart") => Some(Effect::Restart),
            Some(_) | None => None,
        })
    };
    let settings = Config::default().settings;
    assert!(
        settings.len() > 40,
        "only {} keys were found",
        settings.len()
    );
    for setting in settings {
        assert_eq!(
            said(setting.key),
            Some(effect_of(setting.key)),
            "{}",
            setting.key
        );
    }
}

#[test]
fn every_relative_link_leads_to_a_file_and_a_heading() {
    let files = documents();
    assert!(files.len() > 12, "only {} files were found", files.len());
    let mut dead = Vec::new();
    let mut count = 0;
    for file in &files {
        for link in links_of(&read(file)) {
            count += 1;
            if let Err(reason) = follow(file, &link) {
                dead.push(format!("{}: {link}: {reason}", file.display()));
            }
        }
    }
    assert!(count > 40, "only {count} links were found");
    assert!(dead.is_empty(), "\n{}", dead.join("\n"));
}

#[test]
fn every_file_of_the_source_that_the_map_names_is_there() {
    let text = read("ARCHITECTURE.md");
    let named: Vec<&str> = code_spans(&text)
        .filter(|span| span.ends_with(".rs") && span.contains('/') && !span.contains(' '))
        .collect();
    assert!(named.len() > 15, "only {} files were found", named.len());
    for file in named {
        assert!(
            root().join("src").join(file).is_file(),
            "ARCHITECTURE.md names {file}, which src has not"
        );
    }
}

#[test]
fn every_metric_has_its_row_and_what_monitoring_asks_for_is_told() {
    let rows = rows_below(&read("docs/operations.md"), "metric");
    let metrics: Vec<Vec<String>> = METRICS
        .iter()
        .map(|metric| {
            let labels: Vec<_> = metric.labels.split(' ').map(|l| format!("`{l}`")).collect();
            let labels = match metric.labels {
                "" => "–".to_owned(),
                _ => labels.join(", "),
            };
            let name = format!("`{}`", metric.name);
            let kind = metric.kind.as_str().to_owned();
            vec![name, kind, labels, metric.help.to_owned()]
        })
        .collect();
    assert_eq!(rows, metrics, "docs/operations.md has other rows");
    for file in ["websock.rules.yml", "grafana-dashboard.json"] {
        let text = read(format!("packaging/monitoring/{file}"));
        let names = metric_names_in(&text);
        assert!(names.len() > 8, "{file} names only {names:?}");
        let is_told = |name: &str| METRICS.iter().any(|m| metric_samples(m).any(|n| n == name));
        let unknown: Vec<_> = names.iter().filter(|name| !is_told(name)).collect();
        assert!(unknown.is_empty(), "{file} names {unknown:?}");
    }
}

#[test]
fn every_alert_has_its_row() {
    let rules = read("packaging/monitoring/websock.rules.yml");
    let alerts = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    let alerts: Vec<String> = alerts.map(|name| format!("`{name}`")).collect();
    assert!(alerts.len() > 8, "only {alerts:?}");
    let rows = rows_below(&read("docs/operations.md"), "alert");
    let rows: Vec<&String> = rows.iter().filter_map(|row| row.first()).collect();
    assert_eq!(rows, alerts.iter().collect::<Vec<_>>());
    let tests = read("tests/monitoring/rules.test.yml");
    for alert in &alerts {
        let name = alert.trim_matches('`');
        assert!(
            tests.contains(&format!("alertname: {name}\n")),
            "no test of {name}"
        );
    }
}

/// The links and rows that are found, so that the tests above do look at something.
#[test]
fn links_keys_and_rows_are_found_where_they_stand() {
    let text =
        "a [b](c.md#d-e), ![p](q.png) `[no](code)`\n```\n[no](fence)\n```\n[w](https://w.org)";
    assert_eq!(links_of(text), ["c.md#d-e", "q.png"]);
    let keys = keys_of("; a=1\n[section]\nb=2 \nc=''\n");
    assert_eq!(keys, [pair("b", "2"), pair("c", "")]);
    let rows = key_rows_of(
        "| key | default | x |\n| --- | --- | --- |\n| `a`, `b` | 1, 2 | y |\n\n\
         | word | meaning |\n| --- | --- |\n| `c` | 3 |\n",
    );
    assert_eq!(rows, [pair("a", "1, 2"), pair("b", "1, 2")]);
    assert_eq!(
        anchor_of("Who may connect, and `x`"),
        "who-may-connect-and-x"
    );
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: impl AsRef<Path>) -> String {
    let path = root().join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All that people read, as names below the root.
fn documents() -> Vec<PathBuf> {
    [
        "",
        "docs",
        "tests",
        "benches",
        "fuzz",
        "clients/js",
        "clients/php",
    ]
    .iter()
    .flat_map(|folder| {
        let entries = fs::read_dir(root().join(folder)).expect("a folder of the repository");
        entries.map(move |entry| Path::new(folder).join(entry.expect("an entry").file_name()))
    })
    .filter(|file| file.extension().is_some_and(|extension| extension == "md"))
    .collect()
}

/// Names and values, without quotes.
fn keys_of(ini: &str) -> Vec<(String, String)> {
    ini.lines()
        .filter(|line| !line.starts_with([';', '#', '[']))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| pair(name.trim(), value.trim().trim_matches('\'')))
        .collect()
}

/// Names and default of each row below a heading `key`; a row may have several names.
fn key_rows_of(text: &str) -> Vec<(String, String)> {
    let mut is_inside = false;
    let mut rows = Vec::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        match cells.as_slice() {
            ["", "key", "default", ..] => is_inside = true,
            ["", names, default, _, ..] if is_inside => {
                rows.extend(code_spans(names).map(|name| pair(name, default)));
            }
            _ => is_inside = false,
        }
    }
    rows
}

/// The cells of each row of the table whose first heading is `heading`.
fn rows_below(text: &str, heading: &str) -> Vec<Vec<String>> {
    let first = format!("| {heading} |");
    let lines = text.lines().skip_while(|line| !line.starts_with(&first));
    let rows = lines.skip(2).take_while(|line| line.starts_with('|'));
    let cells = |line: &str| {
        let cells = line.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().to_owned()).collect()
    };
    rows.map(cells).collect()
}

/// The names of metrics that stand in expressions.
fn metric_names_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with("websock_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

/// The names under which a metric is stored.
fn metric_samples(metric: &Metric) -> impl Iterator<Item = String> {
    let suffixes: &[&str] = match metric.kind {
        MetricKind::Counter | MetricKind::Gauge => &[""],
        MetricKind::Histogram => &["_bucket", "_sum", "_count"],
    };
    suffixes
        .iter()
        .map(|suffix| format!("{}{suffix}", metric.name))
}

/// Targets of links and pictures in this repository; code is passed over.
fn links_of(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    for line in outside_fences(text) {
        // Every second part is code.
        for part in line.split('`').step_by(2) {
            let targets = part
                .split("](")
                .skip(1)
                .filter_map(|rest| rest.split_once(')'));
            links.extend(targets.map(|(target, _)| target.to_owned()));
        }
        // A link whose text ends with code.
        let targets = line
            .split("`](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'));
        links.extend(targets.map(|(target, _)| target.to_owned()));
    }
    links.retain(|link| !link.contains("://"));
    links.sort();
    links.dedup();
    links
}

/// The words of a cell: a value as it is, in code or not, with its unit behind a blank.
fn words(cell: &str) -> impl Iterator<Item = &str> {
    cell.split(' ')
        .map(|word| word.trim_end_matches(',').trim_matches('`'))
}

fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn outside_fences(text: &str) -> impl Iterator<Item = &str> {
    let mut is_fenced = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_fenced ^= is_fence;
        !is_fence && !is_fenced
    })
}

/// Whether the target is there, its heading included.
fn follow(from: &Path, link: &str) -> Result<(), &'static str> {
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = match file {
        "" => root().join(from),
        file => root()
            .join(from.parent().unwrap_or(Path::new("")))
            .join(file),
    };
    if !target.exists() {
        return Err("no such file");
    }
    if anchor.is_empty() {
        return Ok(());
    }
    let text = fs::read_to_string(&target).map_err(|_| "a heading of what is no text")?;
    let mut headings = outside_fences(&text).filter_map(|line| line.strip_prefix('#'));
    let is_there = headings.any(|line| anchor_of(line.trim_start_matches('#').trim()) == anchor);
    is_there.then_some(()).ok_or("no such heading")
}

/// The name under which a heading is linked to.
fn anchor_of(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}
