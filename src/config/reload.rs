//! A running server's settings read again: what has changed, and what of it can take effect.

use std::collections::HashSet;
use std::fmt;

use super::builder::rebuild;
use super::config::Config;
use super::options::Options;
use super::report::{Errors, is_secret};
use super::setting::Setting;
use crate::base::escape;

/// When a changed key takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// At once, for everybody who is here, too.
    AtOnce,
    /// At once, for connections and requests that come from then on.
    Newcomers,
    /// At the next start: what it is about is made once.
    Restart,
}

/// A key whose value in the file is another one than the server runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: &'static str,
    before: String,
    after: String,
    /// When it takes effect.
    pub effect: Effect,
}

/// When a change of this key takes effect.
pub fn effect_of(key: &str) -> Effect {
    let known = EFFECTS.iter().find(|(name, _)| *name == key);
    known.map_or(Effect::Restart, |(_, effect)| *effect)
}

/// Every key. The row of each in docs/configuration.md says the same.
pub(super) const EFFECTS: &[(&str, Effect)] = &[
    ("adress", Effect::Restart),
    ("backlog", Effect::Restart),
    ("status", Effect::Restart),
    ("certFile", Effect::Newcomers),
    ("pkFile", Effect::Newcomers),
    ("logfile", Effect::AtOnce),
    ("console", Effect::AtOnce),
    ("loglevel", Effect::AtOnce),
    ("logConnections", Effect::AtOnce),
    ("logFormat", Effect::AtOnce),
    ("logSummary", Effect::AtOnce),
    ("logMaxSize", Effect::AtOnce),
    ("logKeep", Effect::AtOnce),
    ("maxClients", Effect::Newcomers),
    ("maxPerIP", Effect::Newcomers),
    ("maxPending", Effect::Newcomers),
    ("allowedIP", Effect::Newcomers),
    ("allowedOrigins", Effect::Newcomers),
    ("webSends", Effect::AtOnce),
    ("ownNames", Effect::Newcomers),
    ("maxIdent", Effect::Newcomers),
    ("subprotocols", Effect::Newcomers),
    ("sessions", Effect::Restart),
    ("sessionPrefix", Effect::Restart),
    ("userKey", Effect::Newcomers),
    ("sessionWait", Effect::Newcomers),
    ("sessionMaxAge", Effect::AtOnce),
    ("authUrl", Effect::Restart),
    ("authHeaders", Effect::Newcomers),
    ("authTimeout", Effect::AtOnce),
    ("authConcurrency", Effect::Restart),
    ("authKey", Effect::Newcomers),
    ("authRecheck", Effect::AtOnce),
    ("authIdle", Effect::AtOnce),
    ("stateDir", Effect::Restart),
    ("backplane", Effect::Restart),
    ("backplanePrefix", Effect::Restart),
    ("backplaneSecret", Effect::Restart),
    ("backplaneTimeout", Effect::AtOnce),
    ("backplaneQueue", Effect::AtOnce),
    ("backplaneCA", Effect::Restart),
    ("trustedProxies", Effect::Newcomers),
    ("pushToken", Effect::Newcomers),
    ("demo", Effect::Newcomers),
    ("phpPadding", Effect::Newcomers),
    ("maxMessageSize", Effect::AtOnce),
    ("maxWebMessage", Effect::AtOnce),
    ("maxFragments", Effect::AtOnce),
    ("maxChunks", Effect::AtOnce),
    ("maxQueue", Effect::AtOnce),
    ("memoryLimit", Effect::AtOnce),
    ("maxControlFrames", Effect::AtOnce),
    ("maxMessages", Effect::AtOnce),
    ("compression", Effect::Newcomers),
    ("compressionThreshold", Effect::Newcomers),
    ("compressionLevel", Effect::Newcomers),
    ("compressionContext", Effect::Newcomers),
    ("handshakeTimeout", Effect::Newcomers),
    ("keepAliveTimeout", Effect::Newcomers),
    ("pingInterval", Effect::AtOnce),
    ("pongTimeout", Effect::AtOnce),
    ("closeTimeout", Effect::AtOnce),
    ("stallTimeout", Effect::AtOnce),
    ("minProgress", Effect::AtOnce),
    ("shutdownTimeout", Effect::AtOnce),
    ("drainDelay", Effect::AtOnce),
    ("drainSpread", Effect::AtOnce),
    ("replaySize", Effect::AtOnce),
    ("replayTime", Effect::AtOnce),
    ("replayMemory", Effect::AtOnce),
    ("takeoverSocket", Effect::Restart),
    ("takeoverTime", Effect::AtOnce),
    ("require", Effect::Newcomers),
    ("ssp", Effect::Restart),
    ("cookie_name", Effect::Newcomers),
    ("key", Effect::Newcomers),
];

impl Config {
    /// Reads the ini file again that these settings are from, with `options` over it; the changes
    /// that it brings, in the order of websock.ini. What cannot change without a restart stays as
    /// it is. Where no file was found at the start, one is looked for again.
    ///
    /// # Errors
    /// Everything that is wrong. Nothing is to change then.
    pub fn reload(&self, options: &Options) -> Result<(Self, Vec<Change>), Errors> {
        let read = Self::load_again(options, self.source.as_deref())?;
        let changes = self.changes_to(&read);
        let mut settings = read.settings.clone();
        for (setting, old) in settings.iter_mut().zip(&self.settings) {
            if setting.value != old.value && effect_of(setting.key) == Effect::Restart {
                setting.clone_from(old);
            }
        }
        let mut config = match settings == read.settings {
            true => read,
            false => Self {
                source: read.source,
                ..rebuild(settings, read.warnings)?
            },
        };
        config.read_auth_key()?;
        config.read_backplane_secret()?;
        // What was told at the start need not be told again, and nothing twice.
        let mut told: HashSet<String> = self.warnings.iter().cloned().collect();
        config
            .warnings
            .retain(|warning| told.insert(warning.clone()));
        Ok((config, changes))
    }

