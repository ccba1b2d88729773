//! The table of keys: name, default, and how a value gets into [`Config`].
//!
//! A new key is one line here, its field, its comment in websock.ini (which gives unit, range and
//! reason of every key) and nothing else.

use std::time::Duration;

use super::backplane;
use super::config::Config;
use super::control_path::control_path;
use super::listen::listeners;
use super::origin::origins;
use super::sign_in::{
    auth_key, auth_url, cookie_name, header_names, idle_session, jsauth_folder, session_prefix,
    session_store, variable_path,
};
use super::status_listen::status_listeners;
use super::value::{
    Expected, G, K, M, boolean, count, duration, duration_or_auto, duration_or_off, host_names,
    level, log_format, networks, path, pem_files, proxies, size, size_or_off, subprotocols, token,
};
use super::web_sends::web_sends;
use crate::api::Demo;

/// One key of websock.ini.
pub(super) struct Key {
    /// As written in messages and in websock.ini; read without regard to case.
    pub(super) name: &'static str,
    /// What holds without the key, in the words of websock.ini.
    pub(super) default: &'static str,
    /// Puts a value where it belongs, or says what would be right.
    pub(super) apply: fn(&mut Config, &str) -> Result<(), Expected>,
}

/// The key that is called `name`, whatever its case; `address` is `adress`.
pub(super) fn position(name: &str) -> Option<usize> {
    let name = if name.eq_ignore_ascii_case("address") {
        "adress"
    } else {
        name
    };
    KEYS.iter()
        .position(|key| key.name.eq_ignore_ascii_case(name))
}

/// The key whose name looks most like `name`, if one does, or that does what a key of this name
/// does in other programs.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    match name.as_str() {
        "port" | "host" | "bind" | "listen" | "ip" | "socket" | "url" => return Some("adress"),
        "cert" | "certificate" | "sslcert" | "ssl_cert" => return Some("certFile"),
        "key" | "keyfile" | "privatekey" | "sslkey" | "ssl_key" => return Some("pkFile"),
        "origin" | "origins" | "cors" => return Some("allowedOrigins"),
        "log" | "logging" => return Some("logfile"),
        "redis" | "cluster" | "valkey" => return Some("backplane"),
        "token" | "secret" => return Some("pushToken"),
        "proxy" | "proxies" => return Some("trustedProxies"),
        _ => {}
    }
    KEYS.iter()
        .map(|key| {
            (
                strsim::jaro_winkler(&key.name.to_ascii_lowercase(), &name),
                key.name,
            )
        })
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, name)| name)
}

