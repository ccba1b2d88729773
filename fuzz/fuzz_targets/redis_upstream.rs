//! See the oracle, `redis_upstream` in `tests/properties/asked.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| websock_fuzz::asked::redis_upstream(bytes));
