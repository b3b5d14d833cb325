//! Text that is stored and sent to nodes, and shown to nobody.

use std::fmt;

use ring::digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What stands in place of a secret begins so; the fingerprint of the secret follows.
const MARK: &str = "redacted:";
/// Bytes of the fingerprint: enough to tell the secrets of a site from one another.
const FINGERPRINT_BYTES: usize = 8;

/// A secret. It is serialized as it is, for the store and for nodes, so who shows it to people shows [`Secret::mark`] in its place.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Secret(String);

impl Secret {
    /// A secret, or the mark of one.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is shown in its place: two secrets have the same mark only when they are the same. The mark of a mark is itself.
    #[must_use]
    pub fn mark(&self) -> Self {
        if self.is_mark() {
            return self.clone();
        }
        let hash = digest::digest(&digest::SHA256, self.0.as_bytes());
        let fingerprint = hash.as_ref().iter().take(FINGERPRINT_BYTES).map(|byte| format!("{byte:02x}"));
        Self(format!("{MARK}{}", fingerprint.collect::<String>()))
    }

    /// Whether it only stands for a secret.
    #[must_use]
    pub fn is_mark(&self) -> bool {
        self.0.starts_with(MARK)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.mark().reveal())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_told_from_another_without_being_shown() {
        let (one, other) = (Secret::new("one".to_owned()), Secret::new("other".to_owned()));
        assert_ne!(one.mark(), other.mark());
        assert_eq!(one.mark(), Secret::new("one".to_owned()).mark());
        assert_eq!(one.mark().mark(), one.mark());
        assert!(!format!("{one:?}{:?}", one.mark()).contains("one"));
    }
}
