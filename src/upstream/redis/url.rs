//! The URL of a Redis or Valkey → its [`Target`].
//!
//! No message repeats any part of the URL: it may hold a password.

use std::fmt;

use super::super::target::{
    MAX_SOCKET_PATH_BYTES, Place, Protocol, Security, Target, TargetError, read_authority,
};
use super::login::{Login, Secret};

/// Why a URL names no Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisUrlError {
    /// Neither `redis://` nor `rediss://` nor `unix:/`.
    Scheme,
    /// Host, port, or the path of a socket.
    Place(TargetError),
    /// A user without a password: it might be meant as one.
    User,
    /// A `%` that two hexadecimal digits do not follow, or bytes that are not UTF-8.
    Encoding,
    /// Not the number of a database.
    Database,
    /// A parameter that is not known, or has no value.
    Parameter,
    /// No name of a master behind the Sentinels, or more than eight of these.
    Master,
    /// The same thing twice.
    Twice,
    /// A `#`: a password that holds one has to be percent-encoded.
    Fragment,
}

/// What a URL may say in several places, each only once.
#[derive(Default)]
struct Parts {
    user: Option<String>,
    password: Option<String>,
    database: Option<u32>,
    prefix: Option<String>,
    sentinel_user: Option<String>,
    sentinel_password: Option<String>,
}

impl Target {
    /// Reads the URL of a Redis or Valkey: `redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]`,
    /// `rediss://…` for TLS, or `unix:/SOCKET`; behind a `?` and divided by `&` may stand `user`,
    /// `password`, `database` and `prefix`. The port is 6379 if none is named.
    ///
    /// `redis+sentinel://[[USER]:PASSWORD@]HOST[:PORT],HOST[:PORT]…/MASTER` is the master that one of
    /// these Sentinels names, `rediss+sentinel://…` with TLS to all of them. User and password are
    /// the master's; those of the Sentinels are `sentinel-user` and `sentinel-password` behind the
    /// `?`. The port of a Sentinel is 26379 if none is named.
    ///
    /// Users, passwords and values of parameters may be percent-encoded, and have to be where they
    /// hold one of `%#&` or, before the host, `:/?@`. A `+` is a plus sign. The path of a socket is
    /// taken as it is.
    pub fn redis(url: &str) -> Result<Self, RedisUrlError> {
        let (scheme, rest) = url.split_once(':').ok_or(RedisUrlError::Scheme)?;
        let security = match scheme.to_ascii_lowercase().as_str() {
            "redis" => Security::Plain,
            "rediss" => Security::Tls,
            "redis+sentinel" => return redis_by_sentinels(rest, Security::Plain),
            "rediss+sentinel" => return redis_by_sentinels(rest, Security::Tls),
            "unix" => return redis_over_unix(rest),
            _ => return Err(RedisUrlError::Scheme),
        };
        let (mut parts, authority, path) = Parts::read(rest)?;
        if let Some(database) = path.strip_prefix('/').filter(|text| !text.is_empty()) {
            put(&mut parts.database, read_database(database)?)?;
        }
        if parts.has_sentinel_login() {
            return Err(RedisUrlError::Parameter);
        }
        let (host, port) = read_host(authority, DEFAULT_PORT)?;
        let login = Protocol::Redis(parts.into_login()?);
        Ok(Self::new(Place::Tcp { host, port }, security, login))
    }

    /// What the keys of whoever asks begin with, as its URL says; `None` if it speaks HTTP.
    pub fn redis_prefix(&self) -> Option<&str> {
        match self.protocol() {
            Protocol::Redis(login) => Some(&login.prefix),
            Protocol::Http { .. } => None,
        }
    }
}

/// `//[[USER]:PASSWORD@]HOST[:PORT],HOST[:PORT]…/MASTER[?PARAMETERS]`.
fn redis_by_sentinels(rest: &str, security: Security) -> Result<Target, RedisUrlError> {
    let (parts, authority, path) = Parts::read(rest)?;
    let master = decode(path.strip_prefix('/').unwrap_or_default())?;
    if master.is_empty() || master.contains(|c: char| c == '/' || c.is_control()) {
        return Err(RedisUrlError::Master);
    }
    let hosts = authority.split(',');
    let hosts: Vec<_> = hosts
        .map(|host| read_host(host, DEFAULT_SENTINEL_PORT))
        .collect::<Result<_, _>>()?;
    if hosts.len() > MAX_SENTINELS {
        return Err(RedisUrlError::Master);
    }
    let place = Place::Sentinels {
        hosts,
        master,
        login: parts.sentinel_login()?,
    };
    let login = Protocol::Redis(parts.into_login()?);
    Ok(Target::new(place, security, login))
}

