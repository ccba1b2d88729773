//! See the oracle, `close_payload` in `tests/properties/oracles.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| websock_fuzz::oracles::close_payload(bytes));
