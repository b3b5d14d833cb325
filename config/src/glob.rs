//! Path patterns: `*` for any number of characters, `/` included. Knows texts, not requests.

/// A pattern cut at its stars.
#[derive(Debug)]
pub(crate) struct Glob {
    /// What a text begins with.
    first: String,
    /// What follows in this order, anywhere; empty parts are left out.
    middle: Vec<String>,
    /// What a text ends with; `None` when there is no star, and `first` is the whole text.
    last: Option<String>,
}

impl Glob {
    /// Compiles a pattern.
    pub(crate) fn new(pattern: &str) -> Self {
        let mut parts = pattern.split('*').map(str::to_owned);
        let first = parts.next().unwrap_or_default();
        let last = parts.next_back();
        Self { first, middle: parts.filter(|part| !part.is_empty()).collect(), last }
    }

    /// Whether a text matches. Linear in text and pattern, whatever the number of stars: the earliest place of each part leaves the
    /// most room for the parts after it, so no choice is taken back, and `str::find` is linear.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let Some(last) = &self.last else {
            return text == self.first;
        };
        // The end is taken off first, so that it cannot overlap what the parts before it have used.
        let Some(rest) = text.strip_prefix(self.first.as_str()) else { return false };
        let Some(mut rest) = rest.strip_suffix(last.as_str()) else { return false };
        for part in &self.middle {
            match rest.find(part.as_str()) {
                Some(place) => rest = &rest[place + part.len()..],
                None => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    /// The definition, by trying every length of every star.
    fn naive(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => (0..=text.len()).any(|skip| naive(rest, &text[skip..])),
            ([p, rest @ ..], [t, more @ ..]) if p == t => naive(rest, more),
            _ => false,
        }
    }

    #[test]
    fn matches_as_documented() {
        for (pattern, text, expected) in [
            ("/api/*", "/api/", true),
            ("/api/*", "/api/v1/items", true),
            ("/api/*", "/api", false),
            ("/api/*", "/API/x", false),
            ("*.jpg", "/a/b.jpg", true),
            ("*.jpg", "/a/b.jpg.exe", false),
            ("/a/*/c/*.js", "/a/b/b/c/d/e.js", true),
            ("/ab*ba", "/aba", false),
            ("/exact", "/exact", true),
            ("/exact", "/exact/", false),
            ("*", "", true),
            ("**", "/x", true),
        ] {
            assert_eq!(Glob::new(pattern).matches(text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_are_not_exponential() {
        let glob = Glob::new(&"*a".repeat(500));
        let text = format!("{}b", "a".repeat(100_000));
        let began = Instant::now();
        assert!(!glob.matches(&text));
        let hard = Glob::new(&format!("*{}b*{}c", "a".repeat(400), "a".repeat(400)));
        assert!(!hard.matches(&text));
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[/ab*]{0,8}", text in "[/ab]{0,10}") {
            prop_assert_eq!(Glob::new(&pattern).matches(&text), naive(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
