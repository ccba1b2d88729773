//! websock.ini and the command line → [`Config`]: the only reader of ini text.
//!
//! Two stages. First every key gets a value as written: the built-in default, over it the last one
//! in the ini file, over that the command line's. Then each value is read into its type; a
//! [`Config`] that exists is in range and consistent. Every error is collected, so that one start
//! shows them all, each with file, line, key, value and what would be right.
//!
//! The PHP server's own ini files are read as they are (protocol.md 7.3). Refuses to know: sockets,
//! what the limits do.

mod contradictions;
mod ini;
mod keys;
mod listen;
mod origin;
mod proxy_block;
mod report;
mod source;
mod value;
mod web_sends;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use log::LevelFilter;

use crate::app::admission::AdmissionSettings;
use crate::app::trusted_proxies::TrustedProxies;
use crate::base::escape;
use crate::cli::options::Options;
use crate::connection::Limits;
use crate::http::Demo;
use crate::logging::LogSettings;
use crate::net::{Endpoint, ServerSettings};
use crate::ops::certificates::{Certificates, KeyPair};
use crate::protocol::extension::CompressionSettings;

pub use listen::Listen;
pub use report::{Errors, Origin, Problem, Setting};
pub use web_sends::{Sendable, Sends, WebSends};

use ini::{BadLine, Entry, Spelling};
use keys::KEYS;

/// Everything that can be set, checked. The comments in websock.ini say more about each key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where to listen (`adress`); never empty.
    pub listen: Vec<Listen>,
    /// Connections the system may keep for us to accept, 1 to 65535 (`backlog`).
    pub backlog: u32,
    /// PEM files with a certificate chain each (`certFile`); the first is for names that no other
    /// has.
    pub cert_files: Vec<PathBuf>,
    /// PEM files with the private keys, in the same order (`pkFile`); empty: those of
    /// `cert_files` hold them too.
    pub key_files: Vec<PathBuf>,
    /// Where log lines go.
    pub log: LogSettings,
    /// Who may connect.
    pub admission: Admission,
    /// What pages may send (`webSends`).
    pub web_sends: WebSends,
    /// Longest header `Ident`, in bytes, 1 to 8 K (`maxIdent`).
    pub max_ident_bytes: usize,
    /// Subprotocols that a client may choose, in the order of preference (`subprotocols`).
    pub subprotocols: Vec<String>,
    /// Longest message of a page, in bytes (`maxWebMessage`); at most `limits.max_message_bytes`.
    pub max_web_message_bytes: usize,
    /// The demo page is served (`demo`).
    pub demo: bool,
    /// Frames for php clients are padded as protocol.md 6.1 has it (`phpPadding`).
    pub php_padding: bool,
    /// Whether and how messages are compressed.
    pub compression: CompressionSettings,
    /// What one connection may use.
    pub limits: Limits,
    /// Chunks between `bufferON` and `bufferOFF`, of which one more is kept (`maxChunks`).
    pub max_chunks: usize,
    /// Bytes that all connections together may hold (`memoryLimit`); at least
    /// `limits.max_message_bytes` and `limits.max_queue_bytes`.
    pub memory_limit_bytes: usize,
    /// From the signal to the exit at the latest (`shutdownTimeout`); zero exits at once.
    pub shutdown_timeout: Duration,
    /// What looks wrong but does not stop the start; to be logged once logging is up.
    pub warnings: Vec<String>,
    /// The ini file that was read; `None` if none was found.
    pub source: Option<PathBuf>,
    /// Every key with its value as written and where that came from, in the order of websock.ini.
    pub settings: Vec<Setting>,
}

impl Config {
    /// What the server needs to know of it.
    pub fn server_settings(&self) -> ServerSettings {
        ServerSettings {
            limits: self.limits,
            policy: AdmissionSettings {
                max_clients: self.admission.max_clients,
                max_per_ip: self.admission.max_per_ip,
                allowed_ip: self.admission.allowed_ip.clone().unwrap_or_default(),
                // The server knows where it listens.
                allows_own_ip: false,
                allowed_origins: self.admission.allowed_origins.clone(),
                push_token: self.admission.push_token.clone(),
                own_hosts: self.admission.own_names.clone(),
                trusted_proxies: self.admission.trusted_proxies.clone(),
            },
            max_chunks: self.max_chunks,
            max_pending: self.admission.max_pending,
            memory_limit_bytes: self.memory_limit_bytes,
            compression: self.compression,
            demo: if self.demo { Demo::On } else { Demo::Off },
            php_padding: self.php_padding,
            backlog: self.backlog,
            shutdown_timeout: self.shutdown_timeout,
        }
    }

    /// Where to listen.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        let endpoint = |listen: &Listen| listen.endpoint.clone();
        self.listen.iter().map(endpoint).collect()
    }
}

/// Who may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Most connections, 1 to 10,000,000 (`maxClients`).
    pub max_clients: usize,
    /// Most web clients from one address (`maxPerIP`); 0 leaves it to `max_clients`.
    pub max_per_ip: usize,
    /// Most connections that are not upgraded yet, 1 to 10,000,000 (`maxPending`).
    pub max_pending: usize,
    /// Where php clients may come from (`allowedIP`); `None`: loopback and the addresses listened
    /// on.
    pub allowed_ip: Option<Vec<IpNet>>,
    /// Pages that may connect (`allowedOrigins`), in lower case and without their scheme's own
    /// port; empty: all.
    pub allowed_origins: Vec<String>,
    /// Proxies that tell whom they forward (`trustedProxies`).
    pub trusted_proxies: TrustedProxies,
    /// Names and addresses under which this server is reached besides those of `adress`
    /// (`ownNames`), in lower case, without brackets.
    pub own_names: Vec<String>,
    /// What scripts prove themselves with (`pushToken`); `None`: by their address alone.
    pub push_token: Option<String>,
}

