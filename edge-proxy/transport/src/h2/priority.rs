//! What a client says of the order in which it wants its answers (RFC 9218).

use http::header::HeaderMap;

/// The priority of an answer. The lesser one is sent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Priority {
    /// From 0, the most urgent, to 7.
    urgency: u8,
    /// Whether the client can use an answer in parts, so that those of one urgency take turns.
    pub(super) incremental: bool,
}

impl Default for Priority {
    fn default() -> Self {
        Self { urgency: 3, incremental: false }
    }
}

impl Priority {
    /// Of the field `Priority`, which is a structured dictionary. Unknown members, and values out of range, count as not there.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all("priority").iter().filter_map(|value| value.to_str().ok());
        values.fold(Self::default(), Self::with)
    }

    fn with(self, text: &str) -> Self {
        text.split(',').fold(self, |priority, member| {
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

/// The stream of a PRIORITY_UPDATE frame and its priority (RFC 9218 section 7.1). `None` when it is malformed.
pub(super) fn update(payload: &[u8]) -> Option<(u32, Priority)> {
    let (stream, field) = payload.split_first_chunk()?;
    let stream = u32::from_be_bytes(*stream) & 0x7fff_ffff;
    Some((stream, Priority::default().with(std::str::from_utf8(field).ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_read_as_far_as_it_is_known() {
        for (text, urgency, incremental) in [
            ("", 3, false),
            ("u=0", 0, false),
            ("u=5, i", 5, true),
            ("i=?1,u=7", 7, true),
            ("i, i=?0", 3, false),
            ("u=8", 3, false),
            ("u=-1, u=x, u", 3, false),
            ("u=2;a=1 , i;b", 2, true),
            ("foo, u=1, bar=\"i\"", 1, false),
        ] {
            assert_eq!(Priority::default().with(text), Priority { urgency, incremental }, "{text:?}");
        }
    }

    #[test]
    fn an_update_names_its_stream() {
        assert_eq!(update(b"\x80\x00\x00\x05u=1"), Some((5, Priority { urgency: 1, incremental: false })));
        assert_eq!(update(b"\x00\x00\x05"), None);
        assert_eq!(update(b"\x00\x00\x00\x05\xff"), None);
    }

    #[test]
    fn the_more_urgent_comes_first_and_then_what_is_of_no_use_in_parts() {
        let of = |text: &str| Priority::default().with(text);
        assert!(of("u=1, i") < of("u=2") && of("u=2") < of("u=2, i"));
    }
}
