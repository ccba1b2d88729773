use std::path::{Path, PathBuf};
use std::time::Duration;

use log::LevelFilter;

use super::*;
use crate::api::Demo;
use crate::app::peer::ListenerRole;
use crate::app::sign_in::{IdleSession, SessionStore};
use crate::app::{Sendable, Sends};
use crate::logging::{LogFormat, LogSettings};
use crate::net::{Endpoint, Security, ServerSettings};
use crate::protocol::extension::CompressionSettings;
use crate::protocol::php_session::{SessionFolder, SessionPrefix};

/// Parses `text` as websock.ini, with DIR as the only variable.
fn parse(text: &str) -> Result<Config, Errors> {
    parse_with(text, &Options::default())
}

fn parse_with(text: &str, options: &Options) -> Result<Config, Errors> {
    let variable = |name: &str| (name == "DIR").then(|| "/var/log".to_owned());
    Config::parse(Some(Path::new("websock.ini")), text, options, &variable)
}

#[track_caller]
fn expect(text: &str) -> Config {
    parse(text).unwrap_or_else(|errors| panic!("{text:?}: {errors}"))
}

/// Without what tells an ini file from the built-in defaults.
fn without_origins(mut config: Config) -> Config {
    config.source = None;
    for setting in &mut config.settings {
        setting.origin = Origin::Default;
    }
    config
}

const SEED_2021: &str = "

adress='ws://localhost:8096'
logfile=D:/temp/websock.log
console=false
certFile=''
pkFile=''

";

const SEED_2026: &str = "#
# Configuration for WebSocket Server only
# see also .env_example
[websocketserver]
adress = 'ws://localhost:8095'
logfile = ${LOG_FILE}
console = true
certFile =
pkFile = \n#
# require='true' \n#   only certain js-clients may connect  \n#
[jsauth] \nrequire=false
ssp=${SAVE_SESSION_PATH}
cookie_name = \"PHPSESSID\"
key = allowconnect
#
# setting determines if tsl is use \n#
[develop]
developsystem = true ; Set to false in production
";

#[test]
fn the_shipped_ini_is_the_default_and_shows_the_demo() {
    let text = include_str!("../../websock.ini");
    assert_eq!(expect(text).server.demo, Demo::On);
    let shipped = expect(&text.replace("\ndemo=true\n", "\ndemo=off\n"));
    let all_written = shipped
        .settings
        .iter()
        .all(|setting| setting.origin != Origin::Default);
    assert!(all_written, "a key is missing: {:#?}", shipped.settings);
    assert_eq!(shipped.warnings, Vec::<String>::new());
    assert_eq!(without_origins(shipped), Config::default());
}

#[test]
fn an_empty_ini_is_the_default() {
    assert_eq!(without_origins(expect("")), Config::default());
}

#[test]
fn the_defaults_are_those_of_the_documentation() {
    let config = Config::default();
    assert_eq!(config.listen.len(), 1);
    let endpoint = Endpoint::tcp("localhost", 8096, Security::Plain);
    assert_eq!(config.listen[0].endpoint, endpoint);
    let log = LogSettings {
        file: None,
        console: true,
        level: LevelFilter::Info,
        connections: true,
        format: LogFormat::Text,
        max_bytes: 0,
        keep: 5,
    };
    assert_eq!(config.log, log);
    assert_eq!(config.server, ServerSettings::default());
}

#[test]
fn the_2021_ini_of_php_is_read_as_it_is() {
    for text in [SEED_2021.to_owned(), SEED_2021.replace('\n', "\r\n")] {
        let config = expect(&text);
        assert_eq!(config.listen[0].as_written, "ws://localhost:8096");
        assert_eq!(config.log.file, Some(PathBuf::from("D:/temp/websock.log")));
        assert!(!config.log.console);
        assert_eq!(
            (config.cert_files, config.key_files),
            (Vec::new(), Vec::new())
        );
        assert_eq!(config.warnings, Vec::<String>::new());
    }
}