fn read_host(text: &str, default_port: u16) -> Result<(String, u16), RedisUrlError> {
    let (host, port) = read_authority(text).map_err(RedisUrlError::Place)?;
    Ok((host, port.unwrap_or(default_port)))
}

/// `/SOCKET[?PARAMETERS]`.
fn redis_over_unix(rest: &str) -> Result<Target, RedisUrlError> {
    let (socket, query) = split_query(rest);
    if query.contains('#') {
        return Err(RedisUrlError::Fragment);
    }
    let is_path = socket.starts_with('/') && !socket.chars().any(char::is_control);
    if !is_path || socket.starts_with("//") || socket.len() > MAX_SOCKET_PATH_BYTES {
        return Err(RedisUrlError::Place(TargetError::SocketPath));
    }
    let mut parts = Parts::default();
    parts.read_query(query)?;
    if parts.has_sentinel_login() {
        return Err(RedisUrlError::Parameter);
    }
    let login = Protocol::Redis(parts.into_login()?);
    Ok(Target::new(
        Place::Unix(socket.into()),
        Security::Plain,
        login,
    ))
}

impl Parts {
    /// `//[[USER]:PASSWORD@]AUTHORITY[/PATH][?PARAMETERS]`: with what is left of it, authority and
    /// path.
    fn read(text: &str) -> Result<(Self, &str, &str), RedisUrlError> {
        let text = text.strip_prefix("//").ok_or(RedisUrlError::Scheme)?;
        if text.contains('#') {
            return Err(RedisUrlError::Fragment);
        }
        let (text, query) = split_query(text);
        let (authority, path) = text.split_at(text.find('/').unwrap_or(text.len()));
        let mut parts = Self::default();
        let authority = match authority.rsplit_once('@') {
            Some((userinfo, authority)) => {
                parts.read_userinfo(userinfo)?;
                authority
            }
            None => authority,
        };
        parts.read_query(query)?;
        Ok((parts, authority, path))
    }

    fn has_sentinel_login(&self) -> bool {
        self.sentinel_user.is_some() || self.sentinel_password.is_some()
    }

    fn sentinel_login(&self) -> Result<Login, RedisUrlError> {
        let parts = Self {
            user: self.sentinel_user.clone(),
            password: self.sentinel_password.clone(),
            ..Self::default()
        };
        parts.into_login()
    }

    /// `[USER]:PASSWORD`.
    fn read_userinfo(&mut self, text: &str) -> Result<(), RedisUrlError> {
        let (user, password) = text.split_once(':').ok_or(RedisUrlError::User)?;
        if !user.is_empty() {
            self.user = Some(decode(user)?);
        }
        self.password = Some(decode(password)?);
        Ok(())
    }

    fn read_query(&mut self, query: &str) -> Result<(), RedisUrlError> {
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').ok_or(RedisUrlError::Parameter)?;
            match name {
                "user" => put(&mut self.user, decode(value)?)?,
                "password" => put(&mut self.password, decode(value)?)?,
                "database" => put(&mut self.database, read_database(value)?)?,
                "prefix" => put(&mut self.prefix, decode(value)?)?,
                "sentinel-user" => put(&mut self.sentinel_user, decode(value)?)?,
                "sentinel-password" => put(&mut self.sentinel_password, decode(value)?)?,
                _ => return Err(RedisUrlError::Parameter),
            }
        }
        Ok(())
    }

    fn into_login(self) -> Result<Login, RedisUrlError> {
        if self.user.is_some() && self.password.is_none() {
            return Err(RedisUrlError::User);
        }
        Ok(Login {
            user: self.user.filter(|user| !user.is_empty()),
            password: self.password.map(Secret::new),
            database: self.database.unwrap_or(0),
            prefix: self.prefix.unwrap_or_default(),
        })
    }
}

fn split_query(text: &str) -> (&str, &str) {
    text.split_once('?').unwrap_or((text, ""))
}

