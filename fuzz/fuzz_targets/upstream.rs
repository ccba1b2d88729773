//! See the oracle, `upstream` in `tests/properties/asked.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| websock_fuzz::asked::upstream(bytes));
