//! The oracles that the property tests share with the fuzz targets.

#[path = "../../tests/properties/coded.rs"]
pub mod coded;
#[path = "../../tests/properties/conversation.rs"]
pub mod conversation;
#[path = "../../tests/properties/oracles.rs"]
pub mod oracles;
