//! Cache directives: of a response, in `Cache-Control` (RFC 9111 section 5.2.2) and the targeted fields (RFC 9213), and of a request
//! (section 5.2.1).
//!
//! Owns what a directive says; what follows from it is [`crate::cacheable`]'s and [`crate::freshness`]'s. Unknown directives are ignored
//! (section 5.2.3).

use http::{HeaderMap, HeaderName, header};
use sfv::{BareItem, Dictionary, ListEntry};

use crate::lists::{members, structured};

/// The targeted fields this cache obeys, the most specific first.
pub const TARGETED: [&str; 2] = ["skerry-cache-control", "cdn-cache-control"];

/// The largest number of seconds told apart (RFC 9111 section 1.2.2).
pub const SECONDS_MAX: u64 = 1 << 31;

/// Fields without which the rest of a response cannot be kept or served: a directive that names one of them counts as the plain one.
const NEEDED: [HeaderName; 11] = [
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::DATE,
    header::EXPIRES,
    header::LAST_MODIFIED,
    header::LOCATION,
    header::TRANSFER_ENCODING,
    header::VARY,
];

/// The directives of one response. A lifetime that cannot be read is 0: the response is stale (RFC 9111 section 4.2.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// The directives come from a targeted field, so that `Cache-Control` and `Expires` do not count.
    pub targeted: bool,
    /// `no-store`.
    pub no_store: bool,
    /// `no-cache` without field names, or with a list of them that cannot be obeyed.
    pub no_cache: bool,
    /// The fields that `no-cache` names: not to be sent from the store without validation.
    pub no_cache_fields: Vec<HeaderName>,
    /// `private` without field names, or with a list of them that cannot be obeyed.
    pub private: bool,
    /// The fields that `private` names: not to be stored.
    pub private_fields: Vec<HeaderName>,
    /// `public`.
    pub public: bool,
    /// `must-revalidate`.
    pub must_revalidate: bool,
    /// `proxy-revalidate`.
    pub proxy_revalidate: bool,
    /// `must-understand`.
    pub must_understand: bool,
    /// `no-transform`.
    pub no_transform: bool,
    /// `immutable` (RFC 8246).
    pub immutable: bool,
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
        for line in headers.get_all(header::CACHE_CONTROL) {
            for Directive { name, value } in members(line.as_bytes()).map(Directive::of) {
                control.set(&name, value);
            }
        }
        control
    }

    /// RFC 9213 section 2.2: a structured dictionary. `None` when the field is absent, empty, malformed, or gives a directive that this
    /// cache knows a value of the wrong type: what it meant is not known then, and the next field is asked.
    fn targeted(headers: &HeaderMap, name: &str) -> Option<Self> {
        let dictionary: Dictionary = structured(headers, name)?;
        let mut control = Self { targeted: true, ..Self::default() };
        for (key, entry) in &dictionary {
            if is_known(key.as_str()) {
                control.set_typed(key.as_str(), entry)?;
            }
        }
        Some(control)
    }

    fn set(&mut self, name: &[u8], value: Value<'_>) {
        let Ok(name) = std::str::from_utf8(name) else { return };
        if let Some(flag) = self.flag(name) {
            // What grants must be spelled right, what restricts holds anyway.
            *flag |= value != Value::Malformed || !matches!(name, "public" | "must-understand" | "immutable");
        } else if let Some(slot) = self.lifetime(name) {
            let seconds = match value {
                Value::Malformed => return,
                Value::None => 0,
                Value::Text(text) => delta_seconds(text).unwrap_or(0),
            };
            *slot = Some(match *slot {
                // RFC 9111 section 4.2.1: directives that contradict each other make the response stale.
                Some(earlier) if earlier != seconds => 0,
                _ => seconds,
            });
        } else if name == "no-cache" || name == "private" {
            match value {
                Value::Text(list) => self.qualify(name, list),
                Value::None | Value::Malformed => self.unqualify(name),
            }
        }
    }

    /// RFC 9213 section 2.1: the types that values have.
    fn set_typed(&mut self, name: &str, entry: &ListEntry) -> Option<()> {
        let ListEntry::Item(item) = entry else { return None };
        if let Some(flag) = self.flag(name) {
            *flag = item.bare_item.as_boolean()?;
        } else if let Some(slot) = self.lifetime(name) {
            let seconds = i64::from(item.bare_item.as_integer()?);
            *slot = Some(u64::try_from(seconds).unwrap_or(0).min(SECONDS_MAX));
        } else {
            match &item.bare_item {
                BareItem::Boolean(true) => self.unqualify(name),
                BareItem::Boolean(false) => {}
                BareItem::String(list) => self.qualify(name, list.as_str().as_bytes()),
                BareItem::Token(field) => self.qualify(name, field.as_str().as_bytes()),
                _ => return None,
            }
        }
        Some(())
    }

    fn flag(&mut self, name: &str) -> Option<&mut bool> {
        Some(match name {
            "no-store" => &mut self.no_store,
            "public" => &mut self.public,
            "must-revalidate" => &mut self.must_revalidate,
            "proxy-revalidate" => &mut self.proxy_revalidate,
            "must-understand" => &mut self.must_understand,
            "no-transform" => &mut self.no_transform,
            "immutable" => &mut self.immutable,
            _ => return None,
        })
    }

    fn lifetime(&mut self, name: &str) -> Option<&mut Option<u64>> {
        Some(match name {
            "max-age" => &mut self.max_age,
            "s-maxage" => &mut self.s_maxage,
            "stale-while-revalidate" => &mut self.stale_while_revalidate,
            "stale-if-error" => &mut self.stale_if_error,
            _ => return None,
        })
    }

    /// RFC 9111 sections 5.2.2.4 and 5.2.2.7: the form with field names, which falls back to the plain one when a name cannot be obeyed.
    fn qualify(&mut self, name: &str, list: &[u8]) {
        let fields: Result<Vec<HeaderName>, _> = members(list).map(HeaderName::from_bytes).collect();
        match fields {
            Ok(fields) if !fields.is_empty() && !fields.iter().any(|field| NEEDED.contains(field)) => {
                let slot = if name == "private" { &mut self.private_fields } else { &mut self.no_cache_fields };
                slot.extend(fields);
            }
            _ => self.unqualify(name),
        }
    }

    fn unqualify(&mut self, name: &str) {
        *if name == "private" { &mut self.private } else { &mut self.no_cache } = true;
    }
}

