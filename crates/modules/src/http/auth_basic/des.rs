//! The traditional crypt(3): 25 times DES (FIPS 46-3) of nothing, in which the salt has changed a table.

/// The digits of crypt(3).
pub(super) const DIGITS: &[u8; 64] =
    b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The hash of a password with the two digits of salt at the front of `setting`; `None` where there are none.
pub(super) fn crypt(password: &[u8], setting: &[u8]) -> Option<Vec<u8>> {
    let salt = setting.get(..2)?;
    let expansion = salted_expansion(salt)?;
    let keys = key_schedule(password);
    let mut block = [0; 64];
    for _ in 0..25 {
        block = encrypt(&block, &keys, &expansion);
    }
    let mut out = salt.to_vec();
    let bits: Vec<u8> = block.iter().copied().chain([0, 0]).collect();
    out.extend(bits.chunks(6).map(|digit| DIGITS[number(digit)]));
    Some(out)
}

/// Each bit of the salt exchanges two places of the expansion.
fn salted_expansion(salt: &[u8]) -> Option<[u8; 48]> {
    let mut expansion = EXPANSION;
    for (index, digit) in salt.iter().enumerate() {
        let value = DIGITS.iter().position(|known| known == digit)?;
        for bit in (0..6).filter(|bit| value >> bit & 1 == 1) {
            expansion.swap(6 * index + bit, 6 * index + bit + 24);
        }
    }
    Some(expansion)
}

/// The sixteen keys of seven bits of each of the password's first eight characters.
fn key_schedule(password: &[u8]) -> [[u8; 48]; 16] {
    let mut key = [0; 64];
    for (bits, byte) in key.chunks_mut(8).zip(password) {
        for (place, bit) in bits.iter_mut().take(7).enumerate() {
            *bit = byte >> (6 - place) & 1;
        }
    }
    let mut halves: [u8; 56] = permute(&key, &KEY_CHOICE);
    SHIFTS.map(|shift| {
        let (left, right) = halves.split_at_mut(28);
        left.rotate_left(shift);
        right.rotate_left(shift);
        permute(&halves, &ROUND_KEY_CHOICE)
    })
}

fn encrypt(block: &[u8; 64], keys: &[[u8; 48]; 16], expansion: &[u8; 48]) -> [u8; 64] {
    let block: [u8; 64] = permute(block, &initial_permutation());
    let (mut left, mut right) = ([0; 32], [0; 32]);
    left.copy_from_slice(&block[..32]);
    right.copy_from_slice(&block[32..]);
    for key in keys {
        let mixed = round(&right, key, expansion);
        let next = std::array::from_fn(|bit| left[bit] ^ mixed[bit]);
        left = std::mem::replace(&mut right, next);
    }
    // The last exchange is undone.
    let mut out = [0; 64];
    out[..32].copy_from_slice(&right);
    out[32..].copy_from_slice(&left);
    final_permutation(&out)
}

fn round(half: &[u8; 32], key: &[u8; 48], expansion: &[u8; 48]) -> [u8; 32] {
    let mut bits: [u8; 48] = permute(half, expansion);
    bits.iter_mut().zip(key).for_each(|(bit, key)| *bit ^= key);
    let mut chosen = [0; 32];
    for (index, (six, four)) in bits.chunks(6).zip(chosen.chunks_mut(4)).enumerate() {
        let row = usize::from(six[0] << 1 | six[5]);
        let value = SELECTION[index][16 * row + number(&six[1..5])];
        for (place, bit) in four.iter_mut().enumerate() {
            *bit = value >> (3 - place) & 1;
        }
    }
    permute(&chosen, &PERMUTATION)
}

/// Bits in the order of a table, which counts from 1.
fn permute<const N: usize>(bits: &[u8], table: &[u8; N]) -> [u8; N] {
    std::array::from_fn(|place| bits[usize::from(table[place]) - 1])
}

fn number(bits: &[u8]) -> usize {
    bits.iter().fold(0, |value, bit| value << 1 | usize::from(*bit))
}

/// IP: columns of eight, even ones first, from the bottom up.
fn initial_permutation() -> [u8; 64] {
    std::array::from_fn(|place| {
        let (row, column) = (place as u8 / 8, place as u8 % 8);
        let first = if row < 4 { 58 + 2 * row } else { 57 + 2 * (row - 4) };
        first - 8 * column
    })
}

fn final_permutation(bits: &[u8; 64]) -> [u8; 64] {
    let mut out = [0; 64];
    for (bit, place) in bits.iter().zip(initial_permutation()) {
        out[usize::from(place) - 1] = *bit;
    }
    out
}

/// E.
const EXPANSION: [u8; 48] = [
    32, 1, 2, 3, 4, 5, 4, 5, 6, 7, 8, 9, 8, 9, 10, 11, 12, 13, 12, 13, 14, 15, 16, 17, 16, 17, 18,
    19, 20, 21, 20, 21, 22, 23, 24, 25, 24, 25, 26, 27, 28, 29, 28, 29, 30, 31, 32, 1,
];

/// P.
const PERMUTATION: [u8; 32] = [
    16, 7, 20, 21, 29, 12, 28, 17, 1, 15, 23, 26, 5, 18, 31, 10, 2, 8, 24, 14, 32, 27, 3, 9, 19,
    13, 30, 6, 22, 11, 4, 25,
];

