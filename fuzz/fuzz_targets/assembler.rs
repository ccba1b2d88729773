//! See the oracle, `assembler` in `tests/properties/oracles.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| websock_fuzz::oracles::assembler(bytes));
