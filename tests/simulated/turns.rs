//! The server's own loop, turn by turn: the order in a turn, everybody's share of it, who pays when
//! memory is scarce, and that it sleeps when there is nothing to do.

mod accepting;
mod broadcasts;
mod deadlines;
mod draining;
mod fairness;
mod memory;
mod order;
mod replaying;
mod requests;
mod scripts;
mod sessions;
mod shares;
mod sleeping;
mod splits;
mod stopping;
mod supervision;
