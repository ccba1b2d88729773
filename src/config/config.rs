//! [`Config`]: what a start needs, in its types.

use std::path::PathBuf;

use log::LevelFilter;

use super::auth_key::AuthKey;
use super::backplane::SecretSource;
use super::control_path::ControlPath;
use super::listen::Listen;
use super::setting::Setting;
use crate::logging::{LogFormat, LogSettings};
use crate::net::{Endpoint, ServerSettings};
use crate::protocol::php_session::{SessionFolder, SessionPrefix};

/// Everything that can be set, checked. The comments in websock.ini say more about each key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where to listen (`adress`); never empty.
    pub listen: Vec<Listen>,
    /// Where to tell how the server does, besides (`status`).
    pub status: Vec<Listen>,
    /// PEM files with a certificate chain each (`certFile`); the first is for names that no other
    /// has.
    pub cert_files: Vec<PathBuf>,
    /// PEM files with the private keys, in the same order (`pkFile`); empty: those of
    /// `cert_files` hold them too.
    pub key_files: Vec<PathBuf>,
    /// What tokens are checked with (`authKey`); a file is not read yet.
    pub auth_key: Option<AuthKey>,
    /// Where the secret of the backplane is (`backplaneSecret`); a file is not read yet.
    pub backplane_secret: Option<SecretSource>,
    /// Where the server keeps what has to outlive it (`stateDir`); `None`: nowhere.
    pub state_dir: Option<PathBuf>,
    /// The folder of sessions that `[jsauth]` names (`ssp`).
    pub jsauth_folder: Option<SessionFolder>,
    /// What the names of session files begin with (`sessionPrefix`).
    pub session_prefix: SessionPrefix,
    /// Where log lines go.
    pub log: LogSettings,
    /// What the server goes by. Its types say what each key means and what holds without it.
    pub server: ServerSettings,
    /// Where successors ask (`takeoverSocket`).
    pub takeover_socket: ControlPath,
    /// What looks wrong but does not stop the start; to be logged once logging is up.
    pub warnings: Vec<String>,
    /// The ini file that was read; `None` if none was found.
    pub source: Option<PathBuf>,
    /// Every key with its value as written and where that came from, in the order of websock.ini.
    pub settings: Vec<Setting>,
}

impl Config {
    /// The directory for what has to outlive the server: `stateDir`, or the one that systemd has
    /// made for it.
    pub fn state_dir(&self) -> Option<PathBuf> {
        let systemds = || {
            let directories = std::env::var_os("STATE_DIRECTORY")?;
            // Several are separated by colons (systemd.exec(5)); the unit has one.
            let first = directories.to_str()?.split(':').next()?;
            (!first.is_empty()).then(|| PathBuf::from(first))
        };
        self.state_dir.clone().or_else(systemds)
    }

    /// Where to listen.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        let endpoint = |listen: &Listen| listen.endpoint.clone();
        self.listeners().map(endpoint).collect()
    }

    /// All of them, those of `status` last.
    pub(super) fn listeners(&self) -> impl Iterator<Item = &Listen> {
        self.listen.iter().chain(&self.status)
    }

    /// Overwritten by the keys' defaults before anybody sees it.
    pub(super) fn blank() -> Self {
        Self {
            listen: Vec::new(),
            status: Vec::new(),
            cert_files: Vec::new(),
            key_files: Vec::new(),
            auth_key: None,
            backplane_secret: None,
            state_dir: None,
            jsauth_folder: None,
            session_prefix: SessionPrefix::default(),
            log: LogSettings {
                file: None,
                console: false,
                level: LevelFilter::Off,
                connections: true,
                format: LogFormat::Text,
                max_bytes: 0,
                keep: 0,
            },
            server: ServerSettings::default(),
            takeover_socket: ControlPath::Auto,
            warnings: Vec::new(),
            source: None,
            settings: Vec::new(),
        }
    }
}