impl Config {
    /// Finds and reads the ini file, and puts `options` over it (protocol.md 7.1, 7.2).
    ///
    /// Without `-i`, a missing ini file is a warning and the defaults hold.
    pub fn load(options: &Options) -> Result<Self, Errors> {
        let (found, warnings) = source::find(options.ini.as_deref())?;
        let (path, text) = match &found {
            Some((path, text)) => (Some(path.as_path()), text.as_str()),
            None => (None, ""),
        };
        let mut config = Self::parse(path, text, options, &|name| {
            std::env::var_os(name).map(|text| text.to_string_lossy().into_owned())
        })?;
        config.warnings.extend(warnings);
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

    /// Names file, line and value of `key` as the cause of something that turned up later, such as
    /// a port that is in use.
    pub fn problem(&self, key: &str, reason: impl fmt::Display) -> Problem {
        problem(&self.settings, key, reason)
    }

    /// Overwritten by the defaults of [`KEYS`] before anybody sees it.
    fn blank() -> Self {
        Self {
            listen: Vec::new(),
            backlog: 0,
            cert_files: Vec::new(),
            key_files: Vec::new(),
            log: LogSettings {
                file: None,
                console: false,
                level: LevelFilter::Off,
                max_bytes: 0,
                keep: 0,
            },
            admission: Admission {
                max_clients: 0,
                max_per_ip: 0,
                max_pending: 0,
                allowed_ip: None,
                allowed_origins: Vec::new(),
                trusted_proxies: TrustedProxies::default(),
                own_names: Vec::new(),
                push_token: None,
            },
            web_sends: WebSends::default(),
            max_ident_bytes: 0,
            subprotocols: Vec::new(),
            max_web_message_bytes: 0,
            demo: false,
            php_padding: false,
            compression: CompressionSettings {
                is_on: false,
                threshold_bytes: 0,
                keeps_context: false,
                level: 0,
            },
            limits: Limits {
                max_message_bytes: 0,
                max_fragments: 0,
                max_queue_bytes: 0,
                max_control_frames_per_second: 0,
                max_messages_per_second: 0,
                handshake_timeout: Duration::ZERO,
                keep_alive_timeout: Duration::ZERO,
                ping_interval: Duration::ZERO,
                pong_timeout: Duration::ZERO,
                close_timeout: Duration::ZERO,
                stall_timeout: Duration::ZERO,
                min_progress_bytes: 0,
            },
            max_chunks: 0,
            memory_limit_bytes: 0,
            shutdown_timeout: Duration::ZERO,
            warnings: Vec::new(),
            source: None,
            settings: Vec::new(),
        }
    }

    /// The certificates for `wss` addresses, read and checked; `None` if there is no such address.
    pub fn certificates(&self) -> Result<Option<Certificates>, Problem> {
        if !self.has_tls() {
            return Ok(None);
        }
        let keys = if self.key_files.is_empty() {
            &self.cert_files
        } else {
            &self.key_files
        };
        let pairs: Vec<KeyPair> = self
            .cert_files
            .iter()
            .zip(keys)
            .map(|(cert, key)| KeyPair {
                cert_file: cert.clone(),
                key_file: key.clone(),
            })
            .collect();
        Certificates::load(&pairs).map(Some).map_err(|error| {
            let is_key = self.key_files.contains(&error.file);
            self.problem(if is_key { "pkFile" } else { "certFile" }, error)
        })
    }
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
        if section == "jsauth" && entry.key.eq_ignore_ascii_case("require") {
            // What a variable gives is a text for PHP.
            let spelling = match entry.spelling {
                Spelling::Word if entry.value.contains("${") => Spelling::Quoted,
                spelling => spelling,
            };
            if unset.is_some() || value::is_true_in_php(&value, spelling) {
                let reason = match spelling {
                    Spelling::Word => SIGN_IN_WANTED.to_owned(),
                    Spelling::Quoted => format!("{QUOTED_IS_TRUE}: {SIGN_IN_WANTED}"),
                    Spelling::BeforeHash => format!("{HASH_IS_TRUE}: {SIGN_IN_WANTED}"),
                };
                self.problems.push(problem(reason));
            }
            return;
        }
        let Some(index) = keys::position(&entry.key) else {
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
        self.settings[index].value = value;
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
        if config.max_web_message_bytes == 0 {
            config.max_web_message_bytes = config.limits.max_message_bytes;
        }
        if self.problems.is_empty() {
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

fn problem(settings: &[Setting], key: &str, reason: impl fmt::Display) -> Problem {
    let setting = settings.iter().find(|setting| setting.key == key);
    Problem {
        origin: setting.map_or(Origin::Default, |setting| setting.origin.clone()),
        key: key.to_owned(),
        value: setting.map_or_else(String::new, |setting| setting.value.clone()),
        reason: reason.to_string(),
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

const SIGN_IN_WANTED: &str = "sign-in is not built yet, and without it everybody could connect; \
    write require=false, without quotes, if that may be so";
const QUOTED_IS_TRUE: &str = "in quotes or from a variable, PHP takes all but '' and '0' for true";
const HASH_IS_TRUE: &str = "PHP takes a # behind a value for a part of it, and that for true";

#[cfg(test)]
mod tests;
