//! See the oracle, `deflate` in `tests/properties/coded.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| websock_fuzz::coded::deflate(bytes));