#[test]
fn the_2026_ini_of_php_is_read_as_it_is() {
    let config = expect(SEED_2026);
    let endpoint = Endpoint::tcp("localhost", 8095, Security::Plain);
    assert_eq!(config.listen[0].endpoint, endpoint);
    assert_eq!(config.log.file, None, "LOG_FILE is not set");
    assert!(config.log.console);
    let expected = [
        "websock.ini, line 6: logfile=: the environment has no LOG_FILE, it is taken as empty",
        "websock.ini, line 16: ssp=: the environment has no SAVE_SESSION_PATH, it is taken as empty",
        "websock.ini, line 23: [develop] developsystem: not used by websock",
    ];
    assert_eq!(config.warnings, expected);
}

/// protocol.md 8.1
#[test]
fn sign_in_is_required_where_php_sees_a_true_value() {
    for value in [
        "true",
        "'true'",
        "on",
        "1",
        "maybe",
        "${NOT_SET}",
        "${DIR}",
        "'false'",
        "\"false\"",
        "'False'",
        "\"off\"",
        "'no'",
        "\"none\"",
        "'null'",
        "'on'",
        "false # open",
    ] {
        let text = SEED_2026.replace("require=false", &format!("require={value}"));
        let errors = parse(&text).expect_err(value).to_string();
        assert!(
            errors.contains("error: websock.ini, line 15: require=true: it has to be known"),
            "{errors}"
        );
        let text = text.replace("SAVE_SESSION_PATH", "DIR");
        let sign_in = expect(&text).server.sign_in;
        let folder = SessionFolder::parse("/var/log").expect("a folder");
        assert!(sign_in.require, "{value}");
        assert_eq!(
            sign_in.sessions.store,
            Some(SessionStore::Folder(folder.into()))
        );
        assert_eq!(sign_in.sessions.key, "allowconnect");
    }
    for value in [
        "false",
        "FALSE",
        "",
        "off",
        "no",
        "none",
        "Null",
        "0",
        "00",
        "'0'",
        "\"0\"",
        "''",
        "\"\" ; c",
        "false ; # c",
        "${NOT_SET:-0}",
    ] {
        let config = expect(&format!("[JsAuth]\nRequire={value}\nssp=/x\nkey=ok"));
        assert!(!config.server.sign_in.is_on(), "{value}");
    }
}

/// protocol.md 8.1, 8.3 to 8.7
#[test]
fn sign_in_is_read_as_it_is_meant() {
    let config = expect(
        "sessions='2;0660;/srv/sessions/'\nuserKey=user.id\nsessionWait=500ms\nsessionMaxAge=2h\n\
         authUrl=unix:/run/php.sock:/auth.php\nauthHeaders=Authorization, X-Shop\n\
         authTimeout=1\nauthConcurrency=2\nauthKey=0123456789abcdef0123456789abcdef\n\
         authRecheck=0\nauthIdle=Close\nstateDir=/var/lib/websock\n[jsauth]\n\
         cookie_name=SHOP\nkey=in",
    );
    let sign_in = config.server.sign_in;
    let folder = SessionFolder::parse("2;0660;/srv/sessions").expect("a folder");
    let sessions = sign_in.sessions;
    assert_eq!(sessions.store, Some(SessionStore::Folder(folder.into())));
    assert_eq!(
        (&*sessions.cookie_name, &*sessions.key, &*sessions.user_key),
        ("SHOP", "in", "user.id")
    );
    assert_eq!(sessions.wait, Duration::from_millis(500));
    assert_eq!(sessions.max_age, Duration::from_secs(7200));
    assert!(sign_in.url.target.is_some() && sign_in.token_key.is_some());
    assert_eq!(sign_in.url.headers, ["Authorization", "X-Shop"]);
    assert_eq!(sign_in.url.concurrency, 2);
    assert_eq!(sign_in.recheck_interval, Duration::ZERO);
    assert_eq!(sign_in.idle, IdleSession::Close);
    assert_eq!(config.state_dir, Some(PathBuf::from("/var/lib/websock")));
    for ini in [
        "sessions=/srv/s\nuserKey=id\nsessionPrefix=ci_session",
        "sessionPrefix=ci_session\nuserKey=id\n[jsauth]\nssp=/srv/s",
    ] {
        let prefix = SessionPrefix::parse("ci_session").expect("a prefix");
        let folder = SessionFolder::parse("/srv/s").expect("a folder");
        assert_eq!(
            expect(ini).server.sign_in.sessions.store,
            Some(SessionStore::Folder(folder.with_prefix(prefix).into())),
            "{ini}"
        );
    }
    let pem = expect("authKey=/etc/websock/key.pem");
    assert_eq!(
        pem.auth_key,
        Some(AuthKey::File("/etc/websock/key.pem".into()))
    );
}

