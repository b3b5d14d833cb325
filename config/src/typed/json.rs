//! JSON (RFC 8259) into the located tree. Strict: no comments, no trailing commas, no key twice.

use super::tree::{Entry, Kind, Node, admit_key, syntax, too_deep};
use crate::check::fault::Finding;
use crate::limits::DEPTH_MAX;

struct Json<'a> {
    text: &'a str,
    at: usize,
}

/// The tree of a JSON text.
///
/// # Errors
/// The first fault of syntax.
pub(crate) fn tree(text: &str) -> Result<Node, Finding> {
    let mut json = Json { text, at: 0 };
    let node = json.value(0)?;
    json.space();
    match json.peek() {
        None => Ok(node),
        Some(_) => Err(json.expected("the end of the text")),
    }
}

impl Json<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// The fault of finding something else than `what` here.
    fn expected(&self, what: &str) -> Finding {
        let found = match self.text[self.at..].chars().next() {
            Some(found) => format!("{found:?}"),
            None => "the end of the text".to_owned(),
        };
        syntax(self.at, format!("this is not JSON: expected {what}, found {found}"))
    }

    /// Passes `byte`, after white space.
    fn pass(&mut self, byte: u8) -> bool {
        self.space();
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn value(&mut self, depth: usize) -> Result<Node, Finding> {
        self.space();
        let at = self.at;
        let kind = match self.peek() {
            Some(b'{' | b'[') if depth >= DEPTH_MAX => return Err(too_deep(at)),
            Some(b'{') => self.table(depth + 1)?,
            Some(b'[') => self.list(depth + 1)?,
            Some(b'"') => Kind::Text(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => self.word()?,
        };
        Ok(Node { at, kind })
    }

    fn word(&mut self) -> Result<Kind, Finding> {
        for (word, kind) in [("null", Kind::Null), ("true", Kind::Bool(true)), ("false", Kind::Bool(false))] {
            if self.text[self.at..].starts_with(word) {
                self.at += word.len();
                return Ok(kind);
            }
        }
        Err(self.expected("a value"))
    }

    fn table(&mut self, depth: usize) -> Result<Kind, Finding> {
        self.at += 1;
        let mut entries: Vec<Entry> = Vec::new();
        if self.pass(b'}') {
            return Ok(Kind::Table(entries));
        }
        loop {
            self.space();
            let at = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.expected("a key in quotes"));
            }
            let key = self.string()?;
            admit_key(&entries, at, &key)?;
            if !self.pass(b':') {
                return Err(self.expected("':'"));
            }
            entries.push(Entry { key, at, value: self.value(depth)? });
            if self.pass(b'}') {
                return Ok(Kind::Table(entries));
            }
            if !self.pass(b',') {
                return Err(self.expected("',' or '}'"));
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Kind, Finding> {
        self.at += 1;
        let mut items = Vec::new();
        if self.pass(b']') {
            return Ok(Kind::List(items));
        }
        loop {
            items.push(self.value(depth)?);
            if self.pass(b']') {
                return Ok(Kind::List(items));
            }
            if !self.pass(b',') {
                return Err(self.expected("',' or ']'"));
            }
        }
    }

    fn digits(&mut self) -> Result<(), Finding> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.expected("a digit"));
        }
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Kind, Finding> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(Kind::Number(self.text[start..self.at].to_owned()))
    }

    fn string(&mut self) -> Result<String, Finding> {
        let start = self.at;
        self.at += 1;
        let mut read = String::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.find(|c: char| c == '"' || c == '\\' || c < ' ').unwrap_or(rest.len());
            read.push_str(&rest[..plain]);
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(read);
                }
                Some(b'\\') => read.push(self.escape()?),
                Some(_) => return Err(self.expected("no control character in a string")),
                None => return Err(syntax(start, "this is not JSON: the string that begins here has no end")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Finding> {
        let start = self.at;
        self.at += 1;
        let simple = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode(start);
            }
            _ => return Err(self.expected("an escape such as \\n or \\u0041")),
        };
        self.at += 1;
        Ok(simple)
    }

    /// The character of a `\u` escape, or of two of them that are a surrogate pair.
    fn unicode(&mut self, start: usize) -> Result<char, Finding> {
        let lone = || syntax(start, "this is not JSON: half of a surrogate pair stands for no character");
        let first = self.four_digits()?;
        if !(0xd800..0xe000).contains(&first) {
            return char::from_u32(first).ok_or_else(lone);
        }
        if first >= 0xdc00 || !self.text[self.at..].starts_with("\\u") {
            return Err(lone());
        }
        self.at += 2;
        let second = self.four_digits()?;
        if !(0xdc00..0xe000).contains(&second) {
            return Err(lone());
        }
        char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or_else(lone)
    }

    fn four_digits(&mut self) -> Result<u32, Finding> {
        let mut value = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            value = value * 16 + digit.ok_or_else(|| self.expected("a hexadecimal digit"))?;
            self.at += 1;
        }
        Ok(value)
    }
}
