//! See the oracle, `resp` in `tests/properties/resp.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| websock_fuzz::resp::resp(bytes));
