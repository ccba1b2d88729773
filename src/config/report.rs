//! What is told about a configuration: what is wrong with it, and what `--check` prints.

use std::fmt;
use std::fmt::Write as _;

use super::config::Config;
use super::keys;
use super::listen::Listen;
use super::setting::{Origin, Setting};
use super::value::is_key_material;
use crate::base::escape;
use crate::logging::LogSettings;

/// One thing that is wrong, in one line: where, key, value, what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where the value comes from.
    pub origin: Origin,
    /// Empty for a line that has no key, and for a file.
    pub key: String,
    /// As written.
    pub value: String,
    /// What would be right.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = if is_secret(&self.key, &self.value) {
            "(hidden)"
        } else {
            &self.value
        };
        let (value, reason) = (escape(value), escape(&self.reason));
        match (&self.origin, self.key.as_str()) {
            (origin @ Origin::File(_), _) => write!(f, "{origin}: {reason}"),
            (Origin::Default, key) if self.value.is_empty() => {
                write!(f, "{key} is not set: {reason}")
            }
            (Origin::Default, key) => write!(f, "{key}={value} (the default): {reason}"),
            (origin, "") => write!(f, "{origin}: {value}: {reason}"),
            (Origin::CommandLine, key) => write!(f, "command line: -{key}={value}: {reason}"),
            (origin, key) => write!(f, "{origin}: {}={value}: {reason}", escape(key)),
        }
    }
}

/// Everything that is wrong; never empty. Displayed as one line each.
#[derive(Debug, PartialEq, Eq)]
pub struct Errors {
    problems: Vec<Problem>,
    warnings: Vec<String>,
    log: Option<LogSettings>,
}

impl Errors {
    /// `warnings` are what turned up beside `problems`, and may explain them.
    pub(super) fn new(problems: Vec<Problem>, warnings: Vec<String>) -> Self {
        debug_assert!(!problems.is_empty(), "errors without an error");
        Self {
            problems,
            warnings,
            log: None,
        }
    }

    /// Notes where the errors can be logged, unless that is among what is wrong.
    pub(super) fn logged_by(mut self, log: LogSettings) -> Self {
        let is_wrong = |key: &str| self.problems.iter().any(|problem| problem.key == key);
        self.log = (!LOG_KEYS.into_iter().any(is_wrong)).then_some(log);
        self
    }

    /// Everything that is wrong.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// What is not wrong and should be looked at.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Where log lines go, if so much of the configuration could be read.
    pub fn log(&self) -> Option<&LogSettings> {
        self.log.as_ref()
    }
}

impl From<Problem> for Errors {
    fn from(problem: Problem) -> Self {
        Self::new(vec![problem], Vec::new())
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let warnings = self
            .warnings
            .iter()
            .map(|warning| format!("warning: {warning}"));
        let errors = self
            .problems
            .iter()
            .map(|problem| format!("error: {problem}"));
        f.write_str(&warnings.chain(errors).collect::<Vec<_>>().join("\n"))
    }
}

impl std::error::Error for Errors {}

impl Config {
    /// Names file, line and value of `key` as the cause of something that turned up later, such as
    /// a port that is in use.
    pub fn problem(&self, key: &str, reason: impl fmt::Display) -> Problem {
        problem(&self.settings, key, reason)
    }

    /// The key whose listener a message is about: it names the address, the host or the file.
    pub fn listen_problem(&self, reason: impl fmt::Display) -> Problem {
        let text = reason.to_string();
        let is_named = |listen: &Listen| {
            let endpoint = &listen.endpoint;
            let addresses = endpoint.resolve().unwrap_or_default();
            let mut names = addresses.iter().map(ToString::to_string);
            text.contains(&endpoint.address.to_string()) || names.any(|name| text.contains(&name))
        };
        let is_status = self.status.iter().any(is_named) && !self.listen.iter().any(is_named);
        self.problem(if is_status { "status" } else { "adress" }, text)
    }

    /// Whether nobody has set this key.
    pub fn is_default(&self, key: &str) -> bool {
        let mut settings = self.settings.iter().filter(|setting| setting.key == key);
        settings.all(|setting| setting.origin == Origin::Default)
    }

