//! The command line → [`Invocation`]: what to do, and the options as they were typed.
//!
//! The spelling is the PHP server's: names with one dash or two, values behind a blank or `=`.
//! Values are not looked at here; [`crate::config`] checks them together with those of
//! websock.ini. Refuses to know: files, the environment, what a key means.

mod hints;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use crate::config::{Options, Proxy};

use super::client::{Command, Recipient, Whom};
use crate::client::{ClientSettings, Dialogue, Kind};

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Invocation {
    /// Serve until a signal comes.
    Serve(Options),
    /// Read everything, say what is wrong, end (`--check`).
    Check {
        /// What to check.
        options: Options,
        /// `--dial URL`: the public address, to be connected to.
        dial: Option<String>,
        /// Whether what is in force is printed as well.
        detail: Detail,
    },
    /// Print what a proxy in front needs (`--print-proxy`).
    PrintProxy(Options, Proxy),
    /// Speak to a server: `send`, `logout`, `listen`, `echo`.
    Client(ClientOptions),
    /// Print [`USAGE`] (`--help`).
    Help,
    /// Print name and version (`--version`).
    Version,
}

/// How much `--check` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// What it has found.
    Findings,
    /// What is in force as well (`--verbose`).
    Settings,
}

/// A subcommand with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// What to do.
    pub command: Command,
    /// `--url`: where.
    pub address: String,
    /// As whom.
    pub settings: ClientSettings,
}

/// Why a command line cannot be understood; one sentence for the person who typed it.
#[derive(Debug, PartialEq, Eq)]
pub struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// Reads the arguments behind the program's name.
///
/// An argument that is not UTF-8, an unknown option, an option without its value, a value for an
/// option that takes none and any word that is not an option are errors. `--help` comes before
/// `--version` comes before `--check`.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, UsageError> {
    let arguments = arguments
        .into_iter()
        .map(OsString::into_string)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|bad| UsageError(format!("not UTF-8: {}", bad.to_string_lossy())))?;
    if let Some((name @ ("send" | "logout" | "listen" | "echo"), rest)) = arguments
        .split_first()
        .map(|(name, rest)| (name.as_str(), rest))
    {
        return parse_client(name, rest);
    }
    let matches = known_options()
        .parse(normalise(&arguments))
        .map_err(|fail| UsageError(format!("{fail}{}", hints::for_option(&fail, &arguments))))?;
    if let Some(word) = matches.free.first() {
        let hint = hints::for_word(word);
        return Err(UsageError(format!("Unexpected argument: '{word}'{hint}")));
    }
    let last = |name: &str| matches.opt_strs(name).pop();
    let options = Options {
        ini: last("i").map(PathBuf::from),
        adress: last("adress"),
        logfile: last("logfile"),
        console: last("console"),
        takeover: matches.opt_present("takeover"),
    };
    let is_check = matches.opt_present("check") || matches.opt_present("dial");
    let detail = match matches.opt_present("verbose") {
        true => Detail::Settings,
        false => Detail::Findings,
    };
    Ok(if matches.opt_present("help") {
        Invocation::Help
    } else if matches.opt_present("version") {
        Invocation::Version
    } else if let Some(name) = last("print-proxy") {
        Invocation::PrintProxy(options, proxy_named(&name)?)
    } else if is_check {
        let dial = last("dial");
        Invocation::Check {
            options,
            dial,
            detail,
        }
    } else if detail == Detail::Settings {
        let text = "--verbose is for --check; loglevel=debug in websock.ini makes the log say more";
        return Err(UsageError(text.to_owned()));
    } else {
        Invocation::Serve(options)
    })
}

