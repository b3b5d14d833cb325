//! Comma-separated lists and structured fields, as the rules read them.
//!
//! Owns where one member ends and the next begins. What a member means is its reader's.

use http::{HeaderMap, HeaderValue};
use sfv::FieldType;

/// The comma-separated members of a field, trimmed, empty ones left out; commas inside quotes do not separate.
pub(crate) fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    split(line, b',', Quotes::Escaped).map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// The members of a list of entity tags: a backslash in them is a character like any other (RFC 9110 section 8.8.3).
pub(crate) fn entity_tags(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    split(line, b',', Quotes::Plain).map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// How quotes work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quotes {
    /// A backslash inside hides what follows it.
    Escaped,
    /// Nothing hides the closing one.
    Plain,
}

/// Splits outside of quotes. A quote that nothing closes is no quote, so that it hides no directive behind it. Linear in the line.
pub(crate) fn split(line: &[u8], separator: u8, quotes: Quotes) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    let mut unclosed = false;
    std::iter::from_fn(move || {
        let text = rest?;
        let mut at = 0;
        while let Some(&byte) = text.get(at) {
            if byte == separator {
                rest = Some(&text[at + 1..]);
                return Some(&text[..at]);
            }
            if byte == b'"' && !unclosed {
                match closing(&text[at + 1..], quotes) {
                    Some(length) => at += 1 + length,
                    None => unclosed = true,
                }
            }
            at += 1;
        }
        rest = None;
        Some(text)
    })
}

/// Where the quote closes that was opened just before.
fn closing(text: &[u8], quotes: Quotes) -> Option<usize> {
    let mut at = 0;
    loop {
        match *text.get(at)? {
            b'"' => return Some(at),
            b'\\' if quotes == Quotes::Escaped => at += 2,
            _ => at += 1,
        }
    }
}

/// All lines of a structured field as one value (RFC 9651 section 4.2); `None` when it is absent, empty or malformed.
pub(crate) fn structured<T: FieldType + IsEmpty>(headers: &HeaderMap, name: &str) -> Option<T> {
    let lines: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).filter(|line| !line.trim_ascii().is_empty()).collect();
    if lines.is_empty() {
        return None;
    }
    let joined = lines.join(&b", "[..]);
    // Tabs around a whole value are trimmed by HTTP, the rest is the parser's.
    sfv::Parser::new(joined.trim_ascii()).parse::<T>().ok().filter(|value| !value.is_empty())
}

/// Structured types that can have no member.
pub(crate) trait IsEmpty {
    /// Whether there is none.
    fn is_empty(&self) -> bool;
}

impl IsEmpty for sfv::Dictionary {
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl IsEmpty for sfv::List {
    fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }
}

#[cfg(test)]
mod tests;