#[test]
fn sign_in_that_could_let_the_wrong_ones_in_stops_the_start() {
    let table = [
        ("[jsauth]\nrequire=true", "require=true: it has to be known"),
        ("sessions=/x", "userKey is not set: it has to be known what"),
        ("sessions=x", "sessions=x: an absolute path"),
        ("sessions=2;0660;/srv", "sessions=2: an absolute path"),
        (
            "sessions=/x\nuserKey=a\nsessionPrefix=../sess_",
            "sessionPrefix=../sess_: 1 to 200 bytes of a file's name",
        ),
        (
            "sessions=/x\nuserKey=a\nsessionPrefix=",
            "sessionPrefix=: 1 to 200 bytes of a file's name",
        ),
        (
            "sessions=/x\nuserKey=a..b",
            "userKey=a..b: names of variables",
        ),
        (
            "authKey=short",
            "authKey=(hidden): a secret of at least 32 bytes",
        ),
        ("authUrl=shop.example/auth", "authUrl=shop.example/auth: "),
        (
            "authHeaders=Cookie",
            "authHeaders=Cookie: Cookie is sent anyway",
        ),
        ("authHeaders=Sec-WebSocket-Key", "leave it out"),
        ("authHeaders=a b", "a b is no name of a header"),
        ("authConcurrency=0", "from 1 to 1000"),
        ("authRecheck=10ms", "0 or a time from"),
        ("authIdle=never", "keep or close is wanted"),
        ("key=/etc/key.pem", "unknown key; is pkFile meant?"),
        ("[jsauth]\ncookie_name=a=b", "the name of a cookie"),
    ];
    for (text, expected) in table {
        let errors = parse(text).expect_err(text).to_string();
        assert!(errors.contains(expected), "{text}: {errors}");
    }
}

#[test]
fn values_reach_their_fields() {
    let config = expect(
        "ADDRESS = tcp://[::1]:0, ws://example.org ; two\nlogfile=\"${DIR}/ws.log\"\n\
         logMaxSize=10M\nloglevel=debug\nallowedIP=10.0.0.0/8,::1\nallowedOrigins=https://a.org\nphpPadding=off\n\
         compression=on\ncompressionThreshold=0\ncompressionLevel=9\n\
         compressionContext=on\nownNames=Push.example\nwebSends=user:echo\nmaxIdent=1K\nmaxWebMessage=0\n\
         subprotocols=chat, v1.example\npingInterval=0\npongTimeout=250ms\nmaxMessageSize=1K\n[other]\nmaxPerIP=7\n\
         [develop]\nmaxChunks=3",
    );
    let hosts: Vec<_> = config
        .listen
        .iter()
        .map(|listen| listen.endpoint.address.to_string())
        .collect();
    assert_eq!(hosts, ["[::1]:0", "example.org:80"]);
    assert_eq!(config.log.file, Some(PathBuf::from("/var/log/ws.log")));
    assert_eq!(config.log.max_bytes, 10 << 20);
    assert_eq!(config.log.level, LevelFilter::Debug);
    let server = &config.server;
    assert_eq!(server.admission.allowed_ip.len(), 2);
    assert_eq!(server.admission.allowed_origins, ["https://a.org"]);
    assert!(!server.php_padding);
    assert_eq!(server.admission.own_hosts, ["push.example"]);
    assert_eq!(server.web_sends.user, Sends::NONE.with(Sendable::Echo));
    assert_eq!(server.web_sends.anonymous, Sends::NONE);
    assert_eq!(server.max_ident_bytes, 1_024);
    assert_eq!(
        server.limits.max_web_message_bytes, 1_024,
        "as maxMessageSize"
    );
    assert_eq!(server.subprotocols, ["chat", "v1.example"]);
    let compression = CompressionSettings {
        is_on: true,
        threshold_bytes: 0,
        keeps_context: true,
        level: 9,
    };
    assert_eq!(server.compression, compression);
    assert_eq!(server.limits.ping_interval, Duration::ZERO);
    assert_eq!(server.limits.pong_timeout, Duration::from_millis(250));
    assert_eq!(server.limits.max_message_bytes, 1_024);
    assert_eq!(
        server.admission.max_per_ip, 7,
        "other sections are flattened"
    );
    assert_eq!(server.max_chunks, 3, "also those of other programs");
    assert_eq!(config.source, Some(PathBuf::from("websock.ini")));
}

