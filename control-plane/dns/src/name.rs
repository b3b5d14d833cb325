//! Domain names as they are on the wire (RFC 1035 section 3.1): labels with their lengths, lower case, up to the root.
//!
//! Owns how a name is made from text and taken apart into the names around it. Knows no zone.

use std::borrow::Borrow;

/// The octets of the longest name, lengths and root included (RFC 1035 section 2.3.4).
pub const NAME_OCTETS_MAX: usize = 255;
/// The octets of the longest label (RFC 1035 section 2.3.4).
pub const LABEL_OCTETS_MAX: usize = 63;

/// An absolute domain name on the wire, lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Box<[u8]>);

impl Name {
    /// From text, with or without a final dot. None when it is no name: a label that is empty or longer than 63 octets, more than 255 octets, or
    /// something else than printable ASCII without `\`, which no name of a CDN needs.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let mut octets = Vec::with_capacity(text.len() + 2);
        for label in text.split('.') {
            put_label(&mut octets, label)?;
        }
        octets.push(0);
        (octets.len() <= NAME_OCTETS_MAX).then(|| Self(octets.into()))
    }

    /// The name of `label` below this one; a dot in the label makes no second one. None when that is no name.
    #[must_use]
    pub fn below(&self, label: &str) -> Option<Self> {
        let mut octets = Vec::with_capacity(1 + label.len() + self.0.len());
        put_label(&mut octets, label)?;
        octets.extend_from_slice(&self.0);
        (octets.len() <= NAME_OCTETS_MAX).then(|| Self(octets.into()))
    }

    /// The octets, the root's included.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    /// The name without its first label; none of the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        parent(&self.0).map(|octets| Self(octets.into()))
    }

    /// Whether this is `name` or a name above it.
    #[must_use]
    pub fn is_around(&self, name: &[u8]) -> bool {
        suffixes(name).any(|suffix| suffix == self.octets())
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for suffix in suffixes(&self.0) {
            formatter.write_str(&String::from_utf8_lossy(label(suffix)))?;
            formatter.write_str(".")?;
        }
        Ok(())
    }
}

fn put_label(octets: &mut Vec<u8>, label: &str) -> Option<()> {
    if label.is_empty() || label.len() > LABEL_OCTETS_MAX || !label.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'\\') {
        return None;
    }
    octets.push(u8::try_from(label.len()).ok()?);
    octets.extend(label.bytes().map(|octet| octet.to_ascii_lowercase()));
    Some(())
}

/// The octets of a name after its first label; none after the root, and of what is no name.
#[must_use]
pub fn parent(name: &[u8]) -> Option<&[u8]> {
    match name.first() {
        None | Some(0) => None,
        Some(&length) => name.get(1 + usize::from(length)..),
    }
}

/// The first label of a name; empty at the root.
#[must_use]
pub fn label(name: &[u8]) -> &[u8] {
    let length = name.first().copied().unwrap_or(0);
    name.get(1..=usize::from(length)).unwrap_or_default()
}

/// A name and all those above it but the root.
pub fn suffixes(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(name), |name| parent(name)).take_while(|name| name.first().is_some_and(|length| *length != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_labels_and_text_that_is_no_name_nothing() {
        let name = Name::from_text("wWw.Cdn.test.").expect("a name");
        assert_eq!(name.octets(), b"\x03www\x03cdn\x04test\0");
        assert_eq!((name.to_string().as_str(), name.parent()), ("www.cdn.test.", Name::from_text("cdn.test")));
        let long = "x".repeat(63);
        let longest = [&long, &long, &long, &"y".repeat(61)].map(String::as_str).join(".");
        assert_eq!(Name::from_text(&longest).expect("as long as may be").octets().len(), NAME_OCTETS_MAX);
        for text in ["", ".", "..", "a..b", ".a", "a b", "ä", r"a\.b", &format!("x{long}"), &format!("y{longest}"), &format!("a.{longest}")]
        {
            assert_eq!(Name::from_text(text), None, "{text}");
        }
        assert_eq!(Name::from_text("cdn.test").and_then(|name| name.below("a.b")).expect("a label").octets(), b"\x03a.b\x03cdn\x04test\0");
        assert_eq!(Name::from_text(&longest).and_then(|name| name.below("a")), None);
    }

    #[test]
    fn a_name_is_around_itself_and_what_is_below_it() {
        let zone = Name::from_text("cdn.test").expect("a name");
        for (text, inside) in [("cdn.test", true), ("a.b.cdn.test", true), ("xcdn.test", false), ("test", false), ("cdn.test.x", false)] {
            assert_eq!(zone.is_around(Name::from_text(text).expect("a name").octets()), inside, "{text}");
        }
        // The octets of the zone within a label are no zone.
        assert!(!zone.is_around(b"\x0a\x03cdn\x04test\0"));
        assert!(!zone.is_around(b"\0") && !zone.is_around(b"") && !zone.is_around(b"\x09x"));
    }
}
