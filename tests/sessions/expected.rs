//! What PHP has read from a session, as `page.php` tells it.

use websock::protocol::php_session::{Session, Value};

/// Names of all variables, and each value by its path.
#[derive(Debug)]
pub(crate) struct Expected {
    pub(crate) keys: Vec<Vec<u8>>,
    pub(crate) values: Vec<ExpectedValue>,
}

/// A value by its path.
#[derive(Debug)]
pub(crate) struct ExpectedValue {
    pub(crate) path: String,
    words: String,
    is_true: bool,
}

impl Expected {
    pub(crate) fn parse(body: &str) -> Self {
        let mut expected = Self {
            keys: Vec::new(),
            values: Vec::new(),
        };
        for line in body.lines() {
            match line.split('\t').collect::<Vec<_>>().as_slice() {
                ["K", key] => expected.keys.push(from_hex(key)),
                ["P", path, words, truth] => expected.values.push(ExpectedValue {
                    path: String::from_utf8(from_hex(path)).expect("UTF-8"),
                    words: (*words).to_owned(),
                    is_true: *truth == "1",
                }),
                other => panic!("{other:?}"),
            }
        }
        expected
    }

    /// Whether the reader reads the same; how many values it has found.
    #[track_caller]
    pub(crate) fn compare(&self, session: &Session<'_>) -> usize {
        let shown = |key: &Vec<u8>| String::from_utf8_lossy(key).escape_debug().to_string();
        let keys: Vec<String> = self.keys.iter().map(shown).collect();
        let found = session.keys();
        assert_eq!(found.len(), keys.len(), "{keys:?}");
        for value in &self.values {
            let found = session.find(&value.path).expect("it can be found");
            let found = found.unwrap_or_else(|| panic!("{} is not there", value.path));
            assert_eq!(words(found), value.words, "{}", value.path);
            assert_eq!(found.is_true(), value.is_true, "truth of {}", value.path);
        }
        self.values.len()
    }
}

fn words(value: Value<'_>) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Float(value) if value.is_nan() => "float nan".to_owned(),
        Value::Float(value) => format!("float {:016x}", value.to_bits()),
        Value::String(value) => format!("string {}", to_hex(value)),
        Value::Array { len } => format!("array {len}"),
        Value::Object => "object".to_owned(),
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(str::from_utf8(pair).expect("ASCII"), 16).expect("hex");
    digits.map(byte).collect()
}