#[test]
fn the_last_value_of_a_key_wins() {
    let config = expect("maxClients=many\nadress=a:1\nmaxclients=5\naddress=b:2");
    assert_eq!(config.server.admission.max_clients, 5);
    assert_eq!(config.listen[0].as_written, "b:2");
    let expected = [
        "websock.ini, line 3: maxclients=5: holds instead of line 1, which sets the same key",
        "websock.ini, line 4: address=b:2: holds instead of line 2, which sets the same key",
    ];
    assert_eq!(config.warnings, expected);
}

#[test]
fn the_command_line_wins_over_the_ini() {
    let options = Options {
        ini: None,
        adress: Some("localhost:1".to_owned()),
        logfile: Some(String::new()),
        console: Some("off".to_owned()),
        takeover: false,
    };
    let config = parse_with("adress=nonsense://\nlogfile=/a\nconsole=true", &options);
    let config = config.expect("the command line's values are right");
    assert_eq!(config.listen[0].as_written, "localhost:1");
    assert_eq!(config.log.file, None);
    assert!(!config.log.console);
    assert_eq!(config.settings[0].origin, Origin::CommandLine);
}

#[test]
fn every_mistake_names_file_line_key_value_and_what_would_be_right() {
    let table = [
        (
            "maxClients=abc",
            "line 1: maxClients=abc: a whole number from 1 to 10000000 is wanted",
        ),
        (
            "\nmaxclients=0",
            "line 2: maxClients=0: a whole number from 1 to 10000000 is wanted",
        ),
        (
            "maxChunks=",
            "line 1: maxChunks=: a whole number from 1 to 1000000 is wanted",
        ),
        (
            "console=maybe",
            "line 1: console=maybe: true, on, yes, 1 or false, off, no, none, 0 is",
        ),
        (
            "loglevel=loud",
            "line 1: loglevel=loud: error, warn, info, debug or trace is wanted",
        ),
        (
            "maxMessageSize=2G",
            "line 1: maxMessageSize=2G: a size from 1K to 1G is wanted",
        ),
        (
            "compressionLevel=0",
            "line 1: compressionLevel=0: a whole number from 1 to 9 is wanted",
        ),
        (
            "logMaxSize=1",
            "line 1: logMaxSize=1: 0 or a size from 4K to 1024G is wanted",
        ),
        (
            "pongTimeout=0",
            "line 1: pongTimeout=0: a time from 10ms to 3600s is wanted",
        ),
        (
            "pingInterval=5x",
            "line 1: pingInterval=5x: 0 or a time from 10ms to 86400s is wanted",
        ),
        ("adress=", "line 1: adress=: an address is wanted"),
        ("adress=${NOT_SET}", "line 1: adress=: an address is wanted"),
        (
            "adress='ws://a:99999'",
            "line 1: adress=ws://a:99999: port 99999 is none",
        ),
        (
            "adress=http://a",
            "line 1: adress=http://a: scheme http is unknown",
        ),
        (
            "adress=wss://a:1",
            "certFile is not set: a PEM file is wanted, as adress has wss",
        ),
        (
            "adress=a:1 proxy",
            "trustedProxies is not set: the proxy's address is wanted, as adress has proxy",
        ),
        (
            "adress=a:1 php",
            "line 1: adress=a:1 php: php is unknown; behind an address web, scripts or proxy",
        ),
        (
            "trustedProxies=my.proxy",
            "line 1: trustedProxies=my.proxy: my.proxy is no address",
        ),
        (
            "allowedIP=1.2.3",
            "line 1: allowedIP=1.2.3: 1.2.3 is no address",
        ),
        (
            "maxMessageSize=1M\nmaxWebMessage=2M",
            "line 2: maxWebMessage=2M: at most 1M, as maxMessageSize has it, is wanted",
        ),
        (
            "maxIdent=8193",
            "line 1: maxIdent=8193: a size from 1 to 8K is wanted",
        ),
        (
            "webSends=quit",
            "line 1: webSends=quit: quit is unknown; echo",
        ),
        (
            "ownNames=a:1",
            "line 1: ownNames=a:1: a:1 is no host name; a name without",
        ),
        (
            "subprotocols=a b",
            "line 1: subprotocols=a b: a b is no subprotocol",
        ),
        (
            "port=9001",
            "line 1: port=9001: unknown key; is adress meant?",
        ),
        (
            "allowedOrigins=wss://a.org/web",
            "line 1: allowedOrigins=wss://a.org/web: wss://a.org/web is no origin, and no page \
             would match: it is the socket's address, not its page's; https://a.org is wanted",
        ),
        (
            "allowedOrigins=a.org",
            "line 1: allowedOrigins=a.org: a.org is no origin",
        ),
        (
            "maxClient=5",
            "line 1: maxClient=5: unknown key; is maxClients meant?",
        ),
        (
            "[websocketserver]\nxyzzy=5",
            "line 2: xyzzy=5: unknown key; the shipped websock.ini",
        ),
        ("a\u{1b}=5", "line 1: a\\u{1b}=5: unknown key"),
        (
            "hello",
            "line 1: hello: a line is [section], key=value or a comment",
        ),
        (
            "adress='ws://a",
            "line 1: adress='ws://a: a value that begins with a quote",
        ),
        (
            "logfile=/gr\u{fffd}n",
            "line 1: logfile=/gr\u{fffd}n: the file is not UTF-8 here",
        ),
        (
            "memoryLimit=8M",
            "line 1: memoryLimit=8M: at least 16M, as maxMessageSize has it",
        ),
        (
            "maxMessageSize=1M\nmemoryLimit=8388607",
            "line 2: memoryLimit=8388607: at least 8M, as maxQueue has it, is wanted",
        ),
        (
            "maxMessageSize=300M",
            "memoryLimit=128M (the default): at least 300M, as maxMessageSize",
        ),
    ];
    for (text, expected) in table {
        let errors = parse(text).expect_err(text).to_string();
        let file = if expected.starts_with("line") {
            "websock.ini, "
        } else {
            ""
        };
        let expected = format!("error: {file}{expected}");
        assert!(
            errors.lines().any(|line| line.starts_with(&expected)),
            "{text:?}: {errors}"
        );
    }
}

