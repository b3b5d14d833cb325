//! The join token: a secret and the SHA-256 of the CA certificate, so that a node trusts the right control plane from the first byte.
//!
//! Never says whether a token is valid; the control plane does.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const PREFIX: &str = "skj1";

/// Bytes of the secret part.
pub const SECRET_BYTES: usize = 32;

/// Bytes of a SHA-256.
pub const DIGEST_BYTES: usize = 32;

/// A join token.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// What the control plane knows the token by.
    pub secret: [u8; SECRET_BYTES],
    /// The SHA-256 of the CA certificate's DER.
    pub ca_digest: [u8; DIGEST_BYTES],
}

impl std::fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JoinToken(..)")
    }
}

impl JoinToken {
    /// The text an operator copies.
    #[must_use]
    pub fn encode(&self) -> String {
        format!("{PREFIX}.{}.{}", URL_SAFE_NO_PAD.encode(self.secret), URL_SAFE_NO_PAD.encode(self.ca_digest))
    }

    /// Reads the text an operator copied; space around it is ignored. Does not repeat the text in the error: it is a secret.
    ///
    /// # Errors
    /// One sentence when it is not a join token.
    pub fn decode(text: &str) -> Result<Self, String> {
        let wrong =
            || "the join token is not one of the form \"skj1.SECRET.DIGEST\"; make one with \"skerry node token create\"".to_owned();
        let mut parts = text.trim().split('.');
        let (Some(PREFIX), Some(secret), Some(digest), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(wrong());
        };
        let bytes = |part: &str| URL_SAFE_NO_PAD.decode(part).ok()?.try_into().ok();
        Ok(Self { secret: bytes(secret).ok_or_else(wrong)?, ca_digest: bytes(digest).ok_or_else(wrong)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_being_copied() {
        let token = JoinToken { secret: [7; 32], ca_digest: [9; 32] };
        let text = token.encode();
        assert_eq!(JoinToken::decode(&format!(" {text}\n")), Ok(token));
        for wrong in ["", "skj1", "skj2.a.b", &text[..text.len() - 2], &format!("{text}.x"), "skj1..", "skj1.AAAA.AAAA"] {
            assert!(JoinToken::decode(wrong).is_err(), "{wrong:?} was taken");
        }
    }
}
