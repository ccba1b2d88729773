//! One value's text → its type. Each reader knows its range; its error says what would be right,
//! worded to follow the value: "…: a whole number from 1 to 5 is wanted".

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use log::LevelFilter;

use super::ini::Spelling;
use crate::app::trusted_proxies::TrustedProxies;
use crate::logging::LogFormat;

/// What would be right instead.
pub(super) type Expected = String;

/// PHP's words for true and false; an empty value is false.
pub(super) fn boolean(text: &str) -> Result<bool, Expected> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "1" => Ok(true),
        "" | "false" | "off" | "no" | "none" | "null" | "0" => Ok(false),
        _ => Err("true, on, yes, 1 or false, off, no, none, 0 is wanted".to_owned()),
    }
}

/// What PHP's typed ini makes of a value, seen as a condition: in quotes, all but `''` and `'0'` is
/// true, `'false'` as well.
pub(super) fn is_true_in_php(text: &str, spelling: Spelling) -> bool {
    let is_zero = |text: &str| {
        let text = text.strip_prefix('-').unwrap_or(text);
        let is_number = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        is_number && text.parse() == Ok(0.0)
    };
    match spelling {
        Spelling::Word => boolean(text) != Ok(false) && !is_zero(text),
        Spelling::Quoted => !matches!(text, "" | "0"),
        Spelling::BeforeHash => true,
    }
}

/// A whole number, digits only.
pub(super) fn count<T: TryFrom<u64>>(
    text: &str,
    range: RangeInclusive<u64>,
) -> Result<T, Expected> {
    digits(text)
        .filter(|number| range.contains(number))
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| {
            format!(
                "a whole number from {} to {} is wanted",
                range.start(),
                range.end()
            )
        })
}

/// Bytes, or with suffix K, M or G (any case), each 1024 times the one before.
pub(super) fn size<T: TryFrom<u64>>(text: &str, range: RangeInclusive<u64>) -> Result<T, Expected> {
    read_size(text)
        .filter(|bytes| range.contains(bytes))
        .and_then(|bytes| T::try_from(bytes).ok())
        .ok_or_else(|| {
            let (least, most) = (short_size(*range.start()), short_size(*range.end()));
            format!("a size from {least} to {most} is wanted (bytes, or with K, M or G)")
        })
}

/// Like [`size`], where 0 switches something off.
pub(super) fn size_or_off<T: TryFrom<u64> + Default>(
    text: &str,
    range: RangeInclusive<u64>,
) -> Result<T, Expected> {
    match read_size(text) {
        Some(0) => Ok(T::default()),
        _ => size(text, range).map_err(|wanted| format!("0 or {wanted}")),
    }
}

/// Seconds, or with suffix ms, s, m or h; decimals allowed.
pub(super) fn duration(text: &str, range: RangeInclusive<Duration>) -> Result<Duration, Expected> {
    read_duration(text)
        .filter(|time| range.contains(time))
        .ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            format!("a time from {least:?} to {most:?} is wanted (seconds, or with ms, s, m or h)")
        })
}

/// Like [`duration`], where 0 switches something off.
pub(super) fn duration_or_auto(
    text: &str,
    range: RangeInclusive<Duration>,
) -> Result<Option<Duration>, Expected> {
    match text.trim().eq_ignore_ascii_case("auto") {
        true => Ok(None),
        false => duration(text, range)
            .map(Some)
            .map_err(|wanted| format!("auto or {wanted}")),
    }
}

pub(super) fn duration_or_off(
    text: &str,
    range: RangeInclusive<Duration>,
) -> Result<Duration, Expected> {
    match read_duration(text) {
        Some(Duration::ZERO) => Ok(Duration::ZERO),
        _ => duration(text, range).map_err(|wanted| format!("0 or {wanted}")),
    }
}

/// A path as written; an empty one means none.
pub(super) fn path(text: &str) -> Result<Option<PathBuf>, Expected> {
    if text.contains('\0') {
        return Err("a file name without NUL is wanted".to_owned());
    }
    Ok((!text.is_empty()).then(|| PathBuf::from(text)))
}

