//! See the oracle, `proxy_header` in `tests/properties/proxied.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| websock_fuzz::proxied::proxy_header(bytes));
