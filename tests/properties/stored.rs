//! What has to hold for the reader of PHP sessions: it agrees with a second reader, which builds a
//! tree of everything and looks things up in that.

use std::borrow::Cow;

use websock::protocol::php_session::{Serializer, Session, SessionError, Value};

use super::oracles::cuts;
use super::script::Script;

/// A session is read, and everything in it found, as a plain reader reads and finds it; so are all
/// its beginnings. What is skipped is as long as what is read: something put behind it is found.
///
/// The first byte says whether the rest is a session, or a script to write one by.
pub fn php_session(bytes: &[u8]) {
    let mut script = Script(bytes);
    let kind = script.byte();
    let session = match SERIALIZERS.get(usize::from(kind % 4)) {
        Some(serializer) => write_session(*serializer, &mut script),
        None => script.0.to_vec(),
    };
    agrees(&session);
    for cut in cuts(session.len()) {
        agrees(&session[..cut]);
    }
    skips_as_it_reads(&session);
}

fn agrees(bytes: &[u8]) {
    let trees = SERIALIZERS.map(|serializer| Tree::read(serializer, bytes));
    match Session::parse(bytes) {
        Ok(session) => {
            let serializer = session.serializer();
            let mut trees = trees.into_iter().flatten();
            let tree = trees.find(|tree| tree.serializer == serializer);
            let tree = tree.unwrap_or_else(|| panic!("only {serializer:?} reads it"));
            finds_the_same(&session, &tree);
        }
        Err(SessionError::Igbinary) => assert!(bytes.starts_with(&[0, 0, 0]) && bytes[3] < 3),
        Err(_) => {
            // A variable of php whose name begins as one of php_binary does is taken for the former.
            let is_read = trees
                .iter()
                .flatten()
                .any(|tree| tree.serializer != Serializer::PhpBinary || !bytes.contains(&b'|'));
            assert!(!is_read, "not read: {}", bytes.escape_ascii());
        }
    }
}

fn finds_the_same(session: &Session<'_>, tree: &Tree<'_>) {
    let keys: Vec<String> = session.keys().iter().map(ToString::to_string).collect();
    assert_eq!(keys.len(), tree.children(0).len());
    for path in tree.paths() {
        let found = session.find(&path).map(|value| value.map(words));
        // Where it is malformed the second reader does not say.
        let found = found.map_err(|error| match error {
            SessionError::Malformed { .. } => SessionError::Malformed { at: 0 },
            other => other,
        });
        assert_eq!(found, tree.find(&path), "{path:?}");
        if let Ok(Some(value)) = session.find(&path) {
            assert_eq!(value.is_true(), is_true(&words(value)), "{path:?}");
        }
    }
}

/// A value put behind is found, so that everything before it was walked through to its end.
fn skips_as_it_reads(bytes: &[u8]) {
    let Ok(session) = Session::parse(bytes) else {
        return;
    };
    let serializer = session.serializer();
    let last: &[u8] = match serializer {
        Serializer::Php => b"after it|i:7;",
        Serializer::PhpBinary => b"\x08after iti:7;",
        Serializer::PhpSerialize => return,
    };
    let longer = [bytes, last].concat();
    let session = Session::parse(&longer).expect("both parts can be read");
    if session.serializer() == serializer {
        let found = session
            .find("after it")
            .expect("no reference is on the way");
        assert_eq!(found.map(words), Some("7".to_owned()));
    }
}

fn words(value: Value<'_>) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Float(value) => format!("float {value:?}"),
        Value::String(value) => format!("\"{}\"", value.escape_ascii()),
        Value::Array { len } => format!("array {len}"),
        Value::Object => "object".to_owned(),
    }
}

fn is_true(words: &str) -> bool {
    let wrong = [
        "null",
        "false",
        "0",
        "float 0.0",
        "float -0.0",
        "\"\"",
        "\"0\"",
        "array 0",
    ];
    !wrong.contains(&words)
}

// ---- a second reader

const SERIALIZERS: [Serializer; 3] = [
    Serializer::Php,
    Serializer::PhpSerialize,
    Serializer::PhpBinary,
];

/// A session, all of it.
struct Tree<'a> {
    serializer: Serializer,
    /// The first one holds all variables.
    nodes: Vec<Node<'a>>,
    /// The nodes that have numbers, from 1 on.
    numbered: Vec<usize>,
    /// The number of the first value whose content is unknown.
    unknown_from: usize,
}

