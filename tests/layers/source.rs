//! What a source file names: paths with imports spread out, re-exports, `unsafe`, and the types that
//! it has an `impl` for. Comments, texts and everything under `#[cfg(test)]` are left out.
//!
//! The code is read as a stream of tokens, so that what a macro is given counts, too.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// Files by their path in the package, as `src/app/session.rs`, with their text.
pub(crate) type Tree = BTreeMap<String, String>;

/// A path as it is seen from the crate's root, `crate::app::Session`, or from outside of it,
/// `std::net::IpAddr`.
pub(crate) type Path = Vec<String>;

/// A path, or a word, and the line where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) line: usize,
    pub(crate) path: Path,
}

/// What one file says.
#[derive(Debug, Default)]
pub(crate) struct Source {
    /// The module that the file is: empty for `src/lib.rs`.
    pub(crate) module: Path,
    /// Everything that it names but its re-exports.
    pub(crate) named: Vec<Named>,
    /// `pub use a::b as c`: c → the path of b.
    pub(crate) exported: BTreeMap<String, Named>,
    /// `pub use a::*`.
    pub(crate) exported_globs: Vec<Named>,
    /// `unsafe`, and methods that are called.
    pub(crate) words: Vec<(usize, String)>,
    /// Names of types, functions and constants that stand here.
    pub(crate) defined: BTreeSet<String>,
    /// What `use a::b as c` brings into the file.
    imported: BTreeMap<String, Path>,
    /// Single names in the code, which may mean something that is re-exported here.
    idents: BTreeSet<String>,
    /// Modules whose file is for tests only.
    test_modules: Vec<Path>,
}

/// All files that are not for tests only.
pub(crate) fn read(tree: &Tree) -> BTreeMap<String, Source> {
    let mut sources: BTreeMap<String, Source> = tree
        .iter()
        .map(|(file, text)| (file.clone(), Source::parse(file, text)))
        .collect();
    let test_modules: Vec<Path> = sources
        .values()
        .flat_map(|source| source.test_modules.clone())
        .collect();
    sources.retain(|_, source| {
        !test_modules
            .iter()
            .any(|test| source.module.starts_with(test))
    });
    let modules: BTreeSet<Path> = sources
        .values()
        .map(|source| source.module.clone())
        .collect();
    for source in sources.values_mut() {
        source.make_absolute(&modules);
    }
    sources
}

/// `crate::app::session` for `src/app/session.rs`, without the `crate`.
fn module_of(file: &str) -> Path {
    let name = file.strip_prefix("src/").unwrap_or(file);
    let name = name.strip_suffix(".rs").unwrap_or(name);
    let mut module: Path = name.split('/').map(str::to_owned).collect();
    if module
        .last()
        .is_some_and(|last| ["mod", "lib"].contains(&&**last))
    {
        module.pop();
    }
    module
}

impl Source {
    fn parse(file: &str, text: &str) -> Self {
        let mut source = Self {
            module: module_of(file),
            ..Self::default()
        };
        let tokens: TokenStream = text
            .parse()
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        let module = source.module.clone();
        source.walk(tokens, &module);
        source
    }