/// In the order of websock.ini.
#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("adress", "ws://localhost:8096", |c, v| set(&mut c.listen, listeners(v))),
    key("backlog", "1024", |c, v| set(&mut c.server.backlog, count(v, 1..=65_535))),
    key("status", "", |c, v| set(&mut c.status, status_listeners(v))),
    key("certFile", "", |c, v| set(&mut c.cert_files, pem_files(v))),
    key("pkFile", "", |c, v| set(&mut c.key_files, pem_files(v))),

    key("logfile", "", |c, v| set(&mut c.log.file, path(v))),
    key("console", "true", |c, v| set(&mut c.log.console, boolean(v))),
    key("loglevel", "info", |c, v| set(&mut c.log.level, level(v))),
    key("logConnections", "on", |c, v| set(&mut c.log.connections, boolean(v))),
    key("logFormat", "text", |c, v| set(&mut c.log.format, log_format(v))),
    key("logSummary", "1h", |c, v| {
        set(&mut c.server.summary_interval, duration_or_off(v, SECOND..=DAY))
    }),
    key("logMaxSize", "0", |c, v| set(&mut c.log.max_bytes, size_or_off(v, 4 * K..=1024 * G))),
    key("logKeep", "5", |c, v| set(&mut c.log.keep, count(v, 1..=1_000))),

    key("maxClients", "100000", |c, v| set(&mut c.server.admission.max_clients, count(v, 1..=10_000_000))),
    key("maxPerIP", "0", |c, v| set(&mut c.server.admission.max_per_ip, count(v, 0..=10_000_000))),
    key("maxPending", "10000", |c, v| set(&mut c.server.max_pending, count(v, 1..=10_000_000))),
    key("allowedIP", "", |c, v| set(&mut c.server.admission.allowed_ip, networks(v))),
    key("allowedOrigins", "", |c, v| set(&mut c.server.admission.allowed_origins, origins(v))),
    key("webSends", "php", |c, v| set(&mut c.server.web_sends, web_sends(v))),
    key("ownNames", "", |c, v| set(&mut c.server.admission.own_hosts, host_names(v))),
    key("maxIdent", "128", |c, v| set(&mut c.server.max_ident_bytes, size(v, 1..=8 * K))),
    key("subprotocols", "", |c, v| set(&mut c.server.subprotocols, subprotocols(v))),

    key("sessions", "", |c, v| set(&mut c.server.sign_in.sessions.store, session_store(v))),
    key("sessionPrefix", "sess_", |c, v| set(&mut c.session_prefix, session_prefix(v))),
    key("userKey", "", |c, v| set(&mut c.server.sign_in.sessions.user_key, variable_path(v))),
    key("sessionWait", "3", |c, v| {
        set(&mut c.server.sign_in.sessions.wait, duration(v, Duration::ZERO..=MINUTE))
    }),
    key("sessionMaxAge", "1440", |c, v| {
        set(&mut c.server.sign_in.sessions.max_age, duration(v, SECOND..=YEAR))
    }),
    key("authUrl", "", |c, v| set(&mut c.server.sign_in.url.target, auth_url(v))),
    key("authHeaders", "", |c, v| set(&mut c.server.sign_in.url.headers, header_names(v))),
    key("authTimeout", "2", |c, v| set(&mut c.server.sign_in.url.timeout, duration(v, TICK..=MINUTE))),
    key("authConcurrency", "4", |c, v| {
        set(&mut c.server.sign_in.url.concurrency, count(v, 1..=1_000))
    }),
    key("authKey", "", |c, v| set(&mut c.auth_key, auth_key(v))),
    key("authRecheck", "60", |c, v| {
        set(&mut c.server.sign_in.recheck_interval, duration_or_off(v, SECOND..=DAY))
    }),
    key("authIdle", "keep", |c, v| set(&mut c.server.sign_in.idle, idle_session(v))),
    key("stateDir", "", |c, v| set(&mut c.state_dir, path(v))),

    key("backplane", "", |c, v| set(&mut c.server.backplane.target, backplane::backplane(v))),
    key("backplanePrefix", "websock:", |c, v| set(&mut c.server.backplane.prefix, backplane::prefix(v))),
    key("backplaneSecret", "", |c, v| set(&mut c.backplane_secret, backplane::secret(v))),
    key("backplaneTimeout", "250ms", |c, v| {
        set(&mut c.server.backplane.timeout, duration(v, TICK..=MINUTE))
    }),
    key("backplaneQueue", "1M", |c, v| set(&mut c.server.backplane.max_queue_bytes, size(v, 64 * K..=G))),
    key("backplaneCA", "", |c, v| set(&mut c.server.backplane.roots, path(v))),

    key("trustedProxies", "", |c, v| set(&mut c.server.admission.trusted_proxies, proxies(v))),

    key("pushToken", "", |c, v| set(&mut c.server.admission.push_token, token(v))),
    key("demo", "off", |c, v| set(&mut c.server.demo, boolean(v).map(Demo::from))),

    key("phpPadding", "on", |c, v| set(&mut c.server.php_padding, boolean(v))),

    key("maxMessageSize", "16M", |c, v| set(&mut c.server.limits.max_message_bytes, size(v, K..=G))),
    key("maxWebMessage", "0", |c, v| {
        set(&mut c.server.limits.max_web_message_bytes, size_or_off(v, K..=G))
    }),
    key("maxFragments", "1000000", |c, v| {
        set(&mut c.server.limits.max_fragments, count(v, 1..=100_000_000))
    }),
    key("maxChunks", "100", |c, v| set(&mut c.server.max_chunks, count(v, 1..=1_000_000))),
    key("maxQueue", "8M", |c, v| set(&mut c.server.limits.max_queue_bytes, size(v, 64 * K..=G))),
    key("memoryLimit", "128M", |c, v| set(&mut c.server.memory_limit_bytes, size(v, M..=1024 * G))),
    key("maxControlFrames", "1000", |c, v| {
        set(&mut c.server.limits.max_control_frames_per_second, count(v, 1..=1_000_000))
    }),
    key("maxMessages", "0", |c, v| {
        set(&mut c.server.limits.max_messages_per_second, count(v, 0..=1_000_000))
    }),

    key("compression", "off", |c, v| set(&mut c.server.compression.is_on, boolean(v))),
    key("compressionThreshold", "1K", |c, v| {
        set(&mut c.server.compression.threshold_bytes, size(v, 0..=G))
    }),
    key("compressionLevel", "2", |c, v| set(&mut c.server.compression.level, count(v, 1..=9))),
    key("compressionContext", "off", |c, v| set(&mut c.server.compression.keeps_context, boolean(v))),

    key("handshakeTimeout", "10", |c, v| {
        set(&mut c.server.limits.handshake_timeout, duration(v, TICK..=HOUR))
    }),
    key("keepAliveTimeout", "60", |c, v| {
        set(&mut c.server.limits.keep_alive_timeout, duration(v, TICK..=HOUR))
    }),
    key("pingInterval", "30", |c, v| {
        set(&mut c.server.limits.ping_interval, duration_or_off(v, TICK..=DAY))
    }),
    key("pongTimeout", "20", |c, v| set(&mut c.server.limits.pong_timeout, duration(v, TICK..=HOUR))),
    key("closeTimeout", "5", |c, v| set(&mut c.server.limits.close_timeout, duration(v, TICK..=HOUR))),
    key("stallTimeout", "30", |c, v| set(&mut c.server.limits.stall_timeout, duration(v, TICK..=HOUR))),
    key("minProgress", "1K", |c, v| set(&mut c.server.limits.min_progress_bytes, size(v, 1..=G))),
    key("shutdownTimeout", "5", |c, v| {
        set(&mut c.server.shutdown_timeout, duration(v, Duration::ZERO..=HOUR))
    }),
    key("drainDelay", "0", |c, v| set(&mut c.server.drain.delay, duration(v, Duration::ZERO..=HOUR))),
    key("drainSpread", "auto", |c, v| {
        set(&mut c.server.drain.spread, duration_or_auto(v, Duration::ZERO..=HOUR))
    }),

    key("replaySize", "100", |c, v| set(&mut c.server.replay.max_messages, count(v, 1..=100_000))),
    key("replayTime", "120", |c, v| set(&mut c.server.replay.time, duration(v, Duration::ZERO..=DAY))),
    key("replayMemory", "16M", |c, v| set(&mut c.server.replay.max_bytes, size(v, 64 * K..=G))),

    key("takeoverSocket", "auto", |c, v| set(&mut c.takeover_socket, control_path(v))),
    key("takeoverTime", "5", |c, v| {
        set(&mut c.server.takeover.patience, duration(v, Duration::ZERO..=HOUR))
    }),
    key("require", "false", |c, v| set(&mut c.server.sign_in.require, boolean(v))),
    key("ssp", "", |c, v| set(&mut c.jsauth_folder, jsauth_folder(v))),
    key("cookie_name", "PHPSESSID", |c, v| {
        set(&mut c.server.sign_in.sessions.cookie_name, cookie_name(v))
    }),
    key("key", "", |c, v| set(&mut c.server.sign_in.sessions.key, variable_path(v))),
];