struct Node<'a> {
    words: String,
    class: Option<&'a [u8]>,
    reference: Option<(u8, usize)>,
    children: Vec<(Cow<'a, [u8]>, usize)>,
}

/// What is left to be read.
type Rest<'a> = &'a [u8];

impl<'a> Tree<'a> {
    fn read(serializer: Serializer, bytes: &'a [u8]) -> Option<Self> {
        let mut tree = Self {
            serializer,
            nodes: Vec::new(),
            numbered: Vec::new(),
            unknown_from: usize::MAX,
        };
        let mut rest = bytes;
        if serializer == Serializer::PhpSerialize {
            rest = tree.value(rest)?.1;
            return (tree.nodes[0].words.starts_with("array") && rest.is_empty()).then_some(tree);
        }
        tree.nodes.push(Node::new("session".to_owned()));
        while !rest.is_empty() {
            let (name, behind) = match serializer {
                Serializer::PhpBinary => {
                    let len = usize::from(rest[0]);
                    (len < 128).then(|| rest[1..].split_at_checked(len))??
                }
                _ => split(rest, b"|")?,
            };
            let (node, behind) = tree.value(behind)?;
            tree.nodes[0].children.push((name.into(), node));
            rest = behind;
        }
        Some(tree)
    }

    /// The node of what stands at the beginning, and what follows it.
    fn value(&mut self, bytes: &'a [u8]) -> Option<(usize, Rest<'a>)> {
        let node = self.nodes.len();
        self.nodes.push(Node::new(String::new()));
        if let Some(rest) = bytes.strip_prefix(b"R:") {
            let (number, rest) = split(rest, b";")?;
            let number = self.target(number)?;
            self.nodes[node].reference = Some((b'R', number));
            return Some((node, rest));
        }
        let known = self.numbered.len();
        self.numbered.push(node);
        let (kind, rest) = match bytes.strip_prefix(b"N;") {
            Some(rest) => (b';', rest),
            None => (*bytes.first()?, bytes[1..].strip_prefix(b":")?),
        };
        let (words, rest) = match kind {
            b';' if bytes.starts_with(b"N") => ("null".to_owned(), rest),
            b'b' => {
                let (text, rest) = split(rest, b";")?;
                let is_true = text == b"1";
                (
                    (is_true || text == b"0").then(|| is_true.to_string())?,
                    rest,
                )
            }
            b'i' => {
                let (text, rest) = split(rest, b";")?;
                (integer(text)?.to_string(), rest)
            }
            b'd' => {
                let (text, rest) = split(rest, b";")?;
                (format!("float {:?}", float(text)?), rest)
            }
            b's' => {
                let (text, rest) = text(rest)?;
                (
                    format!("\"{}\"", text.escape_ascii()),
                    rest.strip_prefix(b";")?,
                )
            }
            b'E' => ("object".to_owned(), text(rest)?.1.strip_prefix(b";")?),
            b'r' => {
                let (number, rest) = split(rest, b";")?;
                let number = self.target(number)?;
                (number <= known || self.unknown_from <= known).then_some(())?;
                self.nodes[node].reference = Some((b'r', number));
                (String::new(), rest)
            }
            b'C' => {
                let (_, rest) = text(rest)?;
                let (len, rest) = split(rest.strip_prefix(b":")?, b":{")?;
                let (_, rest) = rest.split_at_checked(length(len)?)?;
                self.unknown_from = self.unknown_from.min(self.numbered.len());
                ("object".to_owned(), rest.strip_prefix(b"}")?)
            }
            b'a' => {
                let (len, rest) = split(rest, b":{")?;
                let len = length(len)?;
                (format!("array {len}"), self.elements(node, len, rest)?)
            }
            b'O' => {
                let (class, rest) = text(rest)?;
                self.nodes[node].class = Some(class);
                let (len, rest) = split(rest.strip_prefix(b":")?, b":{")?;
                let rest = self.elements(node, length(len)?, rest)?;
                ("object".to_owned(), rest)
            }
            _ => return None,
        };
        self.nodes[node].words = words;
        Some((node, rest))
    }

