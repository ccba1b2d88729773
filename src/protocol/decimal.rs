//! Decimal numbers compared by value, exactly: `42` = `042` = `4.20e1` (protocol.md 3.4).
//!
//! Owns the equality of an ident with a JSON number. Nothing is converted to binary floating
//! point, so idents of any length stay apart: 9007199254740993 is not 9007199254740992.

use std::hash::{Hash, Hasher};

/// A decimal number, borrowed from its text. Two are equal, and hash alike, if their values are.
///
/// The value is ±0.DIGITS × 10^`exponent`, where the digits of `integer` and `fraction` together
/// neither begin nor end with a zero. Zero has no digits, no sign and the exponent 0.
#[derive(Clone, Copy, Debug)]
pub struct Decimal<'a> {
    is_negative: bool,
    integer: &'a [u8],
    fraction: &'a [u8],
    /// Saturates; which lets numbers meet only where both have more than 10^18 digits written
    /// out.
    exponent: i64,
}

impl<'a> Decimal<'a> {
    /// Reads what PHP takes for a number when it writes JSON with `JSON_NUMERIC_CHECK`: an
    /// optional sign, digits with at most one point among or around them, an optional exponent.
    /// That covers every JSON number. `None` for any other text, and for more than
    /// [`MAX_NUMBER_BYTES`].
    pub fn parse(text: &'a str) -> Option<Self> {
        if text.len() > MAX_NUMBER_BYTES {
            return None;
        }
        let (is_negative, unsigned) = split_sign(text.as_bytes());
        let (mantissa, exponent) = match split_at_byte(unsigned, |byte| matches!(byte, b'e' | b'E'))
        {
            (mantissa, Some(exponent)) => (mantissa, parse_exponent(exponent)?),
            (mantissa, None) => (mantissa, 0),
        };
        let (integer, fraction) = split_at_byte(mantissa, |byte| byte == b'.');
        let fraction = fraction.unwrap_or_default();
        let has_digits = !(integer.is_empty() && fraction.is_empty());
        let has_only_digits = integer.iter().chain(fraction).all(u8::is_ascii_digit);
        (has_digits && has_only_digits)
            .then(|| Self::normal(is_negative, integer, fraction, exponent))
    }

    fn normal(is_negative: bool, integer: &'a [u8], fraction: &'a [u8], exponent: i64) -> Self {
        let integer = trim_start(integer);
        let mut exponent = exponent.saturating_add(length(integer));
        let mut fraction = trim_end(fraction);
        if integer.is_empty() {
            let digits = trim_start(fraction);
            exponent = exponent.saturating_sub(length(fraction) - length(digits));
            fraction = digits;
        }
        let integer = if fraction.is_empty() {
            trim_end(integer)
        } else {
            integer
        };
        if integer.is_empty() && fraction.is_empty() {
            return Self {
                is_negative: false,
                integer,
                fraction,
                exponent: 0,
            };
        }
        Self {
            is_negative,
            integer,
            fraction,
            exponent,
        }
    }

    /// The same text for all numbers of this value, and another one for every other value.
    pub fn canonical(&self) -> String {
        let sign = if self.is_negative { "-" } else { "" };
        let digits: String = self.digits().map(|digit| char::from(*digit)).collect();
        format!("{sign}0.{digits}e{}", self.exponent)
    }

    fn digits(&self) -> impl Iterator<Item = &'a u8> {
        self.integer.iter().chain(self.fraction)
    }
}

impl PartialEq for Decimal<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.is_negative == other.is_negative
            && self.exponent == other.exponent
            && self.digits().eq(other.digits())
    }
}

impl Eq for Decimal<'_> {}

impl Hash for Decimal<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.is_negative.hash(state);
        self.exponent.hash(state);
        for digit in self.digits() {
            state.write_u8(*digit);
        }
    }
}

fn split_sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    }
}

/// What is before and after the first byte for which `is_separator` holds; `None` without one.
fn split_at_byte(text: &[u8], is_separator: impl Fn(u8) -> bool) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|&byte| is_separator(byte)) {
        Some(position) => (&text[..position], Some(&text[position + 1..])),
        None => (text, None),
    }
}

fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (is_negative, digits) = split_sign(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let magnitude = digits.iter().fold(0_i64, |magnitude, digit| {
        magnitude
            .saturating_mul(10)
            .saturating_add(i64::from(digit - b'0'))
    });
    Some(if is_negative { -magnitude } else { magnitude })
}

fn trim_start(digits: &[u8]) -> &[u8] {
    let zero_count = digits.iter().take_while(|&&digit| digit == b'0').count();
    &digits[zero_count..]
}