/// Reads what stands behind a subcommand.
fn parse_client(name: &str, arguments: &[String]) -> Result<Invocation, UsageError> {
    let wrong = |text: &str| UsageError(format!("{name}: {text}"));
    let matches = client_options()
        .parse(arguments)
        .map_err(|fail| wrong(&fail.to_string()))?;
    if matches.opt_present("help") {
        return Ok(Invocation::Help);
    }
    let text = |option: &str| matches.opt_str(option).unwrap_or_default();
    let (command, mut settings, path) = match (name, matches.free.as_slice()) {
        ("send", [message]) => {
            let (to, message) = (recipient(&matches).map_err(wrong)?, message.clone());
            (
                Command::Send { to, message },
                ClientSettings::script(),
                "/php",
            )
        }
        ("send", _) => {
            return Err(wrong(
                "one MESSAGE is wanted, or - for lines of standard input",
            ));
        }
        ("logout", []) => {
            let whom = whom(&matches).map_err(wrong)?;
            (Command::LogOut(whom), ClientSettings::script(), "/php")
        }
        ("logout", _) => return Err(wrong("no message is wanted")),
        ("listen", []) => (Command::Listen, ClientSettings::page(), "/web"),
        ("listen", [url]) if url.contains("://") => {
            return Err(wrong(&format!(
                "no message is wanted; --url {url} is meant"
            )));
        }
        ("listen", _) => return Err(wrong("no message is wanted")),
        (_, [message]) => (
            Command::Echo {
                message: message.clone(),
            },
            ClientSettings::page(),
            "/web",
        ),
        (_, []) => (
            Command::Echo {
                message: "hello".to_owned(),
            },
            ClientSettings::page(),
            "/web",
        ),
        (_, _) => return Err(wrong("one MESSAGE is wanted")),
    };
    if name == "listen" {
        settings.ident = text("ident");
        settings.cookie = text("cookie");
        settings.resume = matches.opt_present("resume");
    }
    settings.token = text("token");
    if matches.opt_present("raw") {
        if settings.resume {
            return Err(wrong("--resume is for websock's servers, --raw for others"));
        }
        settings.dialogue = Dialogue::None;
        settings.kind = Kind::Web;
    }
    if let Some(seconds) = matches.opt_str("timeout") {
        let seconds = seconds
            .parse()
            .ok()
            .filter(|seconds| (1..=3600).contains(seconds));
        let seconds = seconds.ok_or_else(|| wrong("--timeout wants seconds, 1 to 3600"))?;
        settings.timeout = Duration::from_secs(seconds);
    }
    let address = matches.opt_str("url");
    let address = address.unwrap_or_else(|| format!("ws://localhost:8096{path}"));
    Ok(Invocation::Client(ClientOptions {
        command,
        address,
        settings,
    }))
}

fn proxy_named(name: &str) -> Result<Proxy, UsageError> {
    match name.to_ascii_lowercase().as_str() {
        "nginx" => Ok(Proxy::Nginx),
        "apache" => Ok(Proxy::Apache),
        "caddy" => Ok(Proxy::Caddy),
        "haproxy" => Ok(Proxy::Haproxy),
        _ => Err(UsageError(format!(
            "No proxy is known as '{name}': nginx, apache, caddy or haproxy is wanted"
        ))),
    }
}

fn recipient(matches: &getopts::Matches) -> Result<Recipient, &'static str> {
    let is_to_all = matches.opt_present("broadcast") || matches.opt_present("raw");
    let mut named = [
        matches.opt_str("uuid").map(Recipient::Uuid),
        matches.opt_str("ident").map(Recipient::Ident),
        matches.opt_str("user").map(Recipient::User),
        is_to_all.then_some(Recipient::All),
    ]
    .into_iter()
    .flatten();
    match (named.next(), named.next()) {
        (Some(one), None) => Ok(one),
        _ => Err("one of --uuid U, --ident I, --user ID, --broadcast and --raw is wanted"),
    }
}

fn whom(matches: &getopts::Matches) -> Result<Whom, &'static str> {
    match (matches.opt_str("user"), matches.opt_str("session")) {
        (Some(user), None) => Ok(Whom::User(user)),
        (None, Some(session)) => Ok(Whom::Session(session)),
        _ => Err("one of --user ID and --session ID is wanted"),
    }
}