    fn elements(&mut self, node: usize, len: usize, bytes: &'a [u8]) -> Option<Rest<'a>> {
        let mut rest = bytes;
        for _ in 0..len {
            let (key, behind) = match rest.strip_prefix(b"i:") {
                Some(rest) => {
                    let (key, rest) = split(rest, b";")?;
                    (Cow::Owned(integer(key)?.to_string().into_bytes()), rest)
                }
                None => {
                    let (key, rest) = text(rest.strip_prefix(b"s:")?)?;
                    (Cow::Borrowed(key), rest.strip_prefix(b";")?)
                }
            };
            let (child, behind) = self.value(behind)?;
            self.nodes[node].children.push((key, child));
            rest = behind;
        }
        rest.strip_prefix(b"}")
    }

    fn target(&self, digits: &[u8]) -> Option<usize> {
        let number = length(digits)?;
        let is_known = number > 0 && number <= self.numbered.len();
        (is_known || (number > 0 && self.unknown_from < usize::MAX)).then_some(number)
    }

    fn children(&self, node: usize) -> &[(Cow<'a, [u8]>, usize)] {
        &self.nodes[node].children
    }

    /// What stands in all places, as far down as two steps, and in some where nothing does.
    fn paths(&self) -> Vec<String> {
        let mut paths = ["", ".", "a", "a.b", "a.0", "x.1.y"]
            .map(str::to_owned)
            .to_vec();
        let mut open: Vec<(String, usize)> = Vec::new();
        for depth in 0..3 {
            let before = match depth {
                0 => vec![(String::new(), 0)],
                _ => std::mem::take(&mut open),
            };
            for (start, node) in before {
                let mut node = node;
                if let Some((_, number)) = self.nodes[node].reference {
                    node = self.numbered.get(number - 1).copied().unwrap_or(node);
                }
                for (key, child) in self.children(node).iter().take(8) {
                    let key = String::from_utf8_lossy(key);
                    let key = key.rsplit('\0').next().unwrap_or_default();
                    let path = match depth {
                        0 => key.to_owned(),
                        _ => format!("{start}.{key}"),
                    };
                    paths.push(path.clone());
                    open.push((path, *child));
                }
            }
            open.truncate(16);
        }
        paths
    }

    fn find(&self, path: &str) -> Result<Option<String>, SessionError> {
        let mut node = 0;
        let mut rest = path.as_bytes();
        loop {
            let class = self.nodes[node].class;
            let mut best: Option<((usize, u8), usize)> = None;
            for (key, child) in self.children(node) {
                let (key, preference) = plain_key(key, class);
                let is_met = rest.strip_prefix(key);
                let is_met = is_met.is_some_and(|rest| rest.is_empty() || rest[0] == b'.');
                let rank = (key.len(), preference);
                if is_met && best.is_none_or(|(best, _)| best <= rank) {
                    best = Some((rank, *child));
                }
            }
            let Some(((len, _), child)) = best else {
                return Ok(None);
            };
            node = self.resolve(child)?;
            match rest.get(len + 1..) {
                Some(left) => rest = left,
                None => return Ok(Some(self.nodes[node].words.clone())),
            }
        }
    }

    /// At most seven references behind each other are followed.
    fn resolve(&self, mut node: usize) -> Result<usize, SessionError> {
        let mut kinds = Vec::new();
        while let Some((kind, number)) = self.nodes[node].reference {
            kinds.push(kind);
            if kinds.len() > 8 {
                return Err(SessionError::TooDeep);
            }
            if number > self.unknown_from {
                return Err(SessionError::UnknownReference);
            }
            node = self.numbered[number - 1];
        }
        if kinds.len() == 8 {
            return Err(SessionError::TooDeep);
        }
        match kinds.contains(&b'r') && self.nodes[node].words != "object" {
            true => Err(SessionError::Malformed { at: 0 }),
            false => Ok(node),
        }
    }
}

impl Node<'_> {
    fn new(words: String) -> Self {
        Self {
            words,
            class: None,
            reference: None,
            children: Vec::new(),
        }
    }
}

/// A key as it stands in paths, and how much it is preferred to others of this name.
fn plain_key<'k>(key: &'k [u8], class: Option<&[u8]>) -> (&'k [u8], u8) {
    let parts: Vec<&[u8]> = key.splitn(3, |byte| *byte == 0).collect();
    match (class, parts.as_slice()) {
        (Some(_), [b"", b"*", name]) => (name, 2),
        (Some(class), [b"", owner, name]) => (name, u8::from(class == *owner)),
        _ => (key, 2),
    }
}

fn split<'a>(bytes: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes
        .windows(separator.len())
        .position(|window| window == separator)?;
    Some((&bytes[..at], &bytes[at + separator.len()..]))
}

/// `3:"abc"`
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = split(bytes, b":\"")?;
    let (text, rest) = rest.split_at_checked(length(len)?)?;
    Some((text, rest.strip_prefix(b"\"")?))
}

