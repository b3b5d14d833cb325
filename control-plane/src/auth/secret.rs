//! The random secrets of tokens, and the hashes that are kept of them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use skerry_agent::token::{DIGEST_BYTES, SECRET_BYTES};

const API_PREFIX: &str = "ska1.";

/// Bytes of what is sent as a token that are looked at; every token is shorter.
const TEXT_BYTES_MAX: usize = 128;

/// A SHA-256.
pub(crate) type Hash = [u8; DIGEST_BYTES];

/// The SHA-256 of something.
pub(crate) fn hash(bytes: &[u8]) -> Hash {
    let mut hash = [0; DIGEST_BYTES];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A hash out of its hexadecimal digits.
pub(crate) fn unhex(text: &str) -> Option<Hash> {
    let mut hash = [0; DIGEST_BYTES];
    if text.len() != 2 * DIGEST_BYTES || !text.is_ascii() {
        return None;
    }
    for (index, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(hash)
}

/// 256 random bits.
pub(crate) fn random() -> Result<[u8; SECRET_BYTES], String> {
    let mut secret = [0; SECRET_BYTES];
    SystemRandom::new().fill(&mut secret).map_err(|_| "the system has no random numbers".to_owned())?;
    Ok(secret)
}

/// The secret of a new API token, and its text.
pub(super) fn for_api() -> Result<([u8; SECRET_BYTES], String), String> {
    let secret = random()?;
    Ok((secret, format!("{API_PREFIX}{}", URL_SAFE_NO_PAD.encode(secret))))
}

/// What an API token is looked up by. What cannot be one is hashed all the same, so that it takes no less work.
pub(super) fn of_api(text: &str) -> Option<Hash> {
    let secret = text.strip_prefix(API_PREFIX).filter(|text| text.len() <= TEXT_BYTES_MAX);
    match secret.and_then(|secret| URL_SAFE_NO_PAD.decode(secret).ok()) {
        Some(secret) => Some(hash(&secret)),
        None => {
            let seen = &text.as_bytes()[..text.len().min(SECRET_BYTES)];
            std::hint::black_box(hash(seen));
            None
        }
    }
}

/// Compares without telling by its time where a difference is.
pub(super) fn same(one: &Hash, other: &Hash) -> bool {
    one.iter().zip(other).fold(0, |differences, (one, other)| differences | (one ^ other)) == 0
}
