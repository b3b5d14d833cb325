//! What a client says of the order in which it wants its answers (RFC 9218): the one dictionary that HTTP/2 and HTTP/3 have in requests and in
//! PRIORITY_UPDATE frames. What becomes of it is for each protocol to say.

use http::header::{HeaderMap, HeaderName};

/// RFC 9218 section 5.
const PRIORITY: HeaderName = HeaderName::from_static("priority");

/// The priority of an answer. The lesser one is sent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Priority {
    /// From 0, the most urgent, to 7.
    pub urgency: u8,
    /// Whether the client can use an answer in parts, so that those of one urgency take turns.
    pub incremental: bool,
}

impl Default for Priority {
    fn default() -> Self {
        Self { urgency: 3, incremental: false }
    }
}

impl Priority {
    /// What a request says of itself.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(PRIORITY).iter().peekable();
        lines.peek()?;
        Some(lines.fold(Self::default(), |priority, line| priority.with(line.as_bytes())))
    }

    /// Reads the value of the field, which is a structured dictionary. Unknown members, and values out of range, count as not there.
    #[must_use]
    pub fn read(value: &[u8]) -> Self {
        Self::default().with(value)
    }

    fn with(self, line: &[u8]) -> Self {
        let Ok(line) = std::str::from_utf8(line) else { return self };
        line.split(',').fold(self, |priority, member| {
            let member = member.split(';').next().unwrap_or_default().trim_matches([' ', '\t']);
            match member.as_bytes() {
                [b'u', b'=', digit @ b'0'..=b'7'] => Self { urgency: digit - b'0', ..priority },
                b"i" | b"i=?1" => Self { incremental: true, ..priority },
                b"i=?0" => Self { incremental: false, ..priority },
                _ => priority,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_field_is_read_as_far_as_it_is_known() {
        for (text, urgency, incremental) in [
            (&b""[..], 3, false),
            (b"u=0", 0, false),
            (b"u=5, i", 5, true),
            (b"i=?1,u=7", 7, true),
            (b"i=?1;x=1,u=5;y", 5, true),
            (b"i, i=?0", 3, false),
            (b"u=2, u=4", 4, false),
            (b"u=8, i=1", 3, false),
            (b"u=-1, u=x, u", 3, false),
            (b"u=2;a=1 , i;b", 2, true),
            (b"foo, u=1, bar=\"i\"", 1, false),
            (b"u=1,\xff", 3, false),
        ] {
            assert_eq!(Priority::read(text), Priority { urgency, incremental }, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn lines_of_a_request_are_one_dictionary() {
        let mut headers = HeaderMap::new();
        assert_eq!(Priority::of(&headers), None);
        for line in ["u=1", "i"] {
            headers.append(PRIORITY, HeaderValue::from_static(line));
        }
        assert_eq!(Priority::of(&headers), Some(Priority { urgency: 1, incremental: true }));
    }

    #[test]
    fn the_more_urgent_comes_first_and_then_what_is_of_no_use_in_parts() {
        let of = |text: &str| Priority::read(text.as_bytes());
        assert!(of("u=1, i") < of("u=2") && of("u=2") < of("u=2, i"));
    }
}
