//! See the oracle, `handover` in `tests/properties/handed.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| websock_fuzz::handed::handover(bytes));
