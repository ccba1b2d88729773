//! Who needs whom, file by file, and where that goes round in a circle.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Path, Source};

/// A file → the files that it needs.
pub(crate) type Needs = BTreeMap<String, BTreeSet<String>>;

/// The files of a crate and where each name leads.
pub(crate) struct Crate<'a> {
    pub(crate) sources: &'a BTreeMap<String, Source>,
    files: BTreeMap<&'a [String], &'a str>,
}

impl<'a> Crate<'a> {
    pub(crate) fn new(sources: &'a BTreeMap<String, Source>) -> Self {
        let files = sources
            .iter()
            .map(|(file, source)| (source.module.as_slice(), file.as_str()))
            .collect();
        Self { sources, files }
    }

    /// The file in which what `path` names stands, behind all re-exports; none for other crates.
    pub(crate) fn file_of(&self, path: &[String]) -> Option<&'a str> {
        self.follow(path, MAX_RE_EXPORTS).map(|(file, _)| file)
    }

    /// The path without re-exports: by the module in which that stands.
    pub(crate) fn origin_of(&self, path: &[String]) -> Path {
        let Some((file, rest)) = self.follow(path, MAX_RE_EXPORTS) else {
            return path.to_vec();
        };
        let module = self.sources[file].module.as_slice();
        [&["crate".to_owned()], module, &rest].concat()
    }

    /// A file, and what is left of the path in it.
    fn follow(&self, path: &[String], re_exports_left: usize) -> Option<(&'a str, Path)> {
        let (first, path) = path.split_first()?;
        if first != "crate" {
            return None;
        }
        let module_len = (0..=path.len())
            .rev()
            .find(|len| self.files.contains_key(&path[..*len]))?;
        let (module, rest) = path.split_at(module_len);
        let file = self.files[module];
        let source = &self.sources[file];
        let left = re_exports_left.checked_sub(1);
        if let (Some(left), Some((name, rest))) = (left, rest.split_first()) {
            if let Some(named) = source.exported.get(name) {
                let path: Path = [named.path.as_slice(), rest].concat();
                return self.follow(&path, left);
            }
            if !source.defined.contains(name) {
                for glob in &source.exported_globs {
                    let path = [glob.path.as_slice(), std::slice::from_ref(name), rest].concat();
                    let found = self.follow(&path, left);
                    let is_defined =
                        |(file, _): &(&str, Path)| self.sources[*file].defined.contains(name);
                    if let Some(found) = found.filter(is_defined) {
                        return Some(found);
                    }
                }
            }
        }
        Some((file, rest.to_vec()))
    }

    /// Who needs whom: whoever names something needs the file in which that stands. A re-export
    /// alone needs nothing. Whoever gives methods to a type that is defined elsewhere has to name
    /// it, so needs its definition; the definition need not know of them, as a call of a method
    /// names no file.
    pub(crate) fn needs(&self) -> Needs {
        let mut needs: Needs = self
            .sources
            .keys()
            .map(|f| (f.clone(), BTreeSet::new()))
            .collect();
        let mut add = |from: &str, to: &str| {
            if from != to {
                needs
                    .entry(from.to_owned())
                    .or_default()
                    .insert(to.to_owned());
            }
        };
        for (file, source) in self.sources {
            for named in &source.named {
                if let Some(needed) = self.file_of(&named.path) {
                    add(file, needed);
                }
            }
        }
        needs
    }
}

/// Longest chain of re-exports that is followed.
const MAX_RE_EXPORTS: usize = 8;

/// The same between the folders of `src`; a file there counts as one.
pub(crate) fn between_folders(needs: &Needs) -> Needs {
    let mut folders = Needs::new();
    for (from, needed) in needs {
        let from = folder_of(from);
        let needed = needed.iter().map(|file| folder_of(file));
        let needed = needed.filter(|to| *to != from).map(str::to_owned);
        folders.entry(from.to_owned()).or_default().extend(needed);
    }
    folders
}

/// `app` for `src/app/session.rs`, `main` for `src/main.rs`.
pub(crate) fn folder_of(file: &str) -> &str {
    let file = file.strip_prefix("src/").unwrap_or(file);
    let end = file
        .find('/')
        .unwrap_or_else(|| file.trim_end_matches(".rs").len());
    &file[..end]
}

/// Groups of two and more of which each needs each, perhaps by way of others. Each circle lies in
/// one of them.
pub(crate) fn circles(needs: &Needs) -> Vec<Vec<String>> {
    let reach: BTreeMap<&str, BTreeSet<&str>> = needs
        .keys()
        .map(|from| (from.as_str(), reachable(needs, from)))
        .collect();
    let mut circles: Vec<Vec<String>> = Vec::new();
    for from in needs.keys() {
        let is_known = circles.iter().any(|circle| circle.contains(from));
        let of_each_other: Vec<String> = needs
            .keys()
            .filter(|to| {
                *to == from || (reach[&**from].contains(&***to) && reach[&***to].contains(&**from))
            })
            .cloned()
            .collect();
        if !is_known && of_each_other.len() > 1 {
            circles.push(of_each_other);
        }
    }
    circles
}

fn reachable<'a>(needs: &'a Needs, from: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut waiting: Vec<&str> = vec![from];
    while let Some(next) = waiting.pop() {
        for to in needs.get(next).into_iter().flatten() {
            if reached.insert(to.as_str()) {
                waiting.push(to);
            }
        }
    }
    reached
}

/// Who needs whom within a circle, a line for each.
pub(crate) fn within(needs: &Needs, circle: &[String]) -> Vec<String> {
    let mut lines = Vec::new();
    for from in circle {
        for to in needs[from].iter().filter(|to| circle.contains(to)) {
            lines.push(format!("{from} → {to}"));
        }
    }
    lines
}

/// A shortest way round within a circle, for people: a → b → a.
pub(crate) fn way_round(needs: &Needs, circle: &[String]) -> String {
    let start = &circle[0];
    let mut ways = vec![vec![start.clone()]];
    for _ in 0..circle.len() {
        let mut longer = Vec::new();
        for way in ways {
            let last = &way[way.len() - 1];
            for to in &needs[last] {
                if to == start {
                    return [way.as_slice(), std::slice::from_ref(to)]
                        .concat()
                        .join(" → ");
                }
                if circle.contains(to) && !way.contains(to) {
                    longer.push([way.as_slice(), std::slice::from_ref(to)].concat());
                }
            }
        }
        ways = longer;
    }
    circle.join(", ")
}