/// A secret that may stand in a query as it is (RFC 3986 §2.3).
pub(super) fn token(text: &str) -> Result<Option<String>, Expected> {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if !text.is_empty() && (text.len() < 16 || !text.bytes().all(is_fine)) {
        let wanted =
            "at least 16 letters, digits, -, ., _ or ~ are wanted, as openssl rand -hex 16";
        return Err(wanted.to_owned());
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

/// File names, comma-separated.
pub(super) fn paths(text: &str) -> Result<Vec<PathBuf>, Expected> {
    let files = list(text).map(path).collect::<Result<Vec<_>, _>>()?;
    Ok(files.into_iter().flatten().collect())
}

/// Files, patterns (`*` in the file's name) and directories of certificates or keys,
/// comma-separated.
pub(super) fn pem_files(text: &str) -> Result<Vec<PathBuf>, Expected> {
    if is_key_material(text) {
        return Err("the name of a file is wanted, not what the file holds".to_owned());
    }
    let files = paths(text)?;
    let is_in_directory = |file: &PathBuf| {
        let parent = file.parent();
        parent.is_some_and(|parent| parent.as_os_str().as_encoded_bytes().contains(&b'*'))
    };
    if files.iter().any(is_in_directory) {
        return Err("a * may stand in the name of the file only, not of a directory".to_owned());
    }
    Ok(files)
}

/// Whether this is the text of a key or a certificate, which stands in no message: with its
/// boundaries or line ends, or base64 alone, which begins with `M` (an ASN.1 SEQUENCE) or has its
/// line ends escaped.
pub(super) fn is_key_material(text: &str) -> bool {
    let parts = ["-----BEGIN", "-----END", "PRIVATE KEY", "\n"];
    let base64 = text.replace(r"\n", "");
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    parts.iter().any(|part| text.contains(part))
        || base64.len() >= 40
            && (text.starts_with('M') || base64.len() < text.len())
            && base64.bytes().all(is_base64)
}

/// One of `log`'s levels; `off` is not among them, as errors are always worth a line.
pub(super) fn level(text: &str) -> Result<LevelFilter, Expected> {
    text.parse()
        .ok()
        .filter(|level| *level != LevelFilter::Off)
        .ok_or_else(|| "error, warn, info, debug or trace is wanted".to_owned())
}

/// How log lines are written.
pub(super) fn log_format(text: &str) -> Result<LogFormat, Expected> {
    match text.to_ascii_lowercase().as_str() {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("text or json is wanted".to_owned()),
    }
}

/// Addresses and networks, comma-separated.
pub(super) fn networks(text: &str) -> Result<Vec<IpNet>, Expected> {
    list(text).map(network).collect()
}

/// Addresses and networks of proxies, and `unix` for whoever connects to a Unix socket.
pub(super) fn proxies(text: &str) -> Result<TrustedProxies, Expected> {
    let is_unix = |part: &&str| part.eq_ignore_ascii_case("unix");
    let networks = list(text).filter(|part| !is_unix(part)).map(network);
    Ok(TrustedProxies {
        networks: networks.collect::<Result<_, _>>()?,
        unix: list(text).any(|part| is_unix(&part)),
    })
}

/// Host names under which this server is reached besides those of `adress`, comma-separated.
pub(super) fn host_names(text: &str) -> Result<Vec<String>, Expected> {
    list(text)
        .map(|name| {
            let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
            let bare = bare.unwrap_or(name);
            if is_host(bare) {
                return Ok(bare.to_ascii_lowercase());
            }
            Err(format!(
                "{name} is no host name; a name without scheme, port and path is wanted, such as \
                 push.example.org"
            ))
        })
        .collect()
}

/// An address, or a name of letters, digits, dots, dashes and underscores that does not look like
/// a broken address.
pub(super) fn is_host(text: &str) -> bool {
    let name_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    text.parse::<IpAddr>().is_ok()
        || !text.is_empty()
            && text.bytes().all(name_byte)
            && text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// Subprotocols that a client may ask for (RFC 6455 §1.9), comma-separated, none twice.
pub(super) fn subprotocols(text: &str) -> Result<Vec<String>, Expected> {
    let mut names: Vec<String> = Vec::new();
    for name in list(text) {
        if !name.bytes().all(is_token_byte) {
            return Err(format!(
                "{name} is no subprotocol; letters, digits and !#$%&'*+-.^_`|~ are allowed, \
                 such as chat or v1.example"
            ));
        }
        if names.iter().any(|known| known == name) {
            return Err(format!("{name} is there twice"));
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

/// RFC 7230 §3.2.6.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The parts of a comma-separated list, blanks trimmed, empty ones left out.
pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

/// Digits only: Rust's own parser would take a plus sign as well.
fn digits(text: &str) -> Option<u64> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn read_size(text: &str) -> Option<u64> {
    let (number, unit) = match text.char_indices().next_back()? {
        (end, 'k' | 'K') => (&text[..end], K),
        (end, 'm' | 'M') => (&text[..end], M),
        (end, 'g' | 'G') => (&text[..end], G),
        _ => (text, 1),
    };
    digits(number.trim_end())?.checked_mul(unit)
}

/// The size with the largest suffix that keeps it whole.
pub(super) fn short_size(bytes: u64) -> String {
    [(G, "G"), (M, "M"), (K, "K")]
        .into_iter()
        .find(|(unit, _)| bytes != 0 && bytes.is_multiple_of(*unit))
        .map_or_else(
            || bytes.to_string(),
            |(unit, suffix)| format!("{}{suffix}", bytes / unit),
        )
}

fn read_duration(text: &str) -> Option<Duration> {
    let lower = text.to_ascii_lowercase();
    let (number, unit) = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)]
        .into_iter()
        .find_map(|(suffix, unit)| Some((lower.strip_suffix(suffix)?.trim_end(), unit)))
        .unwrap_or((&lower, 1.0));
    // Rust's own parser would take signs, exponents, inf and nan as well.
    if !number
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        return None;
    }
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * unit).ok()
}

fn network(text: &str) -> Result<IpNet, Expected> {
    text.parse::<IpNet>()
        .map(|network| network.trunc())
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| {
            format!("{text} is no address; addresses or networks such as 10.0.0.0/8 are wanted")
        })
}

/// 1024 bytes.
pub(super) const K: u64 = 1024;
/// 1024 K.
pub(super) const M: u64 = 1024 * K;
/// 1024 M.
pub(super) const G: u64 = 1024 * M;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn booleans_are_phps() {
        for yes in ["true", "TRUE", "on", "On", "yes", "1"] {
            assert_eq!(boolean(yes), Ok(true), "{yes}");
        }
        for no in ["", "false", "False", "off", "no", "NONE", "null", "0"] {
            assert_eq!(boolean(no), Ok(false), "{no}");
        }
        for bad in ["2", "maybe", "tru", "-1"] {
            assert!(boolean(bad).is_err(), "{bad}");
        }
    }

    /// The table is what `parse_ini_string` of PHP 8.2 says with INI_SCANNER_TYPED.
    #[test]
    fn conditions_are_phps() {
        let words = [
            ("", false),
            ("false", false),
            ("False", false),
            ("off", false),
            ("no", false),
            ("none", false),
            ("NONE", false),
            ("null", false),
            ("0", false),
            ("00", false),
            ("-0", false),
            ("0.0", false),
            ("+0", true),
            ("0x0", true),
            ("true", true),
            ("on", true),
            ("1", true),
            ("maybe", true),
        ];
        for (text, expected) in words {
            assert_eq!(is_true_in_php(text, Spelling::Word), expected, "{text}");
        }
        let texts = [
            ("", false),
            ("0", false),
            ("false", true),
            ("off", true),
            ("no", true),
            ("none", true),
            ("null", true),
            ("00", true),
            (" ", true),
            ("true", true),
        ];
        for (text, expected) in texts {
            assert_eq!(is_true_in_php(text, Spelling::Quoted), expected, "'{text}'");
        }
        assert!(is_true_in_php("0", Spelling::BeforeHash));
    }

    #[test]
    fn counts_keep_to_their_range() {
        let table = [
            ("below", "1", None),
            ("least", "2", Some(2)),
            ("most", "300", Some(300)),
            ("above", "301", None),
            ("beyond 64 bits", "99999999999999999999", None),
            ("sign", "+5", None),
            ("negative", "-5", None),
            ("decimals", "5.0", None),
            ("empty", "", None),
            ("word", "many", None),
        ];
        for (name, text, expected) in table {
            assert_eq!(count::<u32>(text, 2..=300).ok(), expected, "{name}");
        }
        assert_eq!(
            count::<u8>("256", 0..=300).ok(),
            None,
            "too large for the type"
        );
        assert_eq!(
            count::<u8>("x", 1..=9),
            Err("a whole number from 1 to 9 is wanted".to_owned())
        );
    }

    #[test]
    fn sizes_know_their_suffixes() {
        let table = [
            ("1023", None),
            ("1024", Some(1024)),
            ("1k", Some(1024)),
            ("16M", Some(16 * 1_048_576)),
            ("16 M", Some(16 * 1_048_576)),
            ("1G", Some(1_073_741_824)),
            ("1073741825", None),
            ("2g", None),
            ("99999999999999999G", None),
            ("1.5M", None),
            ("M", None),
            ("", None),
            ("16MB", None),
            ("é", None),
        ];
        for (text, expected) in table {
            assert_eq!(size::<usize>(text, K..=G).ok(), expected, "{text}");
        }
        let wanted = "a size from 1K to 1G is wanted (bytes, or with K, M or G)";
        assert_eq!(size::<usize>("x", K..=G), Err(wanted.to_owned()));
        assert_eq!(size_or_off::<u64>("0", K..=G), Ok(0));
        assert_eq!(
            size_or_off::<u64>("1", K..=G),
            Err(format!("0 or {wanted}"))
        );
    }

    #[test]
    fn times_know_their_suffixes() {
        let table = [
            ("1", Some(1_000)),
            ("30", Some(30_000)),
            ("30s", Some(30_000)),
            ("30 S", Some(30_000)),
            ("1.5", Some(1_500)),
            ("1500ms", Some(1_500)),
            ("2m", Some(120_000)),
            ("0.5h", Some(1_800_000)),
            ("1h", Some(3_600_000)),
            ("0.999", None),
            ("3601", None),
            ("0", None),
            ("", None),
            ("s", None),
            (".", None),
            ("-1", None),
            ("1e3", None),
            ("inf", None),
            ("nan", None),
            ("1d", None),
            ("9999999999999999999999999999h", None),
        ];
        for (text, millis) in table {
            let expected = millis.map(Duration::from_millis);
            assert_eq!(duration(text, SECOND..=HOUR).ok(), expected, "{text}");
        }
        let wanted = "a time from 1s to 3600s is wanted (seconds, or with ms, s, m or h)";
        assert_eq!(duration("x", SECOND..=HOUR), Err(wanted.to_owned()));
        assert_eq!(duration_or_auto("Auto", SECOND..=HOUR), Ok(None));
        assert_eq!(duration_or_auto("2", SECOND..=HOUR), Ok(Some(2 * SECOND)));
        assert_eq!(
            duration_or_auto("", SECOND..=HOUR),
            Err(format!("auto or {wanted}"))
        );
        assert_eq!(duration_or_off("0ms", SECOND..=HOUR), Ok(Duration::ZERO));
        assert_eq!(
            duration_or_off("x", SECOND..=HOUR),
            Err(format!("0 or {wanted}"))
        );
    }

    #[test]
    fn networks_are_addresses_or_cidr() {
        let shown = |text: &str| {
            let networks = networks(text).ok()?;
            Some(
                networks
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(" "),
            )
        };
        let table = [
            ("", Some("")),
            (" , ", Some("")),
            ("127.0.0.1", Some("127.0.0.1/32")),
            ("10.1.2.3/8", Some("10.0.0.0/8")),
            ("::1, 10.0.0.1", Some("::1/128 10.0.0.1/32")),
            ("2001:db8::/32", Some("2001:db8::/32")),
            ("10.0.0.0/33", None),
            ("localhost", None),
            ("10.0.0.*", None),
        ];
        for (text, expected) in table {
            assert_eq!(shown(text).as_deref(), expected, "{text}");
        }
        assert_eq!(networks(""), Ok(Vec::new()), "empty means the default");
    }

    #[test]
    fn proxies_are_networks_and_the_word_unix() {
        let table = [
            ("", Some(("", false))),
            (
                "127.0.0.1, 10.0.0.0/8",
                Some(("127.0.0.1/32 10.0.0.0/8", false)),
            ),
            ("Unix", Some(("", true))),
            ("::1,unix", Some(("::1/128", true))),
            ("proxy.example", None),
        ];
        for (text, expected) in table {
            let read = proxies(text).ok().map(|proxies| {
                let networks = proxies.networks.iter().map(ToString::to_string);
                (networks.collect::<Vec<_>>().join(" "), proxies.unix)
            });
            let expected = expected.map(|(networks, unix)| (networks.to_owned(), unix));
            assert_eq!(read, expected, "{text}");
        }
    }

    #[test]
    fn host_names_are_names_alone() {
        let table = [
            ("", Some("")),
            (
                "Push.Example.org, websock",
                Some("push.example.org websock"),
            ),
            ("192.0.2.1,[::1],::2", Some("192.0.2.1 ::1 ::2")),
            ("my_host-1.", Some("my_host-1.")),
            ("a:8096", None),
            ("http://a", None),
            ("a/b", None),
            ("*.a", None),
            ("müller.example", None),
            ("a b", None),
            ("[a", None),
            ("1.2.3", None),
        ];
        for (text, expected) in table {
            let names = host_names(text).ok().map(|names| names.join(" "));
            assert_eq!(names.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn subprotocols_are_tokens_and_none_is_there_twice() {
        let table = [
            ("", Some("")),
            ("chat, v1.example", Some("chat v1.example")),
            ("Chat,chat", Some("Chat chat")),
            ("!#$%&'*+-.^_`|~", Some("!#$%&'*+-.^_`|~")),
            ("chat,chat", None),
            ("a b", None),
            ("a/b", None),
            ("größe", None),
            ("a;b", None),
        ];
        for (text, expected) in table {
            let names = subprotocols(text).ok().map(|names| names.join(" "));
            assert_eq!(names.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn levels_are_the_five() {
        assert_eq!(level("info"), Ok(LevelFilter::Info));
        assert_eq!(level("DEBUG"), Ok(LevelFilter::Debug));
        assert!(level("off").is_err());
        assert!(level("").is_err());
        assert!(level("verbose").is_err());
    }

    #[test]
    fn keys_and_certificates_are_told_from_the_names_of_their_files() {
        let base64 = "b".repeat(40);
        for (text, expected) in [
            ("/etc/letsencrypt/live/example.org/privkey.pem", false),
            (r"D:\nginx\certs\example.pem", false),
            ("/etc/panel/ssl/*.crt", false),
            (&format!("/etc/{base64}"), false),
            (&format!("M{base64}"), true),
            (&format!(r"{base64}\n{base64}=="), true),
            ("a\nb", true),
            (r"-----BEGIN CERTIFICATE-----\nMII", true),
        ] {
            assert_eq!(is_key_material(text), expected, "{text}");
            assert_eq!(pem_files(text).is_err(), expected, "{text}");
        }
        assert!(pem_files("/etc/*/cert.pem").is_err());
        assert_eq!(pem_files("a*,b").map(|files| files.len()), Ok(2));
    }

    #[test]
    fn paths_are_as_written() {
        assert_eq!(path(""), Ok(None));
        assert_eq!(
            path(r"D:\a b\x.log"),
            Ok(Some(PathBuf::from(r"D:\a b\x.log")))
        );
        assert!(path("a\0b").is_err());
    }
}
