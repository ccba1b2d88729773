//! The server as its clients see it: a process, real sockets, and nothing of the crate's own code.
//!
//! One module per behaviour of docs/protocol.md. Each test says which row or other promise it is for;
//! `coverage` checks that no guaranteed row is without a test, and prints the table of both with
//! `cargo test --test server every_guaranteed -- --nocapture`.
//!
//! `WEBSOCK_BIN=FILE` runs the suite against another build of the server.

mod backplane;
mod backplane_moves;
mod compression;
mod control;
mod coverage;
mod dial;
mod dialogue;
mod echo_example;
mod feedback;
mod forwarding;
#[expect(dead_code, reason = "the hostile suite shares the harness")]
mod harness;
mod isolation;
mod listeners;
mod log_lines;
mod long_messages;
mod monitoring;
mod operation;
mod order;
mod php_clients;
mod plain_http;
mod proxy_protocol;
mod push;
mod reload;
mod reload_keys;
mod replay;
mod replay_edges;
mod replay_names;
mod restart;
mod sign_in;
mod sign_in_asking;
mod sign_in_redis;
mod sign_in_sessions;
mod sign_in_staying;
mod sign_in_tokens;
mod sign_in_url;
mod sse;
mod sse_sign_in;
mod upgrade;
mod users;
mod web_sends;

/// What this suite speaks below WebSocket.
const WIRE: harness::Wire = harness::Wire::Plain;
