//! [`Session`]: what a session holds, found by name.

use super::error::SessionError;
use super::scan::{Key, ReferenceKind, Token, Visibility};
use super::serializer::Serializer;
use super::value::Value;
use super::walk::{Item, Walk};

/// The content of a session, known to be whole. Nothing is copied and nothing is constructed: each
/// question walks through the bytes.
///
/// Its `Debug` form shows nothing of it.
#[derive(Clone, Copy)]
pub struct Session<'a> {
    bytes: &'a [u8],
    serializer: Serializer,
}

impl<'a> Session<'a> {
    /// Checks a whole session. No bytes at all are an empty one.
    ///
    /// # Errors
    /// It is not known what it holds: it is cut off, malformed, too deep, or written by igbinary.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, SessionError> {
        if bytes.starts_with(&[0, 0, 0, 1]) || bytes.starts_with(&[0, 0, 0, 2]) {
            return Err(SessionError::Igbinary);
        }
        let mut first_error = None;
        for serializer in Serializer::candidates(bytes) {
            let session = Self { bytes, serializer };
            match session.check() {
                Ok(()) => return Ok(session),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        match first_error {
            Some(error) => Err(error),
            // It may still be the beginning of something.
            None => {
                let serializer = Serializer::guess(bytes);
                let session = Self { bytes, serializer };
                session.check().map(|()| session)
            }
        }
    }

    /// Who has written it. An empty one counts as one of [`Serializer::Php`].
    pub fn serializer(&self) -> Serializer {
        self.serializer
    }

    /// Names of all variables, in order; of their values nothing.
    pub fn keys(&self) -> Vec<Key<'a>> {
        let mut keys = Vec::new();
        if let Ok(mut walk) = Walk::session(self.bytes, self.serializer) {
            while let Ok(Some(item)) = walk.next() {
                if item.depth == 0 {
                    keys.push(item.key);
                }
            }
        }
        keys
    }

    /// The value at a path such as `user.id` or `a.b.0`: the names of a variable, then of elements of
    /// arrays and properties of objects, whoever may use these, with dots between them. References
    /// are followed. A name that holds dots itself is found before shorter ones, as `user.id` before
    /// `user`. `None`: there is nothing at this place.
    ///
    /// # Errors
    /// [`SessionError::UnknownReference`]; [`SessionError::TooDeep`] for references that lead on
    /// and on; [`SessionError::Malformed`] for one that leads to nothing.
    pub fn find(&self, path: &str) -> Result<Option<Value<'a>>, SessionError> {
        let mut rest = path.as_bytes();
        let mut walk = Walk::session(self.bytes, self.serializer)?;
        let mut class = None;
        loop {
            let Some(child) = find_child(walk, class, rest)? else {
                return Ok(None);
            };
            let item = self.resolve(child.item)?;
            let Some(left) = child.rest else {
                return Ok(value_of(item.token));
            };
            let Some(inside) = Walk::inside(&item) else {
                return Ok(None);
            };
            class = match item.token {
                Token::Object { class, .. } => Some(class),
                _ => None,
            };
            (walk, rest) = (inside, left);
        }
    }

    fn check(&self) -> Result<(), SessionError> {
        let mut walk = Walk::session(self.bytes, self.serializer)?;
        while walk.next()?.is_some() {}
        Ok(())
    }

    /// The value that stands in a place, or that a reference there leads to.
    fn resolve(&self, mut item: Item<'a>) -> Result<Item<'a>, SessionError> {
        let mut has_to_be_object = false;
        for _ in 0..MOST_HOPS {
            let Token::Reference { slot, kind } = item.token else {
                let is_object = matches!(
                    item.token,
                    Token::Object { .. } | Token::Enum | Token::Custom
                );
                return match is_object || !has_to_be_object {
                    true => Ok(item),
                    false => Err(SessionError::Malformed {
                        at: item.position(),
                    }),
                };
            };
            has_to_be_object |= kind == ReferenceKind::Object;
            item = self.value_in_slot(slot)?;
        }
        Err(SessionError::TooDeep)
    }

    fn value_in_slot(&self, slot: u64) -> Result<Item<'a>, SessionError> {
        if self.serializer == Serializer::PhpSerialize && slot == 1 {
            return Walk::root(self.bytes);
        }
        let mut walk = Walk::session(self.bytes, self.serializer)?;
        while let Some(item) = walk.next()? {
            if item.hides(slot) {
                return Err(SessionError::UnknownReference);
            }
            if item.slot == Some(slot) {
                return Ok(item);
            }
        }
        Err(SessionError::Malformed {
            at: self.bytes.len(),
        })
    }
}

impl std::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("serializer", &self.serializer)
            .finish_non_exhaustive()
    }
}

/// What a path leads to first.
struct Child<'a, 'p> {
    item: Item<'a>,
    /// What is left of the path behind it; `None`: this is what is wanted.
    rest: Option<&'p [u8]>,
}

/// The element that a path leads to first. Of several with this name the last one counts, as it does
/// in PHP.
fn find_child<'a, 'p>(
    mut walk: Walk<'a>,
    class: Option<&[u8]>,
    path: &'p [u8],
) -> Result<Option<Child<'a, 'p>>, SessionError> {
    let mut best = None;
    let mut best_rank = (0, 0);
    while let Some(item) = walk.next()? {
        if item.depth > 0 {
            continue;
        }
        let (key, visibility) = match class {
            Some(_) => item.key.split_property(),
            None => (item.key, Visibility::Public),
        };
        let Some(rest) = key.strip_from(path) else {
            continue;
        };
        let matched_len = path.len() - rest.map_or(0, |rest| rest.len() + 1);
        let rank = (matched_len, preference(visibility, class));
        if rank >= best_rank {
            (best, best_rank) = (Some(Child { item, rest }), rank);
        }
    }
    Ok(best)
}

/// An object may have several properties of one name: private ones of the classes that its own is
/// derived from.
fn preference(visibility: Visibility<'_>, class: Option<&[u8]>) -> u8 {
    match visibility {
        Visibility::Public | Visibility::Protected => 2,
        Visibility::Private { class: owner } if Some(owner) == class => 1,
        Visibility::Private { .. } => 0,
    }
}

/// `None` for a reference.
fn value_of(token: Token<'_>) -> Option<Value<'_>> {
    Some(match token {
        Token::Null => Value::Null,
        Token::Bool(value) => Value::Bool(value),
        Token::Integer(value) => Value::Integer(value),
        Token::Float(value) => Value::Float(value),
        Token::String(value) => Value::String(value),
        Token::Array { len } => Value::Array { len },
        Token::Object { .. } | Token::Enum | Token::Custom => Value::Object,
        Token::Reference { .. } => return None,
    })
}

/// Most references that are followed from one to the next. PHP writes two at most: to an
/// object that is stored by `r` itself.
const MOST_HOPS: usize = 8;
