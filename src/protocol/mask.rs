//! Masking (RFC 6455 §5.3).

/// Unmasks `payload` in place (RFC 6455 §5.3).
///
/// `offset` is the position of `payload[0]` within the frame's payload, in bytes, so that a payload
/// may arrive in any number of pieces. Applying it twice restores the input. Cannot fail.
pub fn apply(masking_key: [u8; 4], offset: usize, payload: &mut [u8]) {
    // Whole words from the start: a key that is put together byte by byte in memory and then read
    // in wide pieces stalls the processor for longer than a short message takes.
    let key = rotate(masking_key, offset);
    let word = u64::from(key) << 32 | u64::from(key);
    let mut chunks = payload.chunks_exact_mut(WIDTH);
    for chunk in &mut chunks {
        // A loop of fixed length over words is what the compiler turns into vector instructions.
        // Those of SSE2, which every x86-64 has, are as fast as wider ones here: unmasking takes a
        // third of the time of decoding a long message, and memory is what it waits for.
        for bytes in chunk.as_chunks_mut().0 {
            *bytes = (u64::from_le_bytes(*bytes) ^ word).to_le_bytes();
        }
    }
    // Short messages are the most frequent ones: what is left goes in steps of eight.
    let (words, rest) = chunks.into_remainder().as_chunks_mut();
    for bytes in words {
        *bytes = (u64::from_le_bytes(*bytes) ^ word).to_le_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(word.to_le_bytes()) {
        *byte ^= key;
    }
}

/// The key as it applies to a piece that begins at `offset`, its first byte lowest.
fn rotate(masking_key: [u8; 4], offset: usize) -> u32 {
    u32::from_le_bytes(masking_key).rotate_right(8 * (offset % 4) as u32)
}

/// Bytes per step: four registers of SSE2, two of AVX2.
const WIDTH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition in the RFC, byte by byte.
    fn reference(masking_key: [u8; 4], offset: usize, payload: &[u8]) -> Vec<u8> {
        let octet = |(i, byte): (usize, &u8)| byte ^ masking_key[(i + offset) % 4];
        payload.iter().enumerate().map(octet).collect()
    }

    #[test]
    fn equals_the_definition_at_every_length_and_offset() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        for len in (0..300).chain(442..582) {
            for offset in 0..8 {
                let plain: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
                let mut masked = plain.clone();
                apply(key, offset, &mut masked);
                assert_eq!(masked, reference(key, offset, &plain), "{len} at {offset}");
                apply(key, offset, &mut masked);
                assert_eq!(masked, plain);
            }
        }
    }

    #[test]
    fn pieces_equal_the_whole() {
        let key = [1, 2, 3, 4];
        let plain: Vec<u8> = (0..=255).collect();
        let whole = reference(key, 0, &plain);
        for cut in 0..plain.len() {
            let mut pieces = plain.clone();
            let (left, right) = pieces.split_at_mut(cut);
            apply(key, 0, left);
            apply(key, cut, right);
            assert_eq!(pieces, whole, "cut at {cut}");
        }
    }
}
