//! Text that is stored and sent to nodes, and shown to nobody.

use std::fmt;

use ring::digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What stands in place of a secret begins so; the fingerprint of the secret follows.
const MARK: &str = "redacted:";
/// What names a secret that is kept elsewhere begins so; its name follows, and after a `#` the fingerprint of one of its values.
const NAMED: &str = "secret:";
/// Bytes of the fingerprint: enough to tell the secrets of a CDN from one another.
const FINGERPRINT_BYTES: usize = 8;

/// A secret, or what stands for one. It is serialized as it is, for nodes, so who shows it to people shows [`Secret::mark`] in its place.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Secret(String);

/// What stands for a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference<'a> {
    /// The mark of one, with its fingerprint.
    Mark(&'a str),
    /// The name of one, and which of its values where that is said.
    Named {
        /// The name.
        name: &'a str,
        /// The fingerprint of the value.
        fingerprint: Option<&'a str>,
    },
}

impl<'a> Reference<'a> {
    /// The fingerprint of the value, where it is said.
    #[must_use]
    pub fn fingerprint(self) -> Option<&'a str> {
        match self {
            Self::Mark(fingerprint) => Some(fingerprint),
            Self::Named { fingerprint, .. } => fingerprint,
        }
    }
}

impl Secret {
    /// A secret, or what stands for one.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// What stands for a named secret, and for this value of it.
    #[must_use]
    pub fn named(name: &str, fingerprint: Option<&str>) -> Self {
        Self(fingerprint.map_or_else(|| format!("{NAMED}{name}"), |fingerprint| format!("{NAMED}{name}#{fingerprint}")))
    }

    /// The text itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What it stands for, when it is no secret itself.
    #[must_use]
    pub fn reference(&self) -> Option<Reference<'_>> {
        if let Some(fingerprint) = self.0.strip_prefix(MARK) {
            return Some(Reference::Mark(fingerprint));
        }
        let named = self.0.strip_prefix(NAMED)?;
        let (name, fingerprint) = named.split_once('#').map_or((named, None), |(name, fingerprint)| (name, Some(fingerprint)));
        Some(Reference::Named { name, fingerprint })
    }

    /// Tells a secret from others without showing it: the first eight bytes of its SHA-256, in hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let hash = digest::digest(&digest::SHA256, self.0.as_bytes());
        hash.as_ref().iter().take(FINGERPRINT_BYTES).map(|byte| format!("{byte:02x}")).collect()
    }

    /// What is shown in its place: two secrets have the same mark only when they are the same. What stands for a secret is its own mark.
    #[must_use]
    pub fn mark(&self) -> Self {
        if self.reference().is_some() { self.clone() } else { Self(format!("{MARK}{}", self.fingerprint())) }
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

    #[test]
    fn what_stands_for_a_secret_is_none() {
        let reference = |text: &str| Secret::new(text.to_owned()).reference().map(|reference| format!("{reference:?}"));
        assert_eq!(reference("-----BEGIN PRIVATE KEY-----"), None);
        assert_eq!(reference("redacted:00ff").unwrap(), "Mark(\"00ff\")");
        assert_eq!(reference("secret:shop-key").unwrap(), "Named { name: \"shop-key\", fingerprint: None }");
        let pinned = Secret::named("shop-key", Some("00ff"));
        assert_eq!(pinned.reference(), Some(Reference::Named { name: "shop-key", fingerprint: Some("00ff") }));
        assert_eq!(pinned.mark(), pinned);
    }
}
