//! Unpredictable bytes, from the generator that TLS has, too.
//!
//! It asks the kernel itself. The crate getrandom, which uuid has its numbers from, looks for the C
//! library's function at run time; a static program does not find it, reads /dev/urandom instead, and
//! panics where that is missing, as in an empty container.

use aws_lc_rs::rand;

/// Fills `bytes`.
///
/// # Panics
/// If the kernel has no random numbers, which no kernel of the last ten years can do.
pub fn fill(bytes: &mut [u8]) {
    rand::fill(bytes).expect("the kernel has random numbers");
}

/// A random UUID (RFC 9562, section 5.4), as a number: 122 bits that nobody can guess.
pub fn uuid() -> u128 {
    let mut bytes = [0; 16];
    fill(&mut bytes);
    let version_and_variant = 0x4000_8000_0000_0000_0000;
    let their_bits = 0xf000_c000_0000_0000_0000;
    u128::from_be_bytes(bytes) & !their_bits | version_and_variant
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_of_version_4_and_new_each_time() {
        let (one, other) = (uuid::Uuid::from_u128(uuid()), uuid::Uuid::from_u128(uuid()));
        assert_eq!(one.get_version_num(), 4);
        assert_eq!(one.get_variant(), uuid::Variant::RFC4122);
        assert_ne!(one, other);
    }

    #[test]
    fn all_other_bits_of_a_uuid_change() {
        let (mut ones, mut zeros) = (0, 0);
        for _ in 0..200 {
            let uuid = uuid();
            ones |= uuid;
            zeros |= !uuid;
        }
        assert_eq!((ones & zeros).count_ones(), 122);
    }
}
