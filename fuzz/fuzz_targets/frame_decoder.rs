//! See the oracle, `frame_decoder` in `tests/properties/oracles.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| websock_fuzz::oracles::frame_decoder(bytes));