    /// What is in force, for `--check --verbose`: an ini file that would give the same, with the
    /// origin of each value and the socket addresses as comments.
    pub fn report(&self) -> String {
        let mut text = String::new();
        for Setting { key, value, origin } in &self.settings {
            if *key == FIRST_OF_JSAUTH {
                let _ = writeln!(text, "[jsauth]");
            }
            if !value.is_empty() && is_secret(key, value) {
                let _ = writeln!(text, "; {key} is set, by {origin}");
                continue;
            }
            let quote = if value.contains('"') { '\'' } else { '"' };
            let quote = if value.contains(QUOTED) {
                String::from(quote)
            } else {
                String::new()
            };
            let _ = writeln!(text, "{key}={quote}{}{quote} ; {origin}", escape(value));
        }
        for listen in self.listeners() {
            for address in listen.endpoint.resolve().unwrap_or_default() {
                let _ = writeln!(text, "; {listen} listens on {address}");
            }
        }
        text
    }
}

pub(super) fn problem(settings: &[Setting], key: &str, reason: impl fmt::Display) -> Problem {
    let setting = settings.iter().find(|setting| setting.key == key);
    Problem {
        origin: setting.map_or(Origin::Default, |setting| setting.origin.clone()),
        key: key.to_owned(),
        value: setting.map_or_else(String::new, |setting| setting.value.clone()),
        reason: reason.to_string(),
    }
}

/// The keys that say where log lines go.
const LOG_KEYS: [&str; 7] = [
    "logfile",
    "console",
    "loglevel",
    "logConnections",
    "logFormat",
    "logMaxSize",
    "logKeep",
];

/// Whether nobody may see this: a token, also under a name that is mistyped or in a line that is
/// wrong, or a private key that stands where its file's name belongs.
pub(super) fn is_secret(key: &str, value: &str) -> bool {
    let name = if key.is_empty() {
        value.split(['=', ' ', '\t']).next().unwrap_or_default()
    } else {
        key
    };
    match keys::nearest(name) {
        Some("pushToken" | "authKey" | "backplaneSecret") => true,
        // A URL may hold a password.
        Some("authUrl" | "sessions" | "backplane") => value.contains(['@', '?']),
        // The middle of a key, its line ends escaped.
        Some("certFile" | "pkFile") if value.contains(r"\n") => true,
        _ => is_key_material(value),
    }
}

/// The first key of the last section: a key that is called `key` counts there only.
const FIRST_OF_JSAUTH: &str = "require";

/// What would make a bare value mean something else.
const QUOTED: [char; 5] = [';', '#', '\'', '"', ' '];

#[cfg(test)]
mod tests {
    use crate::cli::options::Options;
    use crate::config::Config;

    /// A secret is in no message, whatever is wrong with its line.
    #[test]
    fn no_secret_is_told() {
        let key = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg";
        for ini in [
            "pushToken=s3cret",
            "authKey=s3cret",
            "authkey='s3cret",
            "authUrl=http://user:s3cret@host/",
            "sessions=redis://:s3cret@host/",
            "sessions=unix:/x?password=s3cret",
            "PUSHTOKEN=s3cret\u{fffd}",
            "pushtoken=s3cret${NONE}",
            "pushTokn=s3cret",
            "pushToken='s3cret",
            "pushToken s3cret",
            "pkFile=-----BEGIN PRIVATE KEY-----\ns3cret==\n-----END PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----\ns3cret",
            "certFile=a\npkFile=s3cret\\n",
            &format!("pkFile={key}"),
            &format!("certfile={key},a"),
            "pkFile=${KEY}",
            "pkFil=${KEY}",
        ] {
            let ini = format!("{ini}\nmaxClients=none\nadress=wss://localhost\n");
            let variable =
                |name: &str| (name == "KEY").then(|| "-----BEGIN A-----\ns3cret\n".to_owned());
            let error = Config::parse(None, &ini, &Options::default(), &variable);
            let said = error.expect_err("wrong values").to_string();
            assert!(!said.contains("s3cret") && !said.contains(key), "{said}");
        }
    }

    /// A comment may show how it looks.
    #[test]
    fn a_comment_hides_nothing() {
        let ini = "; -----BEGIN PRIVATE KEY-----\nmaxClients=none\n";
        let error = Config::parse(None, ini, &Options::default(), &|_| None);
        let said = error.expect_err("wrong values").to_string();
        assert!(said.contains("maxClients=none"), "{said}");
    }
}
