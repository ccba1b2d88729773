//! [`CloseCode`]: why a connection ends (RFC 6455 §7.4).

/// A close status code (RFC 6455 §7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose has been fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the server goes down or the page is left.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: a rule of the protocol was broken.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a kind of data that cannot be taken.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// 1007: data that is not what its type says, as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: a policy forbids it.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// 1009: a message over the limit.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// 1011: our own fault.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the server restarts, come back (IANA registry).
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: overloaded, try again later (IANA registry).
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 4401: not signed in, or no longer (protocol.md 8.6); private use.
    pub const UNAUTHORIZED: Self = Self(4401);

    /// 4409: another connection goes on in its place (protocol.md 9.3); private use.
    pub const REPLACED: Self = Self(4409);

    /// The code of this number; `None` if it must not stand on the wire, which only
    ///  1000–1003, 1007–1014, 3000–4999 (§7.4.1, §7.4.2).
    pub const fn from_wire(code: u16) -> Option<Self> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(code)),
            _ => None,
        }
    }

    /// The number.
    pub const fn as_u16(self) -> u16 {
        self.0
    }
}
