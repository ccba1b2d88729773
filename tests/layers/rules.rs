//! The rules of the house, and who breaks them.

use std::collections::BTreeSet;
use std::fmt;

use crate::circles::{Crate, between_folders, circles, folder_of, way_round, within};
use crate::source::{Path, Source, Tree, read};

/// One folder of `src`, or one file in it. Lists are words with blanks between them.
pub(crate) struct Layer {
    pub(crate) name: &'static str,
    /// Layers that it may use; each stands above it in the table.
    uses: &'static str,
    /// Crates that it may use beside std.
    crates: &'static str,
}

pub(crate) const fn layer(name: &'static str, uses: &'static str, crates: &'static str) -> Layer {
    Layer { name, uses, crates }
}

/// Something that some layers may not name.
pub(crate) struct Ban {
    layers: &'static str,
    what: What,
    why: &'static str,
}

pub(crate) const fn ban(layers: &'static str, what: What, why: &'static str) -> Ban {
    Ban { layers, what, why }
}

/// A path is written as `std::net`; a `*` at its end stands for the rest of a name.
pub(crate) enum What {
    /// Paths that begin with one of these.
    Below(&'static str),
    /// What is below the first, but for these names.
    BelowBut(&'static str, &'static str),
    /// These names in a row anywhere in a path.
    Within(&'static str),
    /// A word of the language, or a call of a method as `.elapsed`.
    Word(&'static str),
}

/// Whether `word` is in `list`.
pub(crate) fn has(list: &str, word: &str) -> bool {
    list.split_whitespace().any(|other| other == word)
}

/// All rules.
pub(crate) struct Rules {
    pub(crate) layers: &'static [Layer],
    pub(crate) bans: &'static [Ban],
    /// Uses of a layer by another that are still to go.
    pub(crate) tolerated_uses: &'static [(&'static str, &'static str)],
    /// Banned paths that a file still names.
    pub(crate) tolerated_paths: &'static [(&'static str, &'static str)],
    /// Circles of files that are still to be opened.
    pub(crate) tolerated_circles: &'static [&'static str],
}

/// A rule that is broken, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Breach {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) rule: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.rule)
    }
}

/// What main.rs and lib.rs use is free: they put the house together.
const ROOTS: [&str; 2] = ["main", "lib"];

impl Rules {
    /// Everything that is wrong with `tree`, whose manifest names `dependencies`.
    pub(crate) fn breaches(&self, tree: &Tree, dependencies: &[String]) -> Vec<Breach> {
        let sources = read(tree);
        let house = Crate::new(&sources);
        let mut breaches = BTreeSet::new();
        let (mut uses_seen, mut paths_seen) = (BTreeSet::new(), BTreeSet::new());
        for (file, source) in &sources {
            let layer = folder_of(file);
            let mut breach = |line: usize, rule: String| {
                let file = file.clone();
                breaches.insert(Breach { file, line, rule });
            };
            for (line, path, rule) in self.find_banned(layer, source, &house) {
                let is_tolerated = self.tolerated_paths.contains(&(file, &path));
                paths_seen.insert((file.as_str(), path));
                if !is_tolerated {
                    breach(line, rule);
                }
            }
            if ROOTS.contains(&layer) {
                continue;
            }
            let Some(row) = self.layers.iter().find(|row| row.name == layer) else {
                breach(
                    1,
                    format!("{layer} is no layer; give it its row in the table"),
                );
                continue;
            };
            let exported = source.exported.values().chain(&source.exported_globs);
            for named in source.named.iter().chain(exported) {
                let path = named.path.join("::");
                if let Some(file) = house.file_of(&named.path) {
                    let used = folder_of(file);
                    uses_seen.insert((row.name, used.to_owned()));
                    let is_tolerated = self.tolerated_uses.contains(&(row.name, used));
                    if used != layer && !has(row.uses, used) && !is_tolerated {
                        breach(named.line, format!("{layer} may not use {used}: {path}"));
                    }
                } else if let Some(name) = named.path.first() {
                    let is_crate = dependencies.contains(name);
                    if is_crate && !has(row.crates, name) {
                        breach(named.line, format!("{layer} may not use the crate {name}"));
                    }
                }
            }
        }
        for (from, to) in self.tolerated_uses {
            if !uses_seen.contains(&(*from, (*to).to_owned())) {
                breaches.insert(whole(format!("{from} uses {to} no more: strike it off")));
            }
        }
        for (file, path) in self.tolerated_paths {
            if !paths_seen.contains(&(*file, (*path).to_owned())) {
                breaches.insert(whole(format!("{file} names {path} no more: strike it off")));
            }
        }
        breaches.extend(self.find_circles(&house));
        breaches.extend(self.find_mistakes());
        breaches.into_iter().collect()
    }

    /// Crates that stand in the row of a layer which does not use them.
    pub(crate) fn idle_crates(&self, tree: &Tree) -> Vec<String> {
        let mut seen = BTreeSet::new();
        for (file, source) in &read(tree) {
            let exported = source.exported.values().chain(&source.exported_globs);
            for named in source.named.iter().chain(exported) {
                seen.extend(
                    named
                        .path
                        .first()
                        .map(|name| (folder_of(file).to_owned(), name.clone())),
                );
            }
        }
        let mut idle = Vec::new();
        for layer in self
            .layers
            .iter()
            .filter(|layer| seen.iter().any(|(of, _)| of == layer.name))
        {
            for name in layer.crates.split_whitespace() {
                if !seen.contains(&(layer.name.to_owned(), name.to_owned())) {
                    idle.push(format!(
                        "{} does not use the crate {name}: strike it off",
                        layer.name
                    ));
                }
            }
        }
        idle
    }

