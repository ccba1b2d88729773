//! The server as a client, on the real loop and over real sockets, of servers that behave as none
//! should. Against nginx: `run.sh`.

mod driver;
mod hostile;
mod names;
mod server;
mod tls;
mod waiting;