fn client_options() -> getopts::Options {
    let mut known = getopts::Options::new();
    known
        .optopt("", "url", "", "URL")
        .optopt("", "uuid", "", "U")
        .optopt("", "ident", "", "I")
        .optopt("", "user", "", "ID")
        .optopt("", "session", "", "ID")
        .optopt("", "cookie", "", "COOKIE")
        .optopt("", "token", "", "TOKEN")
        .optopt("", "timeout", "", "SECONDS")
        .optflag("", "broadcast", "")
        .optflag("", "raw", "")
        .optflag("", "resume", "")
        .optflag("h", "help", "");
    known
}

/// `optmulti` throughout: PHP lets the last one win where getopts would refuse the second.
fn known_options() -> getopts::Options {
    let mut known = getopts::Options::new();
    known
        .optmulti("i", "ini", "", "FILE")
        .optmulti("", "adress", "", "LIST")
        .optmulti("", "logfile", "", "FILE")
        .optmulti("", "console", "", "VALUE")
        .optmulti("", "dial", "", "URL")
        .optmulti("", "print-proxy", "", "PROXY")
        .optflagmulti("", "check", "")
        .optflagmulti("", "takeover", "")
        .optflagmulti("v", "verbose", "")
        .optflagmulti("h", "help", "")
        .optflagmulti("V", "version", "");
    known
}

/// Rewrites every option as `--name` or `--name=value`, the one spelling for which getopts and the
/// PHP server agree: getopts takes `-adress` for a bundle of seven short options, and gives an
/// option that wants a value the next argument even if that is an option itself.
fn normalise(arguments: &[String]) -> Vec<String> {
    let mut normal = Vec::with_capacity(arguments.len());
    let mut rest = arguments.iter().peekable();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            normal.push(argument.clone());
            normal.extend(rest.cloned());
            break;
        }
        let Some(typed) = argument
            .strip_prefix("--")
            .or_else(|| argument.strip_prefix('-'))
        else {
            normal.push(argument.clone());
            continue;
        };
        let (name, value) = match typed.split_once('=') {
            Some((name, value)) => (full_name(name), Some(value.to_owned())),
            None => (full_name(typed), None),
        };
        let takes_value = TAKING_VALUES.contains(&name);
        let value = match value {
            None if takes_value => rest.next_if(|next| !next.starts_with('-')).cloned(),
            given => given,
        };
        normal.push(match value {
            Some(value) => format!("--{name}={value}"),
            None if name == "console" => "--console=true".to_owned(),
            None if takes_value => {
                // Last, so that getopts finds no value behind it and says so.
                normal.push(format!("--{name}"));
                return normal;
            }
            None => format!("--{name}"),
        });
    }
    normal
}

/// The name that getopts knows for what was typed behind the dashes.
fn full_name(typed: &str) -> &str {
    match typed {
        "i" => "ini",
        "address" => "adress",
        "h" => "help",
        "V" => "version",
        "v" => "verbose",
        other => other,
    }
}

/// Options that have a value; `console` may go without.
const TAKING_VALUES: [&str; 6] = ["ini", "adress", "logfile", "console", "dial", "print-proxy"];

/// The text of `--help`.
pub const USAGE: &str = "\
websock: push messages into browsers from PHP and any other backend

usage: websock [OPTIONS]            serve
       websock send|logout|listen|echo …   be a client

  -i FILE            read this ini file; without it the first one found of
                     ./websock.ini, websock.ini beside the executable,
                     /etc/websock/websock.ini
  -adress LIST       addresses to listen on, over the ini's adress
                     (-address as well), e.g. ws://localhost:8096
  -logfile FILE      file to log to, over the ini's logfile
  -console [VALUE]   log to the console, over the ini's console;
                     false, off, no or 0 switch it off
  --takeover         take the connections of the server over that runs with this ini
                     file, and serve in its place; it goes on if that fails
  --check            read everything, say what would keep the server from starting
                     and what should be looked at, end; exit code 1 if it would
  -v, --verbose      with --check: also what is in force, and why
  --dial URL         with --check: connect to the server's public address, such as
                     wss://www.example.org/websock/web, and say what fails
  --print-proxy WHO  the block that nginx, apache, caddy or haproxy needs in front
  -h, --help         this text
  -V, --version      name and version