#[test]
fn the_memory_limit_may_equal_what_it_has_to_hold() {
    expect("maxMessageSize=8M\nmemoryLimit=8M");
}

#[test]
fn all_mistakes_are_told_at_once() {
    let errors = parse("maxClients=a\nxyzzy=1\nhello=1\nmaxQueue=b").expect_err("four mistakes");
    assert_eq!(errors.to_string().lines().count(), 4, "{errors}");
}

#[test]
fn a_mistake_on_the_command_line_names_the_option() {
    let options = Options {
        console: Some("maybe".to_owned()),
        ..Options::default()
    };
    let errors = parse_with("", &options)
        .expect_err("no boolean")
        .to_string();
    assert!(
        errors.starts_with("error: command line: -console=maybe: true, on,"),
        "{errors}"
    );
}

#[test]
fn tls_files_without_tls_are_a_warning() {
    let config = expect("certFile=/etc/cert.pem\npkFile='/etc/key.pem'");
    assert_eq!(config.cert_files, [PathBuf::from("/etc/cert.pem")]);
    let expected = [
        "websock.ini, line 1: certFile=/etc/cert.pem: not used, as no address has TLS",
        "websock.ini, line 2: pkFile=/etc/key.pem: not used, as no address has TLS",
    ];
    assert_eq!(config.warnings, expected);
}

// protocol.md 11.1
#[test]
fn a_backplane_without_a_secret_is_a_warning() {
    let config = expect("backplane=redis://user:password@127.0.0.1");
    let [warning] = &config.warnings[..] else {
        panic!("{:?}", config.warnings);
    };
    let start = "websock.ini, line 1: backplane=(hidden): backplaneSecret is not set: ";
    assert!(warning.starts_with(start), "{warning}");
    let secret = "0123456789abcdef0123456789abcdef";
    let signed = format!("backplane=redis://127.0.0.1\nbackplaneSecret={secret}");
    assert_eq!(expect(&signed).warnings, [""; 0]);
}

