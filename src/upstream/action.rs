//! What an [`Upstream`](super::Upstream) has its loop do.

use super::link::LinkId;
use super::target::Address;

/// Something for the loop to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Look up this name; [`handle_resolved`](super::Upstream::handle_resolved) follows. No second
    /// one comes before.
    Resolve {
        /// The name.
        host: String,
        /// The port that the addresses are to bear.
        port: u16,
    },
    /// Open a connection; [`handle_connected`](super::Upstream::handle_connected) or
    /// [`handle_connect_failed`](super::Upstream::handle_connect_failed) follows, unless [`Action::Close`] comes first.
    Connect {
        /// The name of the connection from now on.
        link: LinkId,
        /// Where to. If that fails, the next address comes with a `Connect` of its own.
        address: Address,
        /// For TLS, the host name or IP address that the certificate has to bear.
        server_name: Option<String>,
    },
    /// There is [`output`](super::Upstream::output) for this connection.
    Write(LinkId),
    /// The end of this connection, whatever has become of it.
    Close(LinkId),
}
