//! What newcomers type → what they mean, told behind what is wrong.

/// Behind a word that is no option; empty if nothing is known to be meant.
pub(super) fn for_word(word: &str) -> String {
    let lower = word.to_ascii_lowercase();
    let is_port = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let is_place = || {
        let host_port = word.rsplit_once(':');
        host_port
            .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
    };
    match lower.as_str() {
        "serve" | "server" | "start" | "run" | "up" | "daemon" => {
            "; without a word the server starts: websock [-i FILE]".to_owned()
        }
        "stop" | "restart" | "reload" | "status" => {
            "; the service manager does that, or a signal: TERM stops, HUP opens the log anew"
                .to_owned()
        }
        "help" => "; --help is meant".to_owned(),
        "version" => "; --version is meant".to_owned(),
        "check" | "test" | "configtest" | "validate" => "; --check is meant".to_owned(),
        "push" | "publish" | "broadcast" | "emit" => {
            "; websock send --broadcast MESSAGE is meant".to_owned()
        }
        "subscribe" | "connect" | "client" | "tail" => "; websock listen is meant".to_owned(),
        "ping" => "; websock echo is meant".to_owned(),
        _ if is_port => format!("; {}", address(word)),
        _ if word.contains("://") || is_place() => format!("; -adress {word} is meant"),
        _ if lower.ends_with(".ini") || lower.ends_with(".conf") => {
            format!("; -i {word} is meant")
        }
        _ => String::new(),
    }
}

/// Behind an option that is unknown.
pub(super) fn for_option(fail: &getopts::Fail, arguments: &[String]) -> String {
    let getopts::Fail::UnrecognizedOption(name) = fail else {
        return String::new();
    };
    let hint = match name.to_ascii_lowercase().as_str() {
        "port" | "p" => match value_of(name, arguments) {
            Some(port) => address(port),
            None => address("PORT"),
        },
        "host" | "bind" | "listen" | "l" | "b" | "addr" | "url" => {
            "-adress ws://HOST:PORT is meant".to_owned()
        }
        "config" | "conf" | "c" | "f" | "file" => match value_of(name, arguments) {
            Some(file) => format!("-i {file} is meant"),
            None => "-i FILE is meant".to_owned(),
        },
        "log" | "log-file" => "-logfile FILE is meant".to_owned(),
        "quiet" | "q" | "silent" => "-console=false is meant".to_owned(),
        "debug" | "loglevel" | "log-level" => "loglevel=debug in websock.ini is meant".to_owned(),
        "daemon" | "d" | "background" | "fork" => {
            "the service manager keeps it in the background".to_owned()
        }
        "test" | "t" | "dry-run" | "configtest" | "validate" => "--check is meant".to_owned(),
        lower => match nearest(lower) {
            Some(known) => format!("is {known} meant?"),
            None => "settings that are no option are keys of websock.ini".to_owned(),
        },
    };
    format!("; {hint}")
}

fn address(port: &str) -> String {
    format!(
        "-adress ws://localhost:{port} is meant, or ws://0.0.0.0:{port} to be reached from other \
         machines"
    )
}

/// What stands behind `=` or a blank.
fn value_of<'a>(name: &str, arguments: &'a [String]) -> Option<&'a str> {
    let at = arguments.iter().position(|argument| {
        let typed = argument.trim_start_matches('-');
        typed.split('=').next() == Some(name)
    })?;
    match arguments.get(at)?.split_once('=') {
        Some((_, value)) => Some(value),
        None => arguments.get(at + 1).map(String::as_str),
    }
    .filter(|value| !value.starts_with('-'))
}

fn nearest(name: &str) -> Option<&'static str> {
    let likeness = |known: &&str| strsim::jaro_winkler(known.trim_start_matches('-'), name);
    KNOWN
        .iter()
        .copied()
        .max_by(|one, other| likeness(one).total_cmp(&likeness(other)))
        .filter(|known| likeness(known) > 0.8)
}

const KNOWN: [&str; 9] = [
    "-i",
    "-adress",
    "-logfile",
    "-console",
    "--check",
    "--verbose",
    "--dial",
    "--print-proxy",
    "--version",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_answered_by_what_is_meant() {
        let table = [
            ("serve", "without a word the server starts"),
            ("START", "without a word the server starts"),
            ("9001", "-adress ws://localhost:9001"),
            ("localhost:9001", "-adress localhost:9001"),
            ("ws://a:1", "-adress ws://a:1"),
            ("my.ini", "-i my.ini"),
            ("help", "--help"),
            ("push", "websock send"),
            ("reload", "service manager"),
            ("b", ""),
            ("a:", ""),
            ("", ""),
        ];
        for (word, expected) in table {
            let hint = for_word(word);
            assert!(hint.contains(expected), "{word}: {hint}");
            assert_eq!(hint.is_empty(), expected.is_empty(), "{word}: {hint}");
        }
    }

    #[test]
    fn options_are_answered_by_what_is_meant() {
        let table = [
            ("port", "--port 9001", "-adress ws://localhost:9001"),
            ("port", "--port=9001", "-adress ws://localhost:9001"),
            ("port", "--port --check", "-adress ws://localhost:PORT"),
            ("p", "-p", "-adress ws://localhost:PORT"),
            ("config", "--config a.ini", "-i a.ini"),
            ("c", "-c", "-i FILE"),
            ("chek", "--chek", "is --check meant?"),
            ("adresss", "-adresss a", "is -adress meant?"),
            ("daemon", "--daemon", "service manager"),
            ("maxClients", "--maxClients=5", "keys of websock.ini"),
        ];
        for (name, line, expected) in table {
            let arguments: Vec<_> = line.split(' ').map(str::to_owned).collect();
            let fail = getopts::Fail::UnrecognizedOption(name.to_owned());
            let hint = for_option(&fail, &arguments);
            assert!(hint.contains(expected), "{line}: {hint}");
        }
        let other = getopts::Fail::ArgumentMissing("ini".to_owned());
        assert_eq!(for_option(&other, &[]), "");
    }
}
