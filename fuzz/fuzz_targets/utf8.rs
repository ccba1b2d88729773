//! See the oracle, `utf8_text` in `tests/properties/oracles.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| websock_fuzz::oracles::utf8_text(bytes));