    /// Takes note of everything in `tokens`, which stand in `module`.
    fn walk(&mut self, tokens: TokenStream, module: &Path) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            at += self.take(&tokens, at, module);
        }
    }

    /// Takes note of what stands at `at`; of how many tokens it is.
    fn take(&mut self, tokens: &[TokenTree], at: usize, module: &Path) -> usize {
        let rest = &tokens[at..];
        if let Some(attribute) = attribute(rest) {
            if !is_for_tests(attribute) {
                self.take_attribute(attribute, module);
                return 2;
            }
            let len = 2 + item_len(&rest[2..]);
            let words: Vec<String> = rest[..len].iter().map(ToString::to_string).collect();
            let declared = words.iter().position(|word| word == "mod");
            if let (Some(place), Some(";")) = (declared, words.last().map(String::as_str)) {
                self.test_modules.push(child(module, &words[place + 1]));
            }
            return len;
        }
        match &rest[0] {
            TokenTree::Group(group) => {
                self.walk(group.stream(), module);
                1
            }
            TokenTree::Punct(punct) if punct.as_char() == '.' => {
                if let [_, TokenTree::Ident(name), TokenTree::Group(_), ..] = rest {
                    self.words.push((line(&rest[0]), format!(".{name}")));
                }
                1
            }
            TokenTree::Ident(word) => match (word.to_string().as_str(), rest) {
                ("use", [_, next, ..]) if !is_punct(next, '<') => {
                    let len = rest.iter().take_while(|t| !is_punct(t, ';')).count();
                    let is_public = is_public(&tokens[..at]);
                    self.take_imports(&rest[1..len], &Path::new(), module, is_public);
                    len
                }
                ("mod", [_, TokenTree::Ident(name), TokenTree::Group(body), ..]) => {
                    self.walk(body.stream(), &child(module, &name.to_string()));
                    3
                }
                ("mod", [_, TokenTree::Ident(_), ..]) => 2,
                ("unsafe", _) => {
                    self.words.push((line(&rest[0]), "unsafe".to_owned()));
                    1
                }
                (keyword, [_, TokenTree::Ident(name), ..]) if DEFINING.contains(&keyword) => {
                    self.defined.insert(name.to_string());
                    1
                }
                _ => self.take_path(rest, module),
            },
            // A path that begins with `::` is another crate's.
            TokenTree::Punct(_) if starts_path(rest) && !is_continued(&tokens[..at]) => 2,
            _ => 1,
        }
    }

    /// `#[derive(serde::Serialize)]` and `#[serde(…)]` name a crate.
    fn take_attribute(&mut self, attribute: &Group, module: &Path) {
        let tokens: Vec<TokenTree> = attribute.stream().into_iter().collect();
        if let [TokenTree::Ident(name), TokenTree::Group(_), ..] = tokens.as_slice() {
            self.named.push(Named {
                line: line(&tokens[0]),
                path: vec![name.to_string()],
            });
        }
        self.walk(attribute.stream(), module);
    }

    /// `a::b::c` in the code.
    fn take_path(&mut self, rest: &[TokenTree], module: &Path) -> usize {
        let mut path = vec![rest[0].to_string()];
        let mut len = 1;
        while starts_path(&rest[len..]) {
            path.push(rest[len + 2].to_string());
            len += 3;
        }
        if path.len() > 1 {
            self.named.push(Named {
                line: line(&rest[0]),
                path: from_root(path, module),
            });
        } else {
            self.idents.extend(path);
        }
        len
    }

    /// `a::{b, c::{self, d as e}, f::*}`, behind `use`.
    fn take_imports(
        &mut self,
        tokens: &[TokenTree],
        prefix: &Path,
        module: &Path,
        is_public: bool,
    ) {
        for tree in tokens.split(|token| is_punct(token, ',')) {
            let mut path = prefix.clone();
            let mut alias = None;
            let mut is_glob = false;
            let mut group = None;
            let mut words = tree.iter();
            while let Some(token) = words.next() {
                match token {
                    TokenTree::Ident(word) if word == "as" => {
                        alias = words.next().map(ToString::to_string);
                    }
                    TokenTree::Ident(word) => path.push(word.to_string()),
                    TokenTree::Group(inner) => group = Some(inner),
                    token => is_glob |= is_punct(token, '*'),
                }
            }
            let Some(first) = tree.first() else { continue };
            if let Some(inner) = group {
                let inner: Vec<TokenTree> = inner.stream().into_iter().collect();
                self.take_imports(&inner, &path, module, is_public);
                continue;
            }
            if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
                path.pop();
            }
            let name = alias.or_else(|| path.last().cloned()).unwrap_or_default();
            let named = Named {
                line: line(first),
                path: from_root(path, module),
            };
            match (is_public, is_glob) {
                (true, true) => self.exported_globs.push(named),
                (true, false) => drop(self.exported.insert(name, named)),
                (false, true) => self.named.push(named),
                (false, false) => {
                    self.imported.insert(name, named.path.clone());
                    self.named.push(named);
                }
            }
        }
    }

    /// Spreads out what was imported, and names children by their whole path.
    fn make_absolute(&mut self, modules: &BTreeSet<Path>) {
        // What is re-exported here can be used here as well.
        for (name, named) in &self.exported {
            if self.idents.contains(name) {
                self.named.push(named.clone());
            }
            self.imported.insert(name.clone(), named.path.clone());
        }
        for named in self.imported.values_mut() {
            *named = with_children(std::mem::take(named), &self.module, modules);
        }
        let exported = self.exported.values_mut().chain(&mut self.exported_globs);
        for named in exported.chain(&mut self.named) {
            let first = named.path.first().cloned().unwrap_or_default();
            let path = match self.imported.get(&first) {
                Some(import) => [import.as_slice(), &named.path[1..]].concat(),
                None => std::mem::take(&mut named.path),
            };
            named.path = with_children(path, &self.module, modules);
        }
    }
}

