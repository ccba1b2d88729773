//! The two stages from text to [`Config`]: values as written, then values in their types.

use std::path::Path;

use super::config::Config;
use super::ini::{self, BadLine, Entry, Spelling};
use super::keys::{self, KEYS};
use super::options::Options;
use super::report::{Errors, Problem, problem};
use super::setting::{Origin, Setting};
use super::source::{self, Reading};
use super::value;
use crate::base::escape;

impl Config {
    /// Finds and reads the ini file, and puts `options` over it (protocol.md 7.1, 7.2).
    ///
    /// Without `-i`, a missing ini file is a warning and the defaults hold.
    pub fn load(options: &Options) -> Result<Self, Errors> {
        Self::read(source::find(options.ini.as_deref())?, options)
    }

    /// The same once more for a server that runs with what `source` held; `None`: it has found no
    /// file.
    pub(super) fn load_again(options: &Options, source: Option<&Path>) -> Result<Self, Errors> {
        match source {
            Some(path) => Self::read(source::read_again(path)?, options),
            None => Self::load(options),
        }
    }

    fn read((found, warnings): Reading, options: &Options) -> Result<Self, Errors> {
        let (path, text) = match &found {
            Some((path, text)) => (Some(path.as_path()), text.as_str()),
            None => (None, ""),
        };
        let mut config = Self::parse(path, text, options, &|name| {
            std::env::var_os(name).map(|text| text.to_string_lossy().into_owned())
        })?;
        config.warnings.extend(warnings);
        let read = config.read_auth_key();
        if let Err(problem) = read.and_then(|()| config.read_backplane_secret()) {
            return Err(Errors::new(vec![problem], config.warnings).logged_by(config.log));
        }
        Ok(config)
    }