/// PC-1.
const KEY_CHOICE: [u8; 56] = [
    57, 49, 41, 33, 25, 17, 9, 1, 58, 50, 42, 34, 26, 18, 10, 2, 59, 51, 43, 35, 27, 19, 11, 3, 60,
    52, 44, 36, 63, 55, 47, 39, 31, 23, 15, 7, 62, 54, 46, 38, 30, 22, 14, 6, 61, 53, 45, 37, 29,
    21, 13, 5, 28, 20, 12, 4,
];

/// PC-2.
const ROUND_KEY_CHOICE: [u8; 48] = [
    14, 17, 11, 24, 1, 5, 3, 28, 15, 6, 21, 10, 23, 19, 12, 4, 26, 8, 16, 7, 27, 20, 13, 2, 41, 52,
    31, 37, 47, 55, 30, 40, 51, 45, 33, 48, 44, 49, 39, 56, 34, 53, 46, 42, 50, 36, 29, 32,
];

const SHIFTS: [usize; 16] = [1, 1, 2, 2, 2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 2, 1];

/// S1 to S8, four rows of sixteen each.
#[rustfmt::skip]
const SELECTION: [[u8; 64]; 8] = [
    [
        14, 4, 13, 1, 2, 15, 11, 8, 3, 10, 6, 12, 5, 9, 0, 7,
        0, 15, 7, 4, 14, 2, 13, 1, 10, 6, 12, 11, 9, 5, 3, 8,
        4, 1, 14, 8, 13, 6, 2, 11, 15, 12, 9, 7, 3, 10, 5, 0,
        15, 12, 8, 2, 4, 9, 1, 7, 5, 11, 3, 14, 10, 0, 6, 13,
    ],
    [
        15, 1, 8, 14, 6, 11, 3, 4, 9, 7, 2, 13, 12, 0, 5, 10,
        3, 13, 4, 7, 15, 2, 8, 14, 12, 0, 1, 10, 6, 9, 11, 5,
        0, 14, 7, 11, 10, 4, 13, 1, 5, 8, 12, 6, 9, 3, 2, 15,
        13, 8, 10, 1, 3, 15, 4, 2, 11, 6, 7, 12, 0, 5, 14, 9,
    ],
    [
        10, 0, 9, 14, 6, 3, 15, 5, 1, 13, 12, 7, 11, 4, 2, 8,
        13, 7, 0, 9, 3, 4, 6, 10, 2, 8, 5, 14, 12, 11, 15, 1,
        13, 6, 4, 9, 8, 15, 3, 0, 11, 1, 2, 12, 5, 10, 14, 7,
        1, 10, 13, 0, 6, 9, 8, 7, 4, 15, 14, 3, 11, 5, 2, 12,
    ],
    [
        7, 13, 14, 3, 0, 6, 9, 10, 1, 2, 8, 5, 11, 12, 4, 15,
        13, 8, 11, 5, 6, 15, 0, 3, 4, 7, 2, 12, 1, 10, 14, 9,
        10, 6, 9, 0, 12, 11, 7, 13, 15, 1, 3, 14, 5, 2, 8, 4,
        3, 15, 0, 6, 10, 1, 13, 8, 9, 4, 5, 11, 12, 7, 2, 14,
    ],
    [
        2, 12, 4, 1, 7, 10, 11, 6, 8, 5, 3, 15, 13, 0, 14, 9,
        14, 11, 2, 12, 4, 7, 13, 1, 5, 0, 15, 10, 3, 9, 8, 6,
        4, 2, 1, 11, 10, 13, 7, 8, 15, 9, 12, 5, 6, 3, 0, 14,
        11, 8, 12, 7, 1, 14, 2, 13, 6, 15, 0, 9, 10, 4, 5, 3,
    ],
    [
        12, 1, 10, 15, 9, 2, 6, 8, 0, 13, 3, 4, 14, 7, 5, 11,
        10, 15, 4, 2, 7, 12, 9, 5, 6, 1, 13, 14, 0, 11, 3, 8,
        9, 14, 15, 5, 2, 8, 12, 3, 7, 0, 4, 10, 1, 13, 11, 6,
        4, 3, 2, 12, 9, 5, 15, 10, 11, 14, 1, 7, 6, 0, 8, 13,
    ],
    [
        4, 11, 2, 14, 15, 0, 8, 13, 3, 12, 9, 7, 5, 10, 6, 1,
        13, 0, 11, 7, 4, 9, 1, 10, 14, 3, 5, 12, 2, 15, 8, 6,
        1, 4, 11, 13, 12, 3, 7, 14, 10, 15, 6, 8, 0, 5, 9, 2,
        6, 11, 13, 8, 1, 4, 10, 7, 9, 5, 0, 15, 14, 2, 3, 12,
    ],
    [
        13, 2, 8, 4, 6, 15, 11, 1, 10, 9, 3, 14, 5, 0, 12, 7,
        1, 15, 13, 8, 10, 3, 7, 4, 12, 5, 6, 11, 0, 14, 9, 2,
        7, 11, 4, 1, 9, 12, 14, 2, 0, 6, 10, 13, 15, 3, 5, 8,
        2, 1, 14, 7, 4, 10, 8, 13, 15, 12, 9, 0, 3, 5, 6, 11,
    ],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_crypt() {
        for (password, hash) in [
            ("password", "sa3tHJ3/KuYvI"),
            ("", "abmF1QH4PEr.E"),
            ("longer than eight", "zZb64kacvY9KA"),
            ("a", "99WIKHSsNBmGg"),
        ] {
            assert_eq!(crypt(password.as_bytes(), hash.as_bytes()).unwrap(), hash.as_bytes());
        }
        assert_eq!(crypt(b"x", b"s"), None);
        assert_eq!(crypt(b"x", b"$ "), None);
    }
}