As a client, of this or another server:

  websock send [--uuid U | --ident I | --user ID | --broadcast] MESSAGE
                     send JSON or a text; - sends each line of standard input;
                     says how many it reached, and for how many that are away
                     it waits; exit code 1 if nobody
  websock logout [--user ID | --session ID]
                     close all tabs of a user, or of a session; says how many
  websock listen [--ident I] [--cookie C] [--resume]
                     print what arrives, a line for each packet; C signs in as a
                     browser does that has this cookie, e.g. PHPSESSID=…;
                     --resume comes back after each loss and misses nothing, or
                     says on standard error that there is a gap, and why
  websock echo [MESSAGE]
                     send a message to oneself, say how long that took
  --url URL          where; without it ws://localhost:8096/php or /web
  --token TOKEN      what the server's pushToken has
  --timeout SECONDS  longest wait for an answer, 10 without it
  --raw              any WebSocket server: no ready, no next, messages as they are

One dash or two; a value follows after a blank or '='. A value that begins with
a dash needs the '='.
";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(line: &str) -> Result<Invocation, UsageError> {
        parse(
            line.split(' ')
                .filter(|word| !word.is_empty())
                .map(OsString::from),
        )
    }

    fn options(ini: &str, adress: &str, logfile: &str, console: &str) -> Options {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Options {
            ini: some(ini).map(PathBuf::from),
            adress: some(adress),
            logfile: some(logfile),
            console: some(console),
            takeover: false,
        }
    }

    fn check(options: Options, dial: Option<&str>) -> Invocation {
        Invocation::Check {
            options,
            dial: dial.map(str::to_owned),
            detail: Detail::Findings,
        }
    }

    #[test]
    fn options_are_taken_as_typed() {
        let table = [
            ("nothing", "", options("", "", "", "")),
            ("ini file", "-i a.ini", options("a.ini", "", "", "")),
            ("two dashes", "--i a.ini", options("a.ini", "", "", "")),
            ("equals sign", "-i=a.ini", options("a.ini", "", "", "")),
            ("long name", "--ini a.ini", options("a.ini", "", "", "")),
            (
                "php spelling",
                "-adress ws://h:1",
                options("", "ws://h:1", "", ""),
            ),
            (
                "english spelling",
                "--address=ws://h:1",
                options("", "ws://h:1", "", ""),
            ),
            (
                "value with equals sign",
                "-adress=a=b",
                options("", "a=b", "", ""),
            ),
            (
                "last one wins",
                "-adress a -address b",
                options("", "b", "", ""),
            ),
            ("logfile", "-logfile /tmp/x", options("", "", "/tmp/x", "")),
            ("bare console", "-console", options("", "", "", "true")),
            (
                "console with equals sign",
                "-console=false",
                options("", "", "", "false"),
            ),
            (
                "console with blank",
                "--console off",
                options("", "", "", "off"),
            ),
            (
                "console keeps its hands off",
                "-console -i a",
                options("a", "", "", "true"),
            ),
            (
                "console before two dashes",
                "-console --i=a",
                options("a", "", "", "true"),
            ),
            (
                "all",
                "-i a -adress b -logfile c -console 0",
                options("a", "b", "c", "0"),
            ),
        ];
        for (name, line, expected) in table {
            assert_eq!(parse_words(line), Ok(Invocation::Serve(expected)), "{name}");
        }
    }

    #[test]
    fn an_empty_value_switches_the_log_file_off() {
        let Ok(Invocation::Serve(options)) = parse_words("-logfile= -console=") else {
            panic!("not understood");
        };
        assert_eq!(options.logfile.as_deref(), Some(""));
        assert_eq!(options.console.as_deref(), Some(""));
    }

    #[test]
    fn other_things_can_be_asked_for() {
        let table = [
            ("-h", Invocation::Help),
            ("--help", Invocation::Help),
            ("-help", Invocation::Help),
            ("-V", Invocation::Version),
            ("--version", Invocation::Version),
            ("--check", check(Options::default(), None)),
            ("-check -i a", check(options("a", "", "", ""), None)),
            (
                "--check --dial wss://a",
                check(Options::default(), Some("wss://a")),
            ),
            (
                "--print-proxy nginx -i a",
                Invocation::PrintProxy(options("a", "", "", ""), Proxy::Nginx),
            ),
            (
                "-print-proxy=HAProxy",
                Invocation::PrintProxy(Options::default(), Proxy::Haproxy),
            ),
            ("--check --help", Invocation::Help),
            (
                "-v --check",
                Invocation::Check {
                    options: Options::default(),
                    dial: None,
                    detail: Detail::Settings,
                },
            ),
        ];
        for (line, expected) in table {
            assert_eq!(parse_words(line), Ok(expected), "{line}");
        }
    }

    macro_rules! unknown {
        ($name:literal) => {
            concat!(
                "Unrecognized option: '",
                $name,
                "'; settings that are no option are keys of websock.ini"
            )
        };
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        let table = [
            ("-bogus", unknown!("bogus")),
            ("--bogus=1", unknown!("bogus")),
            ("-x", unknown!("x")),
            ("-iFILE", unknown!("iFILE")),
            ("-adress", "Argument to option 'adress' missing"),
            ("-i -console", "Argument to option 'ini' missing"),
            ("-logfile --check", "Argument to option 'logfile' missing"),
            ("--check=yes", "Option 'check' does not take an argument"),
            (
                "--print-proxy iis",
                "No proxy is known as 'iis': nginx, apache, caddy or haproxy is wanted",
            ),
            ("--dial", "Argument to option 'dial' missing"),
            (
                "serve",
                "Unexpected argument: 'serve'; without a word the server starts: websock [-i FILE]",
            ),
            (
                "--verbose",
                "--verbose is for --check; loglevel=debug in websock.ini makes the log say more",
            ),
            ("-i a b", "Unexpected argument: 'b'"),
            ("-- -i", "Unexpected argument: '-i'"),
            ("-console off on", "Unexpected argument: 'on'"),
        ];
        for (line, expected) in table {
            assert_eq!(
                parse_words(line),
                Err(UsageError(expected.to_owned())),
                "{line}"
            );
        }
    }

    /// Help, man page and completions follow [`USAGE`].
    #[test]
    fn the_help_names_every_option() {
        let listed = format!(
            "{}{}",
            known_options().usage(""),
            client_options().usage("")
        );
        let names: Vec<&str> = listed
            .split([' ', ',', '\n'])
            .filter(|word| word.starts_with('-'))
            .collect();
        assert!(names.len() > 15, "only {names:?} were found");
        for name in names {
            // PHP's spelling has one dash; -i has a long name that nobody needs.
            let bare = name.trim_start_matches('-');
            let dashed = format!("-{bare}");
            let mut places = USAGE.match_indices(&dashed);
            let is_there = places.any(|(at, found)| {
                let next = USAGE[at + found.len()..].chars().next();
                !next.is_some_and(|c| c.is_ascii_alphanumeric() || c == '-')
            });
            assert!(is_there || bare == "ini", "{name} is not in --help");
        }
    }

    #[cfg(unix)]
    #[test]
    fn an_argument_that_is_not_utf8_is_refused() {
        use std::os::unix::ffi::OsStringExt as _;
        assert!(parse([OsString::from_vec(b"-i=\xff".to_vec())]).is_err());
    }
}