/// Shortest time that a limit can be set to; below it the event loop's own turns would count.
const TICK: Duration = Duration::from_millis(10);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const YEAR: Duration = Duration::from_secs(365 * 86_400);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

const fn key(
    name: &'static str,
    default: &'static str,
    apply: fn(&mut Config, &str) -> Result<(), Expected>,
) -> Key {
    Key {
        name,
        default,
        apply,
    }
}

fn set<T>(field: &mut T, value: Result<T, Expected>) -> Result<(), Expected> {
    *field = value?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_without_regard_to_case() {
        let name = |text: &str| position(text).map(|index| KEYS[index].name);
        assert_eq!(name("adress"), Some("adress"));
        assert_eq!(name("Address"), Some("adress"));
        assert_eq!(name("MAXPERIP"), Some("maxPerIP"));
        assert_eq!(name("maxPerIPs"), None);
        assert_eq!(name(""), None);
    }

    #[test]
    fn a_typing_error_finds_its_key() {
        let table = [
            ("adresss", Some("adress")),
            ("adres", Some("adress")),
            ("maxclient", Some("maxClients")),
            ("max_per_ip", Some("maxPerIP")),
            ("loglevl", Some("loglevel")),
            ("pingIntervall", Some("pingInterval")),
            ("allowedOrigin", Some("allowedOrigins")),
            ("port", Some("adress")),
            ("Listen", Some("adress")),
            ("ssl_cert", Some("certFile")),
            ("token", Some("pushToken")),
            ("xyzzy", None),
            ("", None),
        ];
        for (typed, expected) in table {
            assert_eq!(nearest(typed), expected, "{typed}");
        }
    }

    #[test]
    fn no_name_is_there_twice() {
        for (index, key) in KEYS.iter().enumerate() {
            assert_eq!(position(key.name), Some(index), "{}", key.name);
        }
    }
}
