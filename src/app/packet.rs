//! JSON packets of the dialogue (contract 2.4 to 2.6): text → [`Packet`], without a document.

use std::borrow::Cow;

/// Deepest nesting of arrays and objects that is still valid (contract 2.6).
pub const MAX_DEPTH: usize = 512;

/// What a packet's field `opcode` asks for, compared exactly (contract 2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `echo`
    Echo,
    /// `broadcast`
    Broadcast,
    /// `feedback`
    Feedback,
    /// `quit`
    Quit,
    /// `uuid`
    Uuid,
    /// No opcode, an unknown one, one that is no text, or JSON that is no object.
    Unknown,
}

/// The packet's field `ident` (contract 3.3, 3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ident<'a> {
    /// Missing, empty, or of a type that matches nobody.
    None,
    /// A JSON string, unescaped.
    Text(Cow<'a, str>),
    /// A JSON number, as written.
    Number(&'a str),
}

/// The fields of one packet that the server reads. For a key given twice the last one counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What is asked for.
    pub verb: Verb,
    /// Field `uuid` if it is a text, else `""`.
    pub uuid: Cow<'a, str>,
    /// Field `ident`.
    pub ident: Ident<'a>,
    /// Field `message` if it is a text and `verb` is [`Verb::Uuid`], else `""`.
    pub message: Cow<'a, str>,
}

/// Text that is not JSON by the contract's rule 2.6; the byte offset of the fault where known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed { /** Offset in bytes from the start of the text. */ pub position: usize }

impl<'a> Packet<'a> {
    /// Validates the whole text and picks the fields out of it. Nothing is copied unless a field
    /// holds escapes.
    pub fn parse(text: &'a str) -> Result<Self, Malformed> { todo!() }
}