/// The directives of responses that this cache obeys.
fn is_known(name: &str) -> bool {
    let mut any = Control::default();
    matches!(name, "no-cache" | "private") || any.flag(name).is_some() || any.lifetime(name).is_some()
}

/// What a request asks of caches (RFC 9111 section 5.2.1). What cannot be read asks for the most; seconds are bounded as in [`Control`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// `no-cache`, or `Pragma: no-cache` where there is no `Cache-Control` (section 5.4).
    pub no_cache: bool,
    /// `no-store`.
    pub no_store: bool,
    /// `no-transform`.
    pub no_transform: bool,
    /// `only-if-cached`.
    pub only_if_cached: bool,
    /// `max-age`: the greatest age.
    pub max_age: Option<u64>,
    /// `min-fresh`: the least freshness that is left.
    pub min_fresh: Option<u64>,
    /// `max-stale`: the greatest staleness, `Some(None)` for any.
    pub max_stale: Option<Option<u64>>,
}

impl Asked {
    /// The directives of a request.
    #[must_use]
    pub fn of(request: &HeaderMap) -> Self {
        let mut asked = Self::default();
        if !request.contains_key(header::CACHE_CONTROL) {
            let pragmas = request.get_all(header::PRAGMA).iter().flat_map(|line| members(line.as_bytes()));
            asked.no_cache = pragmas.into_iter().any(|member| member.eq_ignore_ascii_case(b"no-cache"));
            return asked;
        }
        for line in request.get_all(header::CACHE_CONTROL) {
            for directive in members(line.as_bytes()).map(Directive::of) {
                asked.set(&directive);
            }
        }
        asked
    }

    fn set(&mut self, Directive { name, value }: &Directive<'_>) {
        let seconds = match value {
            Value::Text(text) => delta_seconds(text),
            Value::None | Value::Malformed => None,
        };
        match name.as_slice() {
            b"no-cache" => self.no_cache = true,
            b"no-store" => self.no_store = true,
            b"no-transform" => self.no_transform = true,
            b"only-if-cached" => self.only_if_cached = true,
            b"max-age" => self.max_age = Some(seconds.unwrap_or(0).min(self.max_age.unwrap_or(SECONDS_MAX))),
            b"min-fresh" => self.min_fresh = Some(seconds.unwrap_or(SECONDS_MAX).max(self.min_fresh.unwrap_or(0))),
            b"max-stale" => {
                let limit = match (value, seconds) {
                    (Value::None, _) => None,
                    (_, Some(seconds)) => Some(seconds),
                    // An allowance that cannot be read allows nothing.
                    (_, None) => return,
                };
                self.max_stale = Some(match (self.max_stale.flatten(), limit) {
                    (Some(one), Some(other)) => Some(one.min(other)),
                    (one, other) => one.or(other),
                });
            }
            _ => {}
        }
    }
}

/// A member of `Cache-Control`, its name in lower case.
struct Directive<'a> {
    name: Vec<u8>,
    value: Value<'a>,
}

/// The value of a directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value<'a> {
    /// None.
    None,
    /// A token, or a quoted string without its quotes.
    Text(&'a [u8]),
    /// There is whitespace beside the `=`, which the grammar does not have.
    Malformed,
}

impl<'a> Directive<'a> {
    fn of(member: &'a [u8]) -> Self {
        let Some(at) = member.iter().position(|&byte| byte == b'=') else {
            return Self { name: member.to_ascii_lowercase(), value: Value::None };
        };
        let (name, value) = (&member[..at], &member[at + 1..]);
        let spaced = name.trim_ascii_end().len() != name.len() || value.trim_ascii_start().len() != value.len();
        let value = if spaced { Value::Malformed } else { Value::Text(unquoted(value)) };
        Self { name: name.trim_ascii_end().to_ascii_lowercase(), value }
    }
}

/// RFC 9111 section 1.2.2: digits; what is too large is the largest number told apart.
#[must_use]
pub fn delta_seconds(text: &[u8]) -> Option<u64> {
    delta_digits(text).map(|seconds| seconds.min(SECONDS_MAX))
}

/// Digits as a number, the largest one when they are more.
pub(crate) fn delta_digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0_u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'))))
}

fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}

#[cfg(test)]
mod tests;
