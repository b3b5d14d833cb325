//! Why a request goes no further than the front door, the same names for every protocol.

/// Why a request was refused. The tier chooses the status, see its `fault.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The first line is none of HTTP/1.1 (RFC 9112 section 3).
    Line,
    /// A version of HTTP that is not spoken here.
    Version,
    /// A method that no server for other people's sites has a use for: CONNECT.
    Method,
    /// A line ends otherwise than with CR and LF, or one of them stands alone (RFC 9112 section 2.2).
    LineEnd,
    /// A header field is malformed: its name, a space before the colon, a folded line, a control character (RFC 9112 section 5).
    Field,
    /// No host, several, or one that is none (RFC 9112 section 3.2).
    Host,
    /// The target is not an absolute path.
    Target,
    /// The target is too long.
    TargetLength,
    /// The head is too large.
    HeadLength,
    /// The head has too many fields.
    FieldCount,
    /// Where the body ends can be read in more than one way, or not at all (RFC 9112 section 6.3).
    Framing,
    /// The body has a transfer coding besides chunks (RFC 9112 section 7).
    Coding,
    /// The chunks of the body are malformed (RFC 9112 section 7.1).
    Chunk,
    /// The body is too long.
    BodyLength,
    /// The head did not come in time.
    HeadTime,
    /// The body came too slowly.
    BodyTime,
    /// The connection makes more work than its requests account for: frames that move nothing, requests that are taken back.
    Flood,
}

impl Refusal {
    /// All of them, in their order.
    pub const ALL: [Self; 17] = [
        Self::Line,
        Self::Version,
        Self::Method,
        Self::LineEnd,
        Self::Field,
        Self::Host,
        Self::Target,
        Self::TargetLength,
        Self::HeadLength,
        Self::FieldCount,
        Self::Framing,
        Self::Coding,
        Self::Chunk,
        Self::BodyLength,
        Self::HeadTime,
        Self::BodyTime,
        Self::Flood,
    ];

    /// Its name in figures and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Version => "version",
            Self::Method => "method",
            Self::LineEnd => "line-end",
            Self::Field => "field",
            Self::Host => "host",
            Self::Target => "target",
            Self::TargetLength => "target-length",
            Self::HeadLength => "head-length",
            Self::FieldCount => "field-count",
            Self::Framing => "framing",
            Self::Coding => "coding",
            Self::Chunk => "chunk",
            Self::BodyLength => "body-length",
            Self::HeadTime => "head-time",
            Self::BodyTime => "body-time",
            Self::Flood => "flood",
        }
    }

    /// Whether nothing more is taken from a connection with many streams after this: what is above a limit is the matter of one stream alone.
    #[must_use]
    pub fn ends_connection(self) -> bool {
        !matches!(self, Self::Method | Self::TargetLength | Self::HeadLength | Self::FieldCount | Self::BodyLength | Self::BodyTime)
    }

    /// A sentence for the client.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Line => "the first line of the request is no request line of HTTP/1.1: method, target and version with one space between",
            Self::Version => "this version of HTTP is not spoken here; HTTP/1.1 is",
            Self::Method => "this method is not served here",
            Self::LineEnd => "a line of the request does not end with CR and LF, or one of them stands alone",
            Self::Field => "a header field of the request is malformed",
            Self::Host => "the request names no valid host",
            Self::Target => "the request target is not an absolute path, or has characters that must be percent-encoded",
            Self::TargetLength => "the request target is too long",
            Self::HeadLength => "the header fields of the request are too long",
            Self::FieldCount => "the request has too many header fields",
            Self::Framing => "where the body of the request ends is in doubt",
            Self::Coding => "the body of the request has a transfer coding other than chunked",
            Self::Chunk => "the chunks of the request's body are malformed",
            Self::BodyLength => "the body of the request is too long",
            Self::HeadTime => "the head of the request did not come in time",
            Self::BodyTime => "the body of the request came too slowly",
            Self::Flood => "the connection makes more work than its requests account for",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_there_in_their_order_and_no_two_have_a_name() {
        let mut names: Vec<&str> = Refusal::ALL.iter().map(|refusal| refusal.as_str()).collect();
        assert!(Refusal::ALL.iter().enumerate().all(|(place, refusal)| *refusal as usize == place));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Refusal::ALL.len());
    }
}