fn trim_end(digits: &[u8]) -> &[u8] {
    let zero_count = digits
        .iter()
        .rev()
        .take_while(|&&digit| digit == b'0')
        .count();
    &digits[..digits.len() - zero_count]
}

/// A slice's length fits, since no slice is longer than `isize::MAX` bytes.
fn length(digits: &[u8]) -> i64 {
    i64::try_from(digits.len()).unwrap_or(i64::MAX)
}

/// Longest number that is compared by value, in bytes; a longer one, on either side, matches no
/// other. Each look-up reads all digits, of a number that may be as long as a message.
pub(crate) const MAX_NUMBER_BYTES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::hash::DefaultHasher;

    fn hash(decimal: Decimal<'_>) -> u64 {
        let mut hasher = DefaultHasher::new();
        decimal.hash(&mut hasher);
        hasher.finish()
    }

    fn are_equal(a: &str, b: &str) -> bool {
        let (a, b) = (Decimal::parse(a).unwrap(), Decimal::parse(b).unwrap());
        assert!(a != b || hash(a) == hash(b));
        assert_eq!(a == b, a.canonical() == b.canonical());
        a == b
    }

    #[test]
    fn equal_values_are_equal_however_they_are_written() {
        let classes: &[&[&str]] = &[
            &[
                "42", "042", "+42", "42.", "42.0", "4.2e1", "4.20E+1", "420e-1", "0.042e3", ".42e2",
            ],
            &[
                "1e3",
                "1000",
                "1E3",
                "1e+03",
                "1000.000",
                "0.0001e7",
                "100000e-2",
            ],
            &[
                "0",
                "-0",
                "0.0",
                "-0e5",
                "00",
                ".0",
                "0e99999999999999999999",
                "-.000",
            ],
            &["-42", "-42.0", "-4.2e1"],
            &["4.2", "4.20", "04.2", "42e-1"],
            &["10203", "1.0203e4", "10203.0"],
            &["1e400", "10e399", "0.1e401"],
            &["9007199254740993"],
            &["9007199254740992", "9007199254740992.0"],
            &["0.1"],
            &["1e-400", "0.1e-399"],
            &["402"],
            &["1e9223372036854775800"],
        ];
        for (i, class) in classes.iter().enumerate() {
            for (j, other_class) in classes.iter().enumerate() {
                for a in *class {
                    for b in *other_class {
                        assert_eq!(are_equal(a, b), i == j, "{a} {b}");
                    }
                }
            }
        }
    }

    #[test]
    fn numbers_up_to_128_bytes_are_compared() {
        for (len, is_compared) in [(127, true), (128, true), (129, false), (1 << 20, false)] {
            for number in [
                "7".repeat(len),
                format!("1.{}", "0".repeat(len - 2)),
                format!("1e{}", "9".repeat(len - 2)),
            ] {
                assert_eq!(Decimal::parse(&number).is_some(), is_compared, "{len}");
            }
        }
    }

    #[test]
    fn exponents_saturate_without_overflow() {
        for exponent in [
            "9223372036854775807",
            "9223372036854775808",
            "99999999999999999999999",
        ] {
            for sign in ["", "-", "+"] {
                for digits in ["1", "1234", "0.0001", "12.34"] {
                    assert!(Decimal::parse(&format!("{digits}e{sign}{exponent}")).is_some());
                }
            }
        }
    }

    #[test]
    fn other_texts_are_no_decimals() {
        for text in [
            "", "-", "+", ".", "-.", "e3", ".e3", "1e", "1e+", "1e1.5", "1.2.3", "--1", "+-1",
            "0x10", "1 ", " 1", "1,5", "1_000", "NaN", "inf", "1e3e4", "٤٢", "1-2",
        ] {
            assert!(Decimal::parse(text).is_none(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn shifting_the_point_keeps_the_value(
            digits in "[0-9]{1,40}",
            point in 0_usize..41,
            zeros in 0_usize..9,
        ) {
            let point = point.min(digits.len());
            let shift = digits.len() - point;
            let pad = "0".repeat(zeros);
            let (integer, fraction) = digits.split_at(point);
            let written = format!("{pad}{integer}.{fraction}{pad}e{shift}");
            prop_assert!(are_equal(&digits, &written));
        }

        #[test]
        fn integers_are_equal_only_to_themselves(
            a in any::<u64>(),
            b in any::<u64>(),
            zeros in 0_usize..4,
        ) {
            let written = format!("{}{a}", "0".repeat(zeros));
            prop_assert!(are_equal(&a.to_string(), &written));
            prop_assert_eq!(are_equal(&b.to_string(), &written), a == b);
            prop_assert_eq!(are_equal(&format!("-{a}"), &written), a == 0);
        }
    }
}