fn put<T>(place: &mut Option<T>, value: T) -> Result<(), RedisUrlError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(RedisUrlError::Twice),
    }
}

fn read_database(text: &str) -> Result<u32, RedisUrlError> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_number.then(|| text.parse().ok()).flatten();
    // Redis itself counts in 32 bits with a sign.
    let number = number.filter(|number| *number <= i32::MAX.unsigned_abs());
    number.ok_or(RedisUrlError::Database)
}

/// Percent-decoding (RFC 3986 §2.1).
fn decode(text: &str) -> Result<String, RedisUrlError> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
                let pair = digit().zip(digit());
                let value = pair.and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
                value.ok_or(RedisUrlError::Encoding)?
            }
            byte => byte,
        });
    }
    String::from_utf8(decoded).map_err(|_| RedisUrlError::Encoding)
}

impl fmt::Display for RedisUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Place(error) => return error.fmt(f),
            Self::Scheme => {
                "the URL of a Redis begins with redis://, rediss://, redis+sentinel:// or unix:/: \
                 write one of them"
            }
            Self::User => {
                "the URL of a Redis names a user without a password: write USER:PASSWORD@, or \
                 :PASSWORD@ for a password alone"
            }
            Self::Encoding => {
                "the URL of a Redis holds a % that is no percent-encoding of UTF-8: write %25 for \
                 a percent sign"
            }
            Self::Database => {
                "the database in the URL of a Redis is no number from 0 on: write /NUMBER behind \
                 the host, or database=NUMBER"
            }
            Self::Parameter => {
                "the URL of a Redis has a parameter that is not known, or no value for one: known \
                 are user=, password=, database= and prefix=, with Sentinels also sentinel-user= \
                 and sentinel-password=; write %26 for & in a value"
            }
            Self::Master => {
                "the URL of Sentinels names no master, or too many hosts: write \
                 redis+sentinel://HOST:PORT,HOST:PORT/MASTER with at most eight hosts"
            }
            Self::Twice => "the URL of a Redis says the same thing twice: leave one out",
            Self::Fragment => "the URL of a Redis holds a #: write %23 for it",
        })
    }
}

impl std::error::Error for RedisUrlError {}

/// Redis's own.
const DEFAULT_PORT: u16 = 6379;

/// Sentinel's own.
const DEFAULT_SENTINEL_PORT: u16 = 26379;

