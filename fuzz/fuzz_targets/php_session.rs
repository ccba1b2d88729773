//! See the oracle, `php_session` in `tests/properties/stored.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| websock_fuzz::stored::php_session(bytes));