    /// Builds the configuration from the `text` of the ini file `source` and from `options`.
    ///
    /// `variable` knows the environment. Nothing else is looked at, no file is touched.
    pub fn parse(
        source: Option<&Path>,
        text: &str,
        options: &Options,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Errors> {
        let file = source.unwrap_or(Path::new("websock.ini"));
        let mut builder = Builder::default();
        let (entries, bad_lines) = ini::read(text);
        builder
            .problems
            .extend(bad_lines.into_iter().map(|bad| bad_line(file, bad)));
        for entry in entries {
            builder.take_entry(file, entry, variable);
        }
        builder.take_options(options);
        let mut config = builder.build()?;
        config.source = source.map(Path::to_owned);
        Ok(config)
    }
}

/// Builds a configuration of values as written, with the warnings that reading them has brought.
pub(super) fn rebuild(settings: Vec<Setting>, warnings: Vec<String>) -> Result<Config, Errors> {
    let builder = Builder {
        settings,
        problems: Vec::new(),
        warnings,
    };
    builder.build()
}

impl Default for Config {
    /// The built-in defaults, which are those of the shipped websock.ini.
    fn default() -> Self {
        Builder::default()
            .build()
            .expect("the defaults of KEYS are legal, as a test shows")
    }
}

/// First stage: values as written.
struct Builder {
    /// Parallel to [`KEYS`].
    settings: Vec<Setting>,
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

impl Default for Builder {
    fn default() -> Self {
        let setting = |key: &keys::Key| Setting {
            key: key.name,
            value: key.default.to_owned(),
            origin: Origin::Default,
        };
        Self {
            settings: KEYS.iter().map(setting).collect(),
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

impl Builder {
    /// A known key counts in any section (PHP flattens them); an unknown one is an error, except in
    /// the sections of a 2026 ini that belong to other programs.
    fn take_entry(&mut self, file: &Path, entry: Entry, variable: &dyn Fn(&str) -> Option<String>) {
        let section = entry.section.to_ascii_lowercase();
        let (value, unset) = ini::expand(&entry.value, variable);
        let problem = |reason: String| Problem {
            origin: Origin::Ini {
                file: file.to_owned(),
                line: entry.line,
            },
            key: entry.key.clone(),
            value: value.clone(),
            reason,
        };
        // Elsewhere people write it for the key of a certificate.
        let is_known = section == "jsauth" || !entry.key.eq_ignore_ascii_case("key");
        let Some(index) = keys::position(&entry.key).filter(|_| is_known) else {
            if matches!(section.as_str(), "jsauth" | "develop") {
                // Without the value, which may be a secret of the other program.
                let place = Origin::Ini {
                    file: file.to_owned(),
                    line: entry.line,
                };
                let key = escape(&entry.key);
                self.warnings
                    .push(format!("{place}: [{section}] {key}: not used by websock"));
            } else {
                self.problems.push(problem(unknown_key(&entry.key)));
            }
            return;
        };
        if value.contains('\u{fffd}') {
            self.problems
                .push(problem("the file is not UTF-8 here".to_owned()));
        }
        let is_unset = unset.is_some();
        if let Some(name) = unset {
            let reason = format!("the environment has no {name}, it is taken as empty");
            self.warnings.push(problem(reason).to_string());
        }
        if let Origin::Ini { line, .. } = &self.settings[index].origin {
            let reason = format!("holds instead of line {line}, which sets the same key");
            self.warnings.push(problem(reason).to_string());
        }
        self.settings[index].origin = Origin::Ini {
            file: file.to_owned(),
            line: entry.line,
        };
        let is_require = KEYS[index].name == "require";
        let truth = is_require.then(|| self.php_truth(&entry, &value, is_unset, problem));
        self.settings[index].value = truth.unwrap_or(value);
    }

    /// `true` or `false`, as PHP sees the value of `require` (protocol.md 8.1); what a variable gives
    /// is a text for PHP, and a variable that is not there lets nobody in by accident.
    fn php_truth(
        &mut self,
        entry: &Entry,
        value: &str,
        is_unset: bool,
        problem: impl Fn(String) -> Problem,
    ) -> String {
        let spelling = match entry.spelling {
            Spelling::Word if entry.value.contains("${") => Spelling::Quoted,
            spelling => spelling,
        };
        let is_true = is_unset || value::is_true_in_php(value, spelling);
        if is_true && value::boolean(value) == Ok(false) {
            let reason = match spelling {
                Spelling::BeforeHash => HASH_IS_TRUE,
                Spelling::Word | Spelling::Quoted => QUOTED_IS_TRUE,
            };
            self.warnings.push(problem(reason.to_owned()).to_string());
        }
        is_true.to_string()
    }

    fn take_options(&mut self, options: &Options) {
        let given = [
            ("adress", &options.adress),
            ("logfile", &options.logfile),
            ("console", &options.console),
        ];
        for setting in &mut self.settings {
            let typed = given.iter().find(|(key, _)| *key == setting.key);
            if let Some((_, Some(value))) = typed {
                setting.value.clone_from(value);
                setting.origin = Origin::CommandLine;
            }
        }
    }

    /// Second stage: values in their types.
    fn build(mut self) -> Result<Config, Errors> {
        let mut config = Config::blank();
        for (key, setting) in KEYS.iter().zip(&self.settings) {
            if let Err(wanted) = (key.apply)(&mut config, &setting.value) {
                self.problems
                    .push(problem(&self.settings, key.name, wanted));
            }
        }
        config.settings = self.settings;
        if config.server.limits.max_web_message_bytes == 0 {
            config.server.limits.max_web_message_bytes = config.server.limits.max_message_bytes;
        }
        if self.problems.is_empty() {
            config.use_jsauth();
            self.problems = config.contradictions();
        }
        if !self.problems.is_empty() {
            self.problems
                .sort_by(|one, other| one.origin.cmp(&other.origin));
            return Err(Errors::new(self.problems, self.warnings).logged_by(config.log));
        }
        config.warnings = self.warnings;
        config.warnings.extend(config.oddities());
        Ok(config)
    }
}

fn bad_line(file: &Path, bad: BadLine) -> Problem {
    Problem {
        origin: Origin::Ini {
            file: file.to_owned(),
            line: bad.line,
        },
        key: String::new(),
        value: bad.text,
        reason: bad.reason.to_owned(),
    }
}

fn unknown_key(name: &str) -> String {
    match keys::nearest(name) {
        Some(nearest) => format!("unknown key; is {nearest} meant?"),
        None => "unknown key; the shipped websock.ini has them all".to_owned(),
    }
}

const QUOTED_IS_TRUE: &str = "signing in is required: in quotes or from a variable, PHP takes all \
    but '' and '0' for true; write require=false, without quotes, if everybody may connect";
const HASH_IS_TRUE: &str = "signing in is required: PHP takes a # behind a value for a part of it, \
    and that for true; write require=false and nothing behind it if everybody may connect";
