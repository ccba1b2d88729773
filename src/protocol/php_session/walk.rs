//! [`Walk`]: all values of a session, one after the other, by structure alone.

use super::error::SessionError;
use super::scan::{Key, ReferenceKind, Scanner, Token};
use super::serializer::Serializer;

/// Deepest nesting of arrays and objects, which is PHP's own (`unserialize_max_depth`).
pub(super) const MAX_DEPTH: usize = 4096;

/// Goes through a session, or through one array or object of it. What it holds is a number for each
/// array and object that is open, so that no input makes it recurse or hold more than
/// [`MAX_DEPTH`] of them.
pub(super) struct Walk<'a> {
    scanner: Scanner<'a>,
    extent: Extent,
    /// How many elements are still to come, of each container that is open, the outermost first.
    open: Vec<usize>,
    /// Values that have a number, so far.
    slots: u64,
    /// Number of the first value whose content is unknown: it may have given numbers to values in
    /// it, so that all numbers behind it are uncertain.
    first_custom: Option<u64>,
}

/// Where a walk ends.
#[derive(Clone, Copy)]
enum Extent {
    Session(Serializer),
    Container,
}

/// One value.
#[derive(Clone, Copy)]
pub(super) struct Item<'a> {
    /// Containers around it, within what is walked through.
    pub(super) depth: usize,
    pub(super) key: Key<'a>,
    pub(super) token: Token<'a>,
    /// Its number; `None` if it is another value by reference.
    pub(super) slot: Option<u64>,
    /// Behind `token`, and what counts from there on.
    inside: Scanner<'a>,
    slots: u64,
    first_custom: Option<u64>,
}

impl<'a> Walk<'a> {
    /// Through a whole session.
    ///
    /// # Errors
    /// If it does not begin as that serializer begins.
    pub(super) fn session(bytes: &'a [u8], serializer: Serializer) -> Result<Self, SessionError> {
        let mut walk = Self {
            scanner: Scanner::new(bytes),
            extent: Extent::Session(serializer),
            open: Vec::new(),
            slots: 0,
            first_custom: None,
        };
        match serializer {
            Serializer::Php | Serializer::PhpBinary => {}
            Serializer::PhpSerialize => {
                let root = Self::root(bytes)?;
                let Token::Array { len } = root.token else {
                    return walk.scanner.malformed();
                };
                walk.scanner = root.inside;
                walk.slots = root.slots;
                walk.open.push(len);
            }
        }
        Ok(walk)
    }

    /// The array that is the whole session in the format of php_serialize.
    pub(super) fn root(bytes: &'a [u8]) -> Result<Item<'a>, SessionError> {
        let mut inside = Scanner::new(bytes);
        let token = inside.token()?;
        Ok(Item {
            depth: 0,
            key: Key::Integer(0),
            token,
            slot: Some(1),
            inside,
            slots: 1,
            first_custom: None,
        })
    }

    /// Through what an array or object holds; `None`: the value is neither.
    pub(super) fn inside(item: &Item<'a>) -> Option<Self> {
        let (Token::Array { len } | Token::Object { len, .. }) = item.token else {
            return None;
        };
        Some(Self {
            scanner: item.inside,
            extent: Extent::Container,
            open: vec![len],
            slots: item.slots,
            first_custom: item.first_custom,
        })
    }

    /// The next value; `None`: that was all, and nothing else follows.
    pub(super) fn next(&mut self) -> Result<Option<Item<'a>>, SessionError> {
        while self.open.last() == Some(&0) {
            self.scanner.expect(b"}")?;
            self.open.pop();
        }
        let key = match self.open.last_mut() {
            Some(left) => {
                *left -= 1;
                Some(self.scanner.key()?)
            }
            None => self.top_key()?,
        };
        let Some(key) = key else {
            return Ok(None);
        };
        let depth = self.open.len() - self.base_depth();
        let start = self.scanner;
        let token = self.scanner.token()?;
        let slot = self.number(token, start)?;
        if let Token::Array { len } | Token::Object { len, .. } = token {
            if self.open.len() == MAX_DEPTH {
                return Err(SessionError::TooDeep);
            }
            self.open.push(len);
        }
        Ok(Some(Item {
            depth,
            key,
            token,
            slot,
            inside: self.scanner,
            slots: self.slots,
            first_custom: self.first_custom,
        }))
    }

    /// The name of a session's next variable.
    fn top_key(&mut self) -> Result<Option<Key<'a>>, SessionError> {
        let serializer = match self.extent {
            Extent::Container => return Ok(None),
            Extent::Session(_) if self.scanner.is_at_end() => return Ok(None),
            Extent::Session(serializer) => serializer,
        };
        let name = match serializer {
            Serializer::Php => self.scanner.name_before_bar()?,
            Serializer::PhpBinary => self.scanner.name_behind_length()?,
            Serializer::PhpSerialize => return self.scanner.malformed(),
        };
        Ok(Some(Key::Name(name)))
    }

    fn base_depth(&self) -> usize {
        match self.extent {
            Extent::Container | Extent::Session(Serializer::PhpSerialize) => 1,
            Extent::Session(Serializer::Php | Serializer::PhpBinary) => 0,
        }
    }

    /// The number that PHP gives to a value, and a look at those that references name: each value
    /// has one but the keys of arrays, and those that are another value.
    fn number(
        &mut self,
        token: Token<'a>,
        start: Scanner<'a>,
    ) -> Result<Option<u64>, SessionError> {
        if let Token::Reference { slot, .. } = token {
            // What follows an object that serializes itself may bear numbers that are not known.
            let is_known = (1..=self.slots).contains(&slot);
            if !is_known && (self.first_custom.is_none() || slot == 0) {
                return start.malformed();
            }
        }
        if matches!(
            token,
            Token::Reference {
                kind: ReferenceKind::Same,
                ..
            }
        ) {
            return Ok(None);
        }
        self.slots += 1;
        if token == Token::Custom && self.first_custom.is_none() {
            self.first_custom = Some(self.slots);
        }
        Ok(Some(self.slots))
    }
}

impl Item<'_> {
    /// Bytes before what follows it.
    pub(super) fn position(&self) -> usize {
        self.inside.position()
    }

    /// Whether a number that is looked for may already have been passed by, inside of a value whose
    /// content is unknown.
    pub(super) fn hides(&self, slot: u64) -> bool {
        self.first_custom.is_some_and(|custom| custom < slot)
    }
}
