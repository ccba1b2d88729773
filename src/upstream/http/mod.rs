//! HTTP/1.1 as a client (RFC 9112): a [`Request`] as bytes, the [`Response`] from bytes.
//!
//! Owns the syntax of one exchange, and nothing of connections, of time, or of what an answer
//! means. Both directions are strict, because a request that the other end splits differently, or
//! an answer that ends elsewhere than the other end means, would be taken for somebody else's
//! (RFC 9112 §11).

mod request;
mod response;
mod response_reader;
mod wire;

pub use self::request::{Method, Request, RequestError};
pub use self::response::Response;
pub use self::response_reader::{AfterAnswer, ResponseReader};
pub(super) use self::wire::Wire;