/// Most Sentinels: three or five are usual, and each takes a part of the time.
const MAX_SENTINELS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> Result<String, RedisUrlError> {
        let target = Target::redis(url)?;
        let Protocol::Redis(login) = target.protocol() else {
            panic!("{target:?}");
        };
        let place = match target.place() {
            Place::Tcp { host, port } => format!("{:?} {host} {port}", target.security()),
            Place::Unix(socket) => format!("unix {}", socket.display()),
            Place::Sentinels {
                hosts,
                master,
                login,
            } => {
                let password = login.password.as_ref().map_or(&b"-"[..], Secret::as_bytes);
                let password = str::from_utf8(password).unwrap();
                let user = login.user.as_deref().unwrap_or("-");
                format!(
                    "{:?} {hosts:?} {user} {password} {master}",
                    target.security()
                )
            }
        };
        let user = login.user.as_deref().unwrap_or("-");
        let password = login.password.as_ref().map_or(&b"-"[..], Secret::as_bytes);
        let password = str::from_utf8(password).unwrap();
        Ok(format!(
            "{place} {user} {password} {} {}",
            login.database, login.prefix
        ))
    }

    #[test]
    fn urls_are_read() {
        for (url, expected) in [
            ("redis://a", "Plain a 6379 - - 0 "),
            ("REDISS://A.Example:1/", "Tls a.example 1 - - 0 "),
            ("redis://[::1]:6380/15", "Plain ::1 6380 - - 15 "),
            ("redis://:p@a/2", "Plain a 6379 - p 2 "),
            ("redis://u:p@a?prefix=P:", "Plain a 6379 u p 0 P:"),
            ("redis://u:@a", "Plain a 6379 u  0 "),
            ("redis://u%3A:%40%2f%25%C3%A4@a", "Plain a 6379 u: @/%ä 0 "),
            ("redis://u:a:b+c@a", "Plain a 6379 u a:b+c 0 "),
            ("redis://u:p@x@a", "Plain a 6379 u p@x 0 "),
            (
                "redis://a?user=u&password=p%26q=&database=3&",
                "Plain a 6379 u p&q= 3 ",
            ),
            ("redis://a/?prefix=", "Plain a 6379 - - 0 "),
            (
                "redis+sentinel://:p@a,[::1]:1/m?sentinel-password=s&database=2&prefix=x",
                "Plain [(\"a\", 26379), (\"::1\", 1)] - s m - p 2 x",
            ),
            (
                "rediss+sentinel://a/my%20master?sentinel-user=u&sentinel-password=s",
                "Tls [(\"a\", 26379)] u s my master - - 0 ",
            ),
            ("unix:/run/r.sock", "unix /run/r.sock - - 0 "),
            (
                "unix:/run/a%20b:c.sock?password=p&prefix=PHPREDIS_SESSION:",
                "unix /run/a%20b:c.sock - p 0 PHPREDIS_SESSION:",
            ),
        ] {
            assert_eq!(shown(url).as_deref(), Ok(expected), "{url}");
        }
    }

    #[test]
    fn what_has_two_readings_is_refused() {
        use RedisUrlError::*;
        let long_socket = format!("unix:/{}", "a".repeat(107));
        for (url, expected) in [
            ("", Scheme),
            ("a:6379", Scheme),
            ("http://a", Scheme),
            ("redis:a", Scheme),
            ("redis:/a", Scheme),
            ("redis://secret@a", User),
            ("redis://a?user=u", User),
            ("redis://", Place(TargetError::Host)),
            ("redis://:p@", Place(TargetError::Host)),
            ("redis://a b", Place(TargetError::Host)),
            ("redis://a,b", Place(TargetError::Host)),
            ("redis://a:0", Place(TargetError::Port)),
            ("redis://a:x", Place(TargetError::Port)),
            ("redis://:p%@a", Encoding),
            ("redis://:p%4@a", Encoding),
            ("redis://:p%4g@a", Encoding),
            ("redis://:p%+1@a", Encoding),
            ("redis://:%ff@a", Encoding),
            ("redis://a/x", Database),
            ("redis://a/0/", Database),
            ("redis://a/-1", Database),
            ("redis://a/+1", Database),
            ("redis://a/2147483648", Database),
            ("redis://a?database=", Database),
            ("redis://a?db=1", Parameter),
            ("redis://a?secret", Parameter),
            ("redis://a/1?database=1", Twice),
            ("redis://:p@a?password=p", Twice),
            ("redis://a?prefix=a&prefix=b", Twice),
            ("redis://:a#b@c", Fragment),
            ("redis+sentinel://a", Master),
            ("redis+sentinel://a/", Master),
            ("redis+sentinel://a/b/c", Master),
            ("redis+sentinel://a,a,a,a,a,a,a,a,a/b", Master),
            ("redis+sentinel://a,/b", Place(TargetError::Host)),
            ("redis+sentinel://a/b?sentinel-user=u", User),
            ("redis://a?sentinel-password=p", Parameter),
            ("unix:/a?sentinel-user=u", Parameter),
            ("unix:", Place(TargetError::SocketPath)),
            ("unix:a", Place(TargetError::SocketPath)),
            ("unix://a", Place(TargetError::SocketPath)),
            ("unix:/a\0", Place(TargetError::SocketPath)),
            (&long_socket, Place(TargetError::SocketPath)),
            ("unix:/a?password=a#b", Fragment),
        ] {
            assert_eq!(shown(url), Err(expected), "{url}");
        }
    }

    #[test]
    fn nothing_shown_holds_the_password() {
        for url in [
            "redis://user:secret@a/1?prefix=x",
            "unix:/a?user=user&password=secret",
            "redis+sentinel://user:secret@a/m?sentinel-user=user&sentinel-password=secret",
        ] {
            let target = Target::redis(url).unwrap();
            let shown = format!("{target} {target:?} {:?}", target.protocol());
            assert!(
                !shown.contains("secret") && !shown.contains("user"),
                "{shown}"
            );
        }
        for url in ["redis://secret@a", "redis://:secret@", "redis://a?secret=x"] {
            let error = Target::redis(url).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        }
    }
}
