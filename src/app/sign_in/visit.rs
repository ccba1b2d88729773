//! A visitor's request, as far as it says who that is.

use crate::app::peer::Peer;
use crate::protocol::http::Request;
use crate::protocol::php_session::SessionId;

/// A visitor's request, as far as it says who that is.
pub(crate) struct Visit<'a> {
    pub(crate) head: &'a Request<'a>,
    /// Where the visitor is.
    pub(crate) peer: Peer,
    /// `https` or `http`, as a trusted proxy says or as this server is spoken to.
    pub(crate) scheme: &'static str,
}

impl<'a> Visit<'a> {
    /// The value of the first cookie of that name (RFC 6265 §5.4), as it was sent.
    pub(super) fn cookie(&self, name: &str) -> Option<&'a [u8]> {
        self.head.header_values("Cookie").find_map(|line| {
            line.split(|&byte| byte == b';').find_map(|pair| {
                let pair = pair.trim_ascii_start();
                let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
                Some(value.trim_ascii_end())
            })
        })
    }

    /// The session that the cookie of that name holds the id of.
    pub(super) fn session(&self, cookie_name: &str) -> Option<SessionId> {
        SessionId::parse(self.cookie(cookie_name)?)
    }

    /// The value of a field of the query.
    pub(super) fn query_value(&self, name: &str) -> Option<&'a str> {
        self.head.query().split('&').find_map(|field| {
            let value = field.strip_prefix(name)?;
            value.strip_prefix('=')
        })
    }
}