// protocol.md 9.2
#[test]
fn a_replay_time_in_which_nobody_need_be_heard_is_a_warning() {
    let warned = [
        ("replayTime=50", "websock.ini, line 1: replayTime=50"),
        ("pingInterval=100", "replayTime=120 (the default)"),
        (
            "pongTimeout=500ms\npingInterval=1\nreplayTime=1500ms",
            "websock.ini, line 3: replayTime=1500ms",
        ),
    ];
    for (ini, value) in warned {
        let config = expect(ini);
        let [warning] = &config.warnings[..] else {
            panic!("one warning of {ini}, not {:?}", config.warnings);
        };
        let limits = &config.server.limits;
        let silence = limits.ping_interval + limits.pong_timeout;
        let expected = format!(
            "{value}: pages that only listen may not be able to come back; longer than \
             pingInterval and pongTimeout together ({silence:?}) is wanted"
        );
        assert_eq!(*warning, expected);
    }
    for ini in [
        "",
        "replayTime=51",
        "replayTime=0",
        "replayTime=1\npingInterval=0",
    ] {
        let config = expect(ini);
        assert_eq!(config.warnings, Vec::<String>::new(), "{ini}");
    }
}

#[test]
fn later_trouble_can_name_its_line() {
    let config = expect("\nadress=localhost:1");
    let problem = config.problem("adress", "port in use").to_string();
    assert_eq!(
        problem,
        "websock.ini, line 2: adress=localhost:1: port in use"
    );
}

#[test]
fn the_report_is_an_ini_file_that_gives_the_same() {
    let config = expect(
        "adress=127.0.0.1:0, localhost:8096\nlogfile='/tmp/a b;c#d'\ncertFile=\"/o'brien\"\n\
         maxQueue=1M ; less\nallowedOrigins=https://a.org,https://b.org",
    );
    let report = config.report();
    for line in [
        "maxQueue=1M ; websock.ini, line 4",
        "maxChunks=100 ; default",
        "; 127.0.0.1:0 listens on 127.0.0.1:0",
        "; localhost:8096 listens on [::1]:8096",
    ] {
        assert!(
            report.lines().any(|written| written == line),
            "{line} is not in\n{report}"
        );
    }
    let mut again = expect(&report);
    again.warnings.clone_from(&config.warnings);
    assert_eq!(without_origins(again), without_origins(config));
}

#[test]
fn errors_know_where_they_can_be_logged() {
    let log = |text: &str| {
        let errors = parse(text).expect_err(text);
        errors.log().and_then(|log| log.file.clone())
    };
    let file = Some(PathBuf::from("/a"));
    assert_eq!(log("logfile=/a\nmaxClients=x"), file);
    assert_eq!(log("hello\nlogfile=/a"), file);
    assert_eq!(log("logfile=/a\nadress=wss://a:1"), file);
    assert_eq!(log("logfile=/a\nloglevel=loud"), None);
    assert_eq!(log("maxClients=x"), None);
}

#[test]
fn an_address_for_the_status_is_beside_the_others_and_named_by_its_own_key() {
    let config =
        parse("adress=ws://127.0.0.1:1 web\nstatus=http://127.0.0.2:9, unix:/s.sock").unwrap();
    let roles = config
        .endpoints()
        .into_iter()
        .map(|endpoint| endpoint.options.role);
    let expected = [
        ListenerRole::Web,
        ListenerRole::Status,
        ListenerRole::Status,
    ];
    assert_eq!(roles.collect::<Vec<_>>(), expected);
    for (said, key) in [
        ("127.0.0.2:9 is in use", "status="),
        ("unix:/s.sock: is there and is no socket", "status="),
        ("127.0.0.1:1 is in use", "adress="),
        ("there is no group a", "adress="),
    ] {
        let problem = config.listen_problem(said).to_string();
        assert!(problem.contains(key), "{problem}");
    }
    for (ini, reason) in [
        (
            "adress=a:1\nstatus=http://a:1",
            "http://a:1 is in adress as well",
        ),
        ("status=https://a:1", "as status has https"),
        ("status=http://a:1 scripts", "nothing is wanted"),
    ] {
        let said = parse(ini).expect_err(ini).to_string();
        assert!(said.contains(reason), "{said}");
    }
}
