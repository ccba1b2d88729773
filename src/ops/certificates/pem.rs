//! The text of a PEM file (RFC 7468) → its sections. Nothing between boundaries is passed over: a
//! boundary that is not one is an error that names its line. No message holds a byte of the file,
//! which may be a private key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What stands between `-----BEGIN label-----` and `-----END label-----`.
///
/// Without `Debug`, since it may be a private key.
pub(in crate::ops) struct Section {
    pub(in crate::ops) label: String,
    /// Of its first boundary, counted from 1.
    pub(super) line: usize,
    /// Empty if `is_encrypted` is by a header.
    pub(in crate::ops) der: Vec<u8>,
    /// RFC 1421 headers say so, or the label does.
    pub(super) is_encrypted: bool,
}

/// All sections of a file, or what is wrong with it and what to do. Text outside of sections is a
/// comment (RFC 7468 §2).
pub(in crate::ops) fn read(text: &[u8]) -> Result<Vec<Section>, String> {
    if text.starts_with(&[0xff, 0xfe]) || text.starts_with(&[0xfe, 0xff]) {
        return Err("is saved as UTF-16; save it as plain text (ASCII or UTF-8)".into());
    }
    // An ASN.1 SEQUENCE whose length takes more than a byte.
    if matches!(text, [0x30, length, ..] if *length >= 0x80) {
        return Err(BINARY.into());
    }
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut sections = Vec::new();
    let mut open: Option<Open> = None;
    for (line, written) in (1..).zip(lines(text)) {
        let written = written.trim_ascii();
        match (boundary(written), &mut open) {
            (Boundary::None, None) => {}
            (Boundary::None, Some(open)) => open.take_line(written),
            (Boundary::Begin(label), None) => open = Some(Open::new(label, line)),
            (Boundary::Begin(_), Some(open)) => {
                return Err(format!(
                    "{}, where line {line} begins another",
                    open.fault()
                ));
            }
            (Boundary::End(_), None) => {
                return Err(format!(
                    "is no whole PEM file: line {line} ends what no line has begun; copy it anew"
                ));
            }
            (Boundary::End(label), Some(_)) => {
                let section = open.take().map(|open| open.close(&label, line));
                sections.extend(section.transpose()?);
            }
            (Boundary::Malformed(reason), _) => {
                return Err(format!("is no PEM file: line {line} {reason}"));
            }
        }
    }
    match open {
        Some(open) => Err(format!("{}: the file is cut off", open.fault())),
        None => Ok(sections),
    }
}

/// A section whose end has not come yet.
struct Open {
    label: String,
    line: usize,
    base64: Vec<u8>,
    is_encrypted: bool,
}

impl Open {
    fn new(label: String, line: usize) -> Self {
        Self {
            is_encrypted: label.starts_with("ENCRYPTED "),
            label,
            line,
            base64: Vec::new(),
        }
    }

    /// Base64 has no colon, so that a line with one is a header (RFC 1421 §4.6).
    fn take_line(&mut self, line: &[u8]) {
        if !line.contains(&b':') {
            self.base64.extend_from_slice(line);
        } else if line.starts_with(b"Proc-Type:") && line.ends_with(b"ENCRYPTED") {
            self.is_encrypted = true;
        }
    }

    fn close(self, label: &str, line: usize) -> Result<Section, String> {
        if self.label != label {
            return Err(format!(
                "{}, as line {line} ends another kind; copy the file anew",
                self.fault()
            ));
        }
        let der = if self.is_encrypted {
            Vec::new()
        } else {
            // The error would show a byte.
            STANDARD.decode(&self.base64).map_err(|_| {
                format!(
                    "is no PEM file: what lines {} to {line} hold is not base64; copy the file anew",
                    self.line
                )
            })?
        };
        Ok(Section {
            label: self.label,
            line: self.line,
            der,
            is_encrypted: self.is_encrypted,
        })
    }

    fn fault(&self) -> String {
        format!(
            "is no whole PEM file: the section that line {} begins has no end",
            self.line
        )
    }
}

enum Boundary {
    None,
    Begin(String),
    End(String),
    /// What is wrong with it, to follow "line 5".
    Malformed(&'static str),
}

fn boundary(line: &[u8]) -> Boundary {
    let label = |keyword: &[u8]| {
        let label = line.strip_prefix(keyword)?.strip_suffix(b"-----")?;
        let is_label =
            |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b' ';
        label
            .iter()
            .all(is_label)
            .then(|| String::from_utf8_lossy(label).into_owned())
    };
    if let Some(label) = label(b"-----BEGIN ") {
        return Boundary::Begin(label);
    }
    if let Some(label) = label(b"-----END ") {
        return Boundary::End(label);
    }
    let contains = |part: &[u8]| memchr::memmem::find(line, part).is_some();
    let begins = contains(b"BEGIN ") || line.starts_with(b"-----B");
    let ends = contains(b"END ") || line.starts_with(b"-----E");
    // Dashes of another script are what word processors make of them.
    let has_dashes = contains(b"--") || contains("–".as_bytes()) || contains("—".as_bytes());
    if !has_dashes || !(begins || ends) {
        return Boundary::None;
    }
    Boundary::Malformed(if contains(br"\n") {
        r"has its line ends as the two characters \n; write line ends in their place (printf '%b')"
    } else if begins && ends {
        "holds an END and a BEGIN; give each a line of its own (files that were joined lacked a \
         line end)"
    } else {
        "is no boundary as it stands; -----BEGIN …----- and -----END …----- have five dashes on \
         each side and a line of their own"
    })
}

/// LF, CRLF and CR end a line.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = memchr::memchr2(b'\n', b'\r', text) else {
            return rest.take();
        };
        let (line, behind) = text.split_at(end);
        let behind = behind.strip_prefix(b"\r\n").unwrap_or(&behind[1..]);
        rest = Some(behind);
        Some(line)
    })
}