    fn changes_to(&self, new: &Self) -> Vec<Change> {
        let both = self.settings.iter().zip(&new.settings);
        let changed = both.filter(|(old, new)| old.value != new.value);
        changed.map(|(old, new)| Change::of(old, new)).collect()
    }
}

impl Change {
    fn of(old: &Setting, new: &Setting) -> Self {
        Self {
            key: new.key,
            before: old.value.clone(),
            after: new.value.clone(),
            effect: effect_of(new.key),
        }
    }
}

impl fmt::Display for Change {
    /// `maxClients=200, was 100`; secrets are not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            key, before, after, ..
        } = self;
        if is_secret(key, before) || is_secret(key, after) {
            write!(f, "{key} changed")?;
        } else {
            write!(f, "{key}={}, was {}", shown(after), shown(before))?;
        }
        match self.effect {
            Effect::AtOnce => Ok(()),
            Effect::Newcomers => f.write_str("; holds for newcomers"),
            Effect::Restart => f.write_str("; not before a restart, the old value holds"),
        }
    }
}

fn shown(value: &str) -> String {
    match value {
        "" => "(empty)".to_owned(),
        value => escape(value).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::config::keys::KEYS;

    /// An ini file of its own for each test.
    struct Ini(PathBuf);

    impl Ini {
        fn new(name: &str, text: &str) -> Self {
            let file = format!("websock-reload-{}-{name}.ini", std::process::id());
            let ini = Self(std::env::temp_dir().join(file));
            ini.write(text);
            ini
        }

        fn write(&self, text: &str) {
            fs::write(&self.0, text).unwrap();
        }

        fn load(&self) -> (Config, Options) {
            let options = Options {
                ini: Some(self.0.clone()),
                console: Some("off".to_owned()),
                ..Options::default()
            };
            (Config::load(&options).unwrap(), options)
        }
    }

    impl Drop for Ini {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    #[test]
    fn every_key_says_when_a_change_takes_effect() {
        let named: Vec<&str> = EFFECTS.iter().map(|(key, _)| *key).collect();
        let known: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
        assert_eq!(named, known, "EFFECTS has the keys of KEYS, in their order");
        assert_eq!(effect_of("nobody knows it"), Effect::Restart);
    }

    #[test]
    fn changes_are_told_and_what_cannot_change_stays() {
        let ini = Ini::new(
            "changes",
            "maxClients=5\nadress=ws://localhost:1\nbacklog=7\n",
        );
        let (config, options) = ini.load();
        ini.write(
            "adress=ws://localhost:2\nmaxClients=6\npushToken=0123456789abcdef\nconsole=true\n",
        );
        let (new, changes) = config.reload(&options).unwrap();
        let lines: Vec<String> = changes.iter().map(Change::to_string).collect();
        let stays = "; not before a restart, the old value holds";
        assert_eq!(
            lines,
            [
                format!("adress=ws://localhost:2, was ws://localhost:1{stays}"),
                format!("backlog=1024, was 7{stays}"),
                "maxClients=6, was 5; holds for newcomers".to_owned(),
                "pushToken changed; holds for newcomers".to_owned(),
            ]
        );
        assert_eq!(new.listen, config.listen);
        assert_eq!(new.server.backlog, 7);
        assert_eq!(new.server.admission.max_clients, 6);
        assert!(!new.log.console, "the command line goes over the file");
        // What stays is told each time that the file is read, what has changed once.
        let (_, changes) = new.reload(&options).unwrap();
        let keys: Vec<&str> = changes.iter().map(|change| change.key).collect();
        assert_eq!(keys, ["adress", "backlog"]);
    }

    #[test]
    fn a_wrong_file_is_told_with_line_key_and_value() {
        let ini = Ini::new("wrong", "maxClients=5\n");
        let (config, options) = ini.load();
        ini.write("maxClients=6\n\npingInterval=never\nmaxQueue=1\n");
        let error = config.reload(&options).unwrap_err().to_string();
        for part in ["line 3: pingInterval=never: ", "line 4: maxQueue=1: "] {
            assert!(error.contains(part), "{error}");
        }
        fs::remove_file(&ini.0).unwrap();
        let error = config.reload(&options).unwrap_err().to_string();
        assert!(error.contains("wrong.ini: cannot be read: "), "{error}");
    }

    /// The new file is fine by itself, but not beside what stays.
    #[test]
    fn values_that_do_not_fit_what_stays_are_refused() {
        let ini = Ini::new("beside", "adress=wss://localhost:1\ncertFile=/a\n");
        let (config, options) = ini.load();
        ini.write("adress=ws://localhost:1\n");
        let error = config.reload(&options).unwrap_err().to_string();
        assert!(
            error.contains("certFile") && error.contains("wss"),
            "{error}"
        );
    }

    #[test]
    fn the_file_of_the_start_is_read_again_and_no_other() {
        let ini = Ini::new("same", "maxClients=5\n");
        let (mut config, _) = ini.load();
        let (new, changes) = config.reload(&Options::default()).unwrap();
        assert_eq!(new.source.as_deref(), Some(ini.0.as_path()));
        assert_eq!(changes.len(), 1, "console, which was typed: {changes:?}");
        config.warnings = new.warnings;
        assert!(
            config
                .reload(&Options::default())
                .unwrap()
                .0
                .warnings
                .is_empty()
        );
    }
}