/// `limits::Rate` in a module that has the child `limits` becomes `crate::…::limits::Rate`.
fn with_children(path: Path, module: &Path, modules: &BTreeSet<Path>) -> Path {
    match path.first() {
        Some(first) if modules.contains(&child(module, first)) => {
            [&["crate".to_owned()], module.as_slice(), &path].concat()
        }
        _ => path,
    }
}

fn child(module: &Path, name: &str) -> Path {
    let mut child = module.clone();
    child.push(name.to_owned());
    child
}

/// `self::x` and `super::x` as `crate::…`, the package's own name as `crate`, `core` as `std`.
fn from_root(path: Path, module: &Path) -> Path {
    let mut module = module.clone();
    let mut words = path.iter().peekable();
    match words.peek().map(|word| word.as_str()) {
        Some("self" | "super") => {
            if words.next_if(|word| *word == "self").is_none() {
                while words.next_if(|word| *word == "super").is_some() {
                    module.pop();
                }
            }
            let start = std::iter::once("crate".to_owned()).chain(module);
            start.chain(words.cloned()).collect()
        }
        Some("websock") => std::iter::once("crate".to_owned())
            .chain(words.skip(1).cloned())
            .collect(),
        Some("core" | "alloc") => std::iter::once("std".to_owned())
            .chain(words.skip(1).cloned())
            .collect(),
        _ => path,
    }
}

/// What stands before a name that is defined.
const DEFINING: [&str; 8] = [
    "struct", "enum", "union", "trait", "type", "fn", "const", "static",
];

fn line(token: &TokenTree) -> usize {
    token.span().start().line
}

fn is_punct(token: &TokenTree, char: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == char)
}

fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == word)
}

/// `::name` is next.
fn starts_path(rest: &[TokenTree]) -> bool {
    matches!(rest, [one, two, TokenTree::Ident(_), ..] if is_punct(one, ':') && is_punct(two, ':'))
}

/// The path goes on behind generic arguments: `Vec::<u8>::new`, `<T as Trait>::f`.
fn is_continued(before: &[TokenTree]) -> bool {
    before.last().is_some_and(|last| is_punct(last, '>'))
}

/// `pub` or `pub(…)` stands before.
fn is_public(before: &[TokenTree]) -> bool {
    match before {
        [.., word, TokenTree::Group(group)] if group.delimiter() == Delimiter::Parenthesis => {
            is_word(word, "pub")
        }
        [.., word] => is_word(word, "pub"),
        [] => false,
    }
}

/// The content of `#[…]`, if one is next.
fn attribute(rest: &[TokenTree]) -> Option<&Group> {
    match rest {
        [sign, TokenTree::Group(group), ..]
            if is_punct(sign, '#') && group.delimiter() == Delimiter::Bracket =>
        {
            Some(group)
        }
        _ => None,
    }
}

/// `cfg(test)`, or `cfg(all(test, …))`.
fn is_for_tests(attribute: &Group) -> bool {
    let tokens: Vec<TokenTree> = attribute.stream().into_iter().collect();
    let [cfg, TokenTree::Group(condition)] = tokens.as_slice() else {
        return false;
    };
    let condition = condition.stream().to_string().replace(' ', "");
    let test = condition.strip_prefix("all(").unwrap_or(&condition);
    is_word(cfg, "cfg") && test.split([',', ')']).next() == Some("test")
}

/// How many tokens an item has, behind a first attribute: up to its semicolon or its body, or up to
/// the comma for a field or an argument.
fn item_len(rest: &[TokenTree]) -> usize {
    let mut len = 0;
    while attribute(&rest[len..]).is_some() {
        len += 2;
    }
    let keywords = [
        "pub",
        "fn",
        "mod",
        "use",
        "impl",
        "struct",
        "enum",
        "const",
        "static",
        "type",
        "trait",
        "async",
        "unsafe",
        "extern",
        "macro_rules",
        "let",
    ];
    let first = rest.get(len).map(ToString::to_string);
    let is_item = first.is_some_and(|word| keywords.contains(&word.as_str()));
    for token in &rest[len..] {
        len += 1;
        let is_body = matches!(token, TokenTree::Group(g) if g.delimiter() == Delimiter::Brace);
        if is_body || is_punct(token, ';') || (!is_item && is_punct(token, ',')) {
            break;
        }
    }
    len
}
