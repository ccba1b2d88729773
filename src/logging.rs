//! (in work)
/// stub
pub fn escape(text: &str) -> String { text.escape_debug().to_string() }