fn length(digits: &[u8]) -> Option<usize> {
    let is_number = digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| str::from_utf8(digits).ok()?.parse().ok())?
}

fn integer(text: &[u8]) -> Option<i64> {
    str::from_utf8(text).ok()?.parse().ok()
}

fn float(text: &[u8]) -> Option<f64> {
    match text {
        b"NAN" => Some(f64::NAN),
        b"INF" => Some(f64::INFINITY),
        b"-INF" => Some(f64::NEG_INFINITY),
        _ if text.iter().all(|byte| b"0123456789+-.eE".contains(byte)) => {
            str::from_utf8(text).ok()?.parse().ok()
        }
        _ => None,
    }
}

// ---- a writer

/// Writes a session as a script says, with some of its bytes changed afterwards.
fn write_session(serializer: Serializer, script: &mut Script<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let flaw = script.byte();
    let count = script.byte() % 6;
    if serializer == Serializer::PhpSerialize {
        bytes.extend(format!("a:{count}:{{").bytes());
    }
    for _ in 0..count {
        let name = name(script);
        match serializer {
            Serializer::Php => bytes.extend([name, b"|"].concat()),
            Serializer::PhpBinary => bytes.extend([&[name.len() as u8], name].concat()),
            Serializer::PhpSerialize => write_key(name, script, &mut bytes),
        }
        write_value(script, 5, &mut bytes);
    }
    if serializer == Serializer::PhpSerialize {
        bytes.push(b'}');
    }
    if flaw < 64 && !bytes.is_empty() {
        let at = usize::from(script.byte()) % bytes.len();
        bytes[at] = script.byte();
    }
    bytes
}

fn name<'a>(script: &mut Script<'a>) -> &'a [u8] {
    let kind = script.byte();
    match NAMES.get(usize::from(kind)) {
        Some(name) => name,
        None => script.bytes(usize::from(kind % 8)),
    }
}

fn write_key(name: &[u8], script: &mut Script<'_>, bytes: &mut Vec<u8>) {
    match script.byte() {
        number @ ..64 => bytes.extend(format!("i:{};", i16::from(number) - 8).bytes()),
        64.. => bytes.extend([format!("s:{}:\"", name.len()).as_bytes(), name, b"\";"].concat()),
    }
}

fn write_value(script: &mut Script<'_>, depth: usize, bytes: &mut Vec<u8>) {
    let kind = script.byte();
    let choice = script.byte();
    match kind % 12 {
        0 if depth > 0 => {
            bytes.extend(format!("a:{}:{{", choice % 4).bytes());
            for _ in 0..choice % 4 {
                write_key(name(script), script, bytes);
                write_value(script, depth - 1, bytes);
            }
            bytes.push(b'}');
        }
        1 if depth > 0 => {
            bytes.extend(format!("O:1:\"A\":{}:{{", choice % 4).bytes());
            for _ in 0..choice % 4 {
                let start =
                    [&b""[..], b"\0*\0", b"\0A\0", b"\0B\0"][usize::from(script.byte() % 4)];
                write_key(&[start, name(script)].concat(), script, bytes);
                write_value(script, depth - 1, bytes);
            }
            bytes.push(b'}');
        }
        2 | 3 => bytes.extend(format!("R:{};", choice % 16).bytes()),
        4 | 5 => bytes.extend(format!("r:{};", choice % 16).bytes()),
        6 => bytes.extend(b"C:1:\"X\":3:{a;}}"),
        7 => bytes.extend(b"E:5:\"E:One\";"),
        8 => bytes.extend(format!("i:{};", i16::from(choice) - 128).bytes()),
        9 => {
            let floats = [
                "d:0.1;",
                "d:-0;",
                "d:NAN;",
                "d:-INF;",
                "d:1.0E+100;",
                "d:100;",
            ];
            bytes.extend(floats[usize::from(choice) % floats.len()].bytes());
        }
        10 => {
            let text = script.bytes(usize::from(choice % 16));
            bytes.extend([format!("s:{}:\"", text.len()).as_bytes(), text, b"\";"].concat());
        }
        _ => bytes.extend([&b"N;"[..], b"b:0;", b"b:1;", b"s:1:\"0\";"][usize::from(choice % 4)]),
    }
}

const NAMES: [&[u8]; 10] = [
    b"a",
    b"b",
    b"0",
    b"a.b",
    b"",
    b"user",
    b"x.1",
    b"!x",
    b"a|b",
    b"A name that is longer than the others are",
];
