//! [`Serializer`]: whose format the bytes of a session are in, as far as their beginning tells.

/// Who has written a session (`session.serialize_handler`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serializer {
    /// `php`, the default: `name|i:1;name|…`
    Php,
    /// `php_serialize`: one array, `a:2:{s:4:"name";i:1;…}`.
    PhpSerialize,
    /// `php_binary`: each name behind a byte with its length.
    PhpBinary,
}

impl Serializer {
    /// The serializers that these bytes may be from, by how they begin, the likeliest first.
    ///
    /// What a visitor has chosen may stand in any value, but hardly in the name of the first variable,
    /// so that nobody from outside chooses the format: a session of `php` that begins like one of
    /// `php_binary` is none, as its first `|` would stand in the other's first name.
    pub(super) fn candidates(bytes: &[u8]) -> impl Iterator<Item = Self> {
        let is_php = memchr::memchr(b'|', bytes).is_some_and(|bar| begins_value(bytes, bar + 1));
        let name_len = bytes.first().copied().unwrap_or(0x80);
        let name = bytes.get(1..=usize::from(name_len)).unwrap_or_default();
        let is_binary = name_len < 0x80 && begins_value(bytes, usize::from(name_len) + 1);
        let is_likely = name_len < b' ' || !name.contains(&b'|') || !is_php;
        [
            (Self::PhpSerialize, begins_array(bytes)),
            (Self::PhpBinary, is_binary && is_likely),
            (Self::Php, is_php || bytes.is_empty()),
        ]
        .into_iter()
        .filter_map(|(serializer, fits)| fits.then_some(serializer))
    }

    /// Who may have begun to write what fits nobody.
    pub(super) fn guess(bytes: &[u8]) -> Self {
        match bytes {
            [b'a', b':', ..] => Self::PhpSerialize,
            [..b' ', ..] => Self::PhpBinary,
            _ => Self::Php,
        }
    }
}

/// `a:`, digits, `:{`
fn begins_array(bytes: &[u8]) -> bool {
    let Some(rest) = bytes.strip_prefix(b"a:") else {
        return false;
    };
    let digit_count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    digit_count > 0
        && rest
            .get(digit_count..)
            .is_some_and(|rest| rest.starts_with(b":{"))
}

fn begins_value(bytes: &[u8], at: usize) -> bool {
    match bytes.get(at..) {
        Some([kind, b':', ..]) => b"bidsaOECRr".contains(kind),
        Some([b'N', b';', ..]) => true,
        _ => false,
    }
}
