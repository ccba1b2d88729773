//! The application protocol: resources, the dialogue, the registry of clients.

pub mod clients;
pub mod packet;
