//! The server as a client, over real sockets, of servers that behave as none should. Against
//! nginx: `run.sh`.

mod driver;
mod hostile;
mod server;