const BINARY: &str = "is binary (DER or PKCS #12), and PEM is wanted; convert it (openssl x509 \
    -inform DER -in OLD -out NEW, openssl pkcs12 -in OLD -nodes -out NEW)";

#[cfg(test)]
mod tests {
    use super::*;

    /// The labels with their lines, or the fault.
    fn summary(text: &[u8]) -> String {
        match read(text) {
            Ok(sections) => sections
                .iter()
                .map(|section| format!("{}@{} {}", section.label, section.line, section.der.len()))
                .collect::<Vec<_>>()
                .join("|"),
            Err(fault) => fault,
        }
    }

    const A: &str = "-----BEGIN CERTIFICATE-----\nAAAA\nAAAA\n-----END CERTIFICATE-----\n";

    #[test]
    fn sections_are_read_whatever_stands_between_them_and_ends_their_lines() {
        let table = [
            ("nothing", String::new(), ""),
            ("a comment", "subject=/CN=a\n".into(), ""),
            ("one", A.into(), "CERTIFICATE@1 6"),
            ("CRLF", A.replace('\n', "\r\n"), "CERTIFICATE@1 6"),
            ("CR", A.replace('\n', "\r"), "CERTIFICATE@1 6"),
            ("no last line end", A.trim_end().into(), "CERTIFICATE@1 6"),
            ("byte order mark", format!("\u{feff}{A}"), "CERTIFICATE@1 6"),
            ("indented", A.replace('\n', "\n  "), "CERTIFICATE@1 6"),
            (
                "two",
                format!("{A}text\n\n{A}"),
                "CERTIFICATE@1 6|CERTIFICATE@7 6",
            ),
            (
                "RFC 1421 headers",
                "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: A,0\n\nAAAA\n\
                 -----END EC PRIVATE KEY-----"
                    .into(),
                "EC PRIVATE KEY@1 0",
            ),
            ("dashes in a comment", "-- BEGINNING --\n".into(), ""),
        ];
        for (name, text, expected) in table {
            assert_eq!(summary(text.as_bytes()), expected, "{name}");
        }
    }

    /// What is passed over in silence is a certificate that clients miss.
    #[test]
    fn whatever_is_no_section_is_an_error_with_its_line_and_without_a_byte_of_the_file() {
        let joined = A.trim_end().to_owned() + A;
        let table = [
            ("joined", joined, "line 4 holds an END and a BEGIN"),
            (
                "escaped line ends",
                A.replace('\n', r"\n"),
                r"line 1 has its line ends as the two characters \n",
            ),
            (
                "all in one line",
                A.replace('\n', ""),
                "line 1 holds an END and a BEGIN",
            ),
            (
                "four dashes",
                A.replace("-----B", "----B"),
                "line 1 is no boundary",
            ),
            (
                "typographic dashes",
                A.replace("-----B", "—–B"),
                "line 1 is no boundary",
            ),
            (
                "text behind a boundary",
                A.replacen("E-----\n", "E-----A\n", 1),
                "line 1 is no boundary",
            ),
            (
                "cut off",
                A[..40].into(),
                "line 1 begins has no end: the file is cut off",
            ),
            (
                "no end, then another",
                format!("{}{A}", &A[..38]),
                "line 1 begins has no end, where line 4 begins another",
            ),
            (
                "end only",
                A[28..].into(),
                "line 3 ends what no line has begun",
            ),
            (
                "another end",
                A.replace("END CERTIFICATE", "END PRIVATE KEY"),
                "line 4 ends another kind",
            ),
            (
                "not base64",
                A.replace("AAAA\nA", "AAAA\n?"),
                "lines 1 to 4 hold is not base64",
            ),
        ];
        for (name, text, expected) in table {
            let said = summary(text.as_bytes());
            assert!(said.contains(expected), "{name}: {said}");
            assert!(
                !said.contains("AAA") && !said.contains("65"),
                "{name}: {said}"
            );
        }
        let utf16: Vec<u8> = A.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let utf16 = [&[0xff, 0xfe][..], &utf16].concat();
        assert!(summary(&utf16).contains("UTF-16"));
        assert!(summary(&[0x30, 0x82, 1, 0, 2]).contains("openssl x509 -inform DER"));
    }

    /// Every BEGIN gives a section or an error, wherever a file is cut, joined or damaged.
    #[test]
    fn no_section_is_lost_at_any_cut() {
        let text = format!("{A}{A}");
        for cut in 0..=text.len() {
            let part = &text[..cut];
            if let Ok(sections) = read(part.as_bytes()) {
                let begun = part.matches("-----B").count();
                assert_eq!(sections.len(), begun, "cut at {cut}");
            }
        }
    }
}
