//! The server as a client, on the real loop and over real sockets, of servers that behave as none
//! should. Against nginx and Redis: `run.sh`.

mod driver;
mod hostile;
mod names;
#[expect(dead_code, reason = "shared with the tests against a real Redis")]
mod redis_driver;
mod redis_hostile;
mod server;
mod tls;
mod waiting;
