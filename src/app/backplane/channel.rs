//! The channels of the backplane: whom a message is for → where it is published, and who subscribes.

use crate::protocol::decimal::Decimal;
use crate::protocol::packet::Ident;

/// Number of a node; 0: none.
pub(super) type NodeNumber = u16;

/// What keys and channels are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Channels {
    prefix: Box<[u8]>,
}

impl Channels {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.as_bytes().into(),
        }
    }

    /// What everybody hears.
    pub(super) fn everybody(&self) -> Vec<u8> {
        self.named(b"b", b"")
    }

    /// What one node hears: messages for its clients, receipts.
    pub(super) fn of_node(&self, node: NodeNumber) -> Vec<u8> {
        self.named(b"n:", node.to_string().as_bytes())
    }

    /// What those hear who have a tab of this user.
    pub(super) fn of_user(&self, user: &str) -> Vec<u8> {
        self.named(b"u:", user.as_bytes())
    }

    /// What those hear who have a client of this ident. Numbers of equal value have one channel,
    /// however they are written, as a text that is one may be looked for by its value (protocol.md
    /// 3.4); `None`: nobody has it.
    pub(super) fn of_ident(&self, ident: &Ident<'_>) -> Option<Vec<u8>> {
        let text = match ident {
            Ident::None => return None,
            Ident::Text(text) => text.as_ref(),
            Ident::Number(number) => {
                Decimal::parse(number)?;
                number
            }
        };
        Some(match Decimal::parse(text) {
            Some(number) => self.named(b"d:", number.canonical().as_bytes()),
            None => self.named(b"i:", text.as_bytes()),
        })
    }

    /// What those hear who have a client of this name: one that it has chosen (protocol.md 2.9), or
    /// a uuid that does not say where the client is.
    pub(super) fn of_name(&self, name: &str) -> Vec<u8> {
        self.named(b"c:", name.as_bytes())
    }

    /// The key by which a node has its number.
    pub(super) fn claim(&self, node: NodeNumber) -> Vec<u8> {
        self.named(b"node:", node.to_string().as_bytes())
    }

    fn named(&self, kind: &[u8], name: &[u8]) -> Vec<u8> {
        [&self.prefix, kind, name].concat()
    }
}

/// The number of the node that has given this uuid to a client; 0: it does not say.
pub(super) fn node_of(uuid: u128) -> NodeNumber {
    (uuid & NODE_BITS) as NodeNumber
}

/// A uuid with the number of its node in 16 of its random bits. 106 random ones are left: whoever
/// guesses finds one of a million tabs by one guess in 2^86.
pub(super) fn with_node(uuid: u128, node: NodeNumber) -> u128 {
    uuid & !NODE_BITS | u128::from(node)
}

/// The last four digits, since the first eight are shown in logs.
const NODE_BITS: u128 = 0xffff;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_told_apart_by_what_they_are_for() {
        let channels = Channels::new("shop:");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        assert_eq!(text(channels.everybody()), "shop:b");
        assert_eq!(text(channels.of_node(7)), "shop:n:7");
        assert_eq!(text(channels.of_user("a b")), "shop:u:a b");
        assert_eq!(text(channels.of_name("Jane")), "shop:c:Jane");
        assert_eq!(text(channels.claim(65_535)), "shop:node:65535");
    }

    // protocol.md 3.4
    #[test]
    fn idents_that_may_be_meant_by_one_look_up_have_one_channel() {
        let channels = Channels::new("");
        let of = |ident: Ident<'_>| channels.of_ident(&ident);
        let of_text = |text: &str| of(Ident::Text(text.to_owned().into()));
        for same in ["42", "042", "4.2e1", "+42"] {
            assert_eq!(of_text(same), of(Ident::Number("42")), "{same}");
        }
        for other in ["43", "-42", "4.2", "42 ", "x", "420"] {
            assert_ne!(of_text(other), of(Ident::Number("42")), "{other}");
        }
        assert_eq!(of_text("x"), Some(b"i:x".to_vec()));
        assert_eq!(of(Ident::None), None);
        // Longer than any that is compared by value.
        let long = "1".repeat(200);
        assert_eq!(of(Ident::Number(&long)), None);
        assert_eq!(of_text(&long), Some(format!("i:{long}").into_bytes()));
    }

    #[test]
    fn a_uuid_says_where_it_is_from_and_stays_one() {
        let uuid = crate::base::random::uuid();
        for node in [0, 1, 0x1234, u16::MAX] {
            let stamped = with_node(uuid, node);
            assert_eq!(node_of(stamped), node);
            assert_eq!(stamped >> 16, uuid >> 16);
        }
    }
}
