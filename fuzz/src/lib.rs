//! The oracles that the property tests share with the fuzz targets.

#[path = "../../tests/properties/asked.rs"]
pub mod asked;
#[path = "../../tests/properties/coded.rs"]
pub mod coded;
#[path = "../../tests/properties/conversation.rs"]
pub mod conversation;
#[path = "../../tests/properties/handed.rs"]
pub mod handed;
#[path = "../../tests/properties/oracles.rs"]
pub mod oracles;
#[path = "../../tests/properties/proxied.rs"]
pub mod proxied;
#[path = "../../tests/properties/resp.rs"]
pub mod resp;
#[path = "../../tests/properties/script.rs"]
pub mod script;
#[path = "../../tests/properties/stage.rs"]
pub mod stage;
#[path = "../../tests/properties/stored.rs"]
pub mod stored;
#[path = "../../tests/properties/stream.rs"]
pub mod stream;
