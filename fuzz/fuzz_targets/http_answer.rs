//! See the oracle, `http_answer` in `tests/properties/asked.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| websock_fuzz::asked::http_answer(bytes));
