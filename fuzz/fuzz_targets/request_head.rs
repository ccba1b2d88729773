//! See the oracle, `request_head` in `tests/properties/oracles.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| websock_fuzz::oracles::request_head(bytes));