    /// What is tolerated, for people: the circles with each step.
    pub(crate) fn tolerated(&self, tree: &Tree) -> Vec<String> {
        let uses = self.tolerated_uses.iter();
        let uses = uses.map(|(from, to)| format!("{from} uses {to}"));
        let paths = self.tolerated_paths.iter();
        let paths = paths.map(|(file, path)| format!("{file} names {path}"));
        let mut lines: Vec<String> = uses.chain(paths).collect();
        let sources = read(tree);
        let needs = Crate::new(&sources).needs();
        for circle in circles(&needs) {
            lines.push(format!("{} files in a circle:", circle.len()));
            lines.extend(within(&needs, &circle));
        }
        lines
    }

    /// Line, path or word, and rule of all that `source` names though it is banned there.
    fn find_banned(
        &self,
        layer: &str,
        source: &Source,
        house: &Crate<'_>,
    ) -> Vec<(usize, String, String)> {
        let exported = source.exported.values().chain(&source.exported_globs);
        let named: Vec<(usize, Path)> = source
            .named
            .iter()
            .chain(exported)
            .map(|named| (named.line, house.origin_of(&named.path)))
            .collect();
        let mut found = Vec::new();
        for ban in self.bans.iter().filter(|ban| has(ban.layers, layer)) {
            let mut add = |line: usize, name: String| {
                let rule = format!("{layer}: {name} ({})", ban.why);
                found.push((line, name, rule));
            };
            for (line, path) in named.iter().filter(|(_, path)| ban.what.holds_path(path)) {
                add(*line, path.join("::"));
            }
            for (line, word) in &source.words {
                if matches!(ban.what, What::Word(banned) if banned == word) {
                    add(*line, word.clone());
                }
            }
        }
        found
    }

    fn find_circles(&self, house: &Crate<'_>) -> Vec<Breach> {
        let needs = house.needs();
        let of_files = circles(&needs);
        let mut breaches = Vec::new();
        for circle in &of_files {
            let is_tolerated = self
                .tolerated_circles
                .iter()
                .any(|known| circle.iter().all(|file| has(known, file)));
            if !is_tolerated {
                let (len, way) = (circle.len(), way_round(&needs, circle));
                breaches.push(whole(format!("{len} files in a circle: {way}")));
                let lines = within(&needs, circle);
                breaches.extend(
                    lines
                        .into_iter()
                        .map(|line| whole(format!("in it: {line}"))),
                );
            }
        }
        for known in self.tolerated_circles {
            let is_there = |file: &str| {
                of_files
                    .iter()
                    .any(|circle| circle.iter().any(|f| f == file))
            };
            for file in known.split_whitespace().filter(|file| !is_there(file)) {
                breaches.push(whole(format!(
                    "{file} is in no circle any more: strike it off"
                )));
            }
        }
        // Without what is tolerated, no folder may lead back to itself.
        let mut folders = between_folders(&needs);
        for (from, to) in self.tolerated_uses {
            folders.get_mut(*from).map(|needed| needed.remove(*to));
        }
        for circle in circles(&folders) {
            let way = way_round(&folders, &circle);
            breaches.push(whole(format!(
                "{} folders in a circle: {way}",
                circle.len()
            )));
        }
        breaches
    }

    /// The table itself has no circle: each row names rows above it only.
    fn find_mistakes(&self) -> Vec<Breach> {
        let mut breaches = Vec::new();
        for (place, layer) in self.layers.iter().enumerate() {
            for used in layer.uses.split_whitespace() {
                if !self.layers[..place].iter().any(|above| above.name == used) {
                    let name = layer.name;
                    breaches.push(whole(format!(
                        "{used} does not stand above {name} in the table"
                    )));
                }
            }
        }
        breaches
    }
}

/// A breach that is no single line's.
fn whole(rule: String) -> Breach {
    Breach {
        file: "src".to_owned(),
        line: 1,
        rule,
    }
}

impl What {
    fn holds_path(&self, path: &[String]) -> bool {
        match self {
            Self::Below(prefixes) => prefixes
                .split_whitespace()
                .any(|prefix| is_below(path, prefix)),
            Self::BelowBut(prefix, names) => {
                let mut rest = path.iter().skip(prefix.split("::").count());
                is_below(path, prefix) && rest.len() > 0 && !rest.any(|name| has(names, name))
            }
            Self::Within(words) => {
                let words: Vec<&str> = words.split("::").collect();
                path.windows(words.len()).any(|window| window == words)
            }
            Self::Word(_) => false,
        }
    }
}

fn is_below(path: &[String], prefix: &str) -> bool {
    let mut names = path.iter();
    prefix.split("::").all(|wanted| {
        names
            .next()
            .is_some_and(|name| match wanted.strip_suffix('*') {
                Some(beginning) => name.starts_with(beginning),
                None => name == wanted,
            })
    })
}
