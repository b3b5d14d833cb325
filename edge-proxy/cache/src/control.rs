//! Cache directives of a response: `Cache-Control` (RFC 9111 section 5.2.2) and the targeted fields (RFC 9213).
//!
//! Owns what a directive says; what follows from it is [`crate::cacheable`]'s and [`crate::freshness`]'s. Unknown directives are ignored.

use http::HeaderMap;

/// The targeted fields this cache obeys, the most specific first.
pub const TARGETED: [&str; 2] = ["skerry-cache-control", "cdn-cache-control"];

/// The largest number of seconds told apart (RFC 9111 section 1.2.2).
pub const SECONDS_MAX: u64 = 1 << 31;

/// The directives of one response. A lifetime that cannot be read is 0: the response is stale (RFC 9111 section 4.2.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// The directives come from a targeted field, so that `Cache-Control` and `Expires` do not count.
    pub targeted: bool,
    /// `no-store`.
    pub no_store: bool,
    /// `no-cache`, also with field names: a shared cache may treat that form as the plain one.
    pub no_cache: bool,
    /// `private`, also with field names, for the same reason.
    pub private: bool,
    /// `public`.
    pub public: bool,
    /// `must-revalidate`.
    pub must_revalidate: bool,
    /// `proxy-revalidate`.
    pub proxy_revalidate: bool,
    /// `must-understand`.
    pub must_understand: bool,
    /// `max-age` in seconds.
    pub max_age: Option<u64>,
    /// `s-maxage` in seconds.
    pub s_maxage: Option<u64>,
    /// `stale-while-revalidate` in seconds (RFC 5861).
    pub stale_while_revalidate: Option<u64>,
    /// `stale-if-error` in seconds (RFC 5861).
    pub stale_if_error: Option<u64>,
}

impl Control {
    /// The directives that count for this cache: of the first targeted field that is valid, else of `Cache-Control`.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        TARGETED.iter().find_map(|name| Self::targeted(headers, name)).unwrap_or_else(|| Self::plain(headers))
    }

    /// RFC 9111 section 5.2: tolerant, because what is sent in this field is often wrong.
    fn plain(headers: &HeaderMap) -> Self {
        let mut control = Self::default();
        for line in headers.get_all(http::header::CACHE_CONTROL) {
            for member in members(line.as_bytes()) {
                let (name, value) = match member.iter().position(|&byte| byte == b'=') {
                    Some(at) => (&member[..at], Some(unquoted(member[at + 1..].trim_ascii()))),
                    None => (member, None),
                };
                control.set(&name.trim_ascii().to_ascii_lowercase(), Value::Plain(value));
            }
        }
        control
    }

    /// RFC 9213 section 2.2: a structured dictionary. `None` when the field is absent, empty or malformed.
    fn targeted(headers: &HeaderMap, name: &str) -> Option<Self> {
        let mut control = Self { targeted: true, ..Self::default() };
        let mut any = false;
        for line in headers.get_all(name) {
            let line = line.as_bytes().trim_ascii();
            if line.is_empty() {
                continue;
            }
            for member in members(line) {
                let (name, value) = dictionary_member(member)?;
                control.set(name, value);
                any = true;
            }
        }
        any.then_some(control)
    }

    fn set(&mut self, name: &[u8], value: Value<'_>) {
        match name {
            b"no-store" => self.no_store |= value.on(),
            b"no-cache" => self.no_cache |= value.on(),
            b"private" => self.private |= value.on(),
            b"public" => self.public |= value.on(),
            b"must-revalidate" => self.must_revalidate |= value.on(),
            b"proxy-revalidate" => self.proxy_revalidate |= value.on(),
            b"must-understand" => self.must_understand |= value.on(),
            b"max-age" => value.lifetime(&mut self.max_age),
            b"s-maxage" => value.lifetime(&mut self.s_maxage),
            b"stale-while-revalidate" => value.lifetime(&mut self.stale_while_revalidate),
            b"stale-if-error" => value.lifetime(&mut self.stale_if_error),
            _ => {}
        }
    }
}

/// The value of a directive.
#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    /// Of `Cache-Control`, quotes removed; a repeated lifetime that differs makes the response stale.
    Plain(Option<&'a [u8]>),
    /// A structured integer; the last one counts.
    Integer(u64),
    /// A structured boolean.
    Boolean(bool),
    /// Another structured type, which no lifetime is.
    Other,
}

impl Value<'_> {
    fn on(self) -> bool {
        !matches!(self, Self::Boolean(false))
    }

    fn lifetime(self, slot: &mut Option<u64>) {
        match self {
            Self::Plain(value) => {
                let seconds = value.and_then(delta_seconds).unwrap_or(0);
                *slot = Some(match *slot {
                    Some(earlier) if earlier != seconds => 0,
                    _ => seconds,
                });
            }
            Self::Integer(seconds) => *slot = Some(seconds),
            Self::Boolean(_) | Self::Other => {}
        }
    }
}

/// RFC 9111 section 1.2.2: digits; what is too large is the largest number told apart.
#[must_use]
pub fn delta_seconds(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0_u64, |sum, digit| (sum * 10 + u64::from(digit - b'0')).min(SECONDS_MAX)))
}

/// Digits as a number, the largest one when they are more.
pub(crate) fn delta_digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0_u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'))))
}

/// The comma-separated members of a field, trimmed, empty ones left out; commas inside quotes do not separate.
pub(crate) fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let mut escaped = false;
    line.split(move |&byte| {
        let separates = byte == b',' && !quoted;
        if escaped {
            escaped = false;
        } else {
            match byte {
                b'"' => quoted = !quoted,
                b'\\' if quoted => escaped = true,
                _ => {}
            }
        }
        separates
    })
    .map(<[u8]>::trim_ascii)
    .filter(|member| !member.is_empty())
}

fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value).trim_ascii()
}

/// One member of a structured dictionary without its parameters; `None` when malformed.
fn dictionary_member(member: &[u8]) -> Option<(&[u8], Value<'_>)> {
    let end = member.iter().position(|byte| matches!(byte, b'=' | b';')).unwrap_or(member.len());
    let (name, rest) = member.split_at(end);
    let starts = name.first().is_some_and(|byte| byte.is_ascii_lowercase() || *byte == b'*');
    let key_byte = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(byte);
    if !starts || !name.iter().all(key_byte) {
        return None;
    }
    let Some(value) = rest.strip_prefix(b"=") else { return Some((name, Value::Boolean(true))) };
    let bare = &value[..value.iter().position(|&byte| byte == b';').unwrap_or(value.len())];
    let value = match bare {
        b"?1" => Value::Boolean(true),
        b"?0" => Value::Boolean(false),
        [b'"', .., b'"'] if bare.len() >= 2 => Value::Other,
        [b'0'..=b'9', ..] if bare.iter().all(u8::is_ascii_digit) && bare.len() <= 15 => Value::Integer(delta_seconds(bare)?),
        [b'-', digits @ ..] if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => Value::Other,
        [b'A'..=b'Z' | b'a'..=b'z' | b'*', ..] => Value::Other,
        _ => return None,
    };
    Some((name, value))
}

#[cfg(test)]
mod tests;
