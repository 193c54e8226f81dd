//! Groups for key exchange by name, as OpenSSL and others call them.

/// The number of a group that can be offered.
pub fn number(name: &str) -> Option<u16> {
    Some(match name {
        "X25519" | "x25519" => 0x001d,
        "prime256v1" | "P-256" | "secp256r1" => 0x0017,
        "secp384r1" | "P-384" => 0x0018,
        "X25519MLKEM768" => 0x11ec,
        "SecP256r1MLKEM768" => 0x11eb,
        "MLKEM768" => 0x0201,
        "MLKEM1024" => 0x0202,
        _ => return None,
    })
}

/// A group that exists, and is never offered.
pub fn is_known(name: &str) -> bool {
    matches!(
        name,
        "secp521r1" | "P-521" | "X448" | "x448" | "secp256k1" | "MLKEM512" | "SecP384r1MLKEM1024"
    ) || name.starts_with("ffdhe")
        || name.starts_with("brainpool")
}
