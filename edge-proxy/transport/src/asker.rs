//! The client of one request, as the tier that answers it sees it, whatever the protocol.
//!
//! An answer that is not at hand ([`crate::door::Reply::Later`]) is made for an [`Asker`]: it says when the client has gone, and takes the interim
//! answers, then the answer, whose body it draws piece by piece as the client takes it. What a tier need not know is behind it: framing, windows,
//! pace, whether the connection goes on.

use async_trait::async_trait;
use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderValue};

use crate::interim::Interim;

/// A request whose answer has to be waited for.
#[async_trait]
pub trait Later: Send {
    /// Answers it, and counts and logs what came of that.
    async fn answer(self: Box<Self>, asker: &mut dyn Asker);
}

/// A client that waits for the answer to one request.
#[async_trait]
pub trait Asker: Send {
    /// Waits until the client has gone: it closed its connection, or gave up this request. What it sends meanwhile is kept.
    async fn gone(&mut self);

    /// Sends an interim answer, unless the client speaks HTTP/1.0 (RFC 9110 section 15.2) or has had [`crate::interim::INTERIM_MAX`] of them.
    ///
    /// # Errors
    /// When the client has gone.
    async fn interim(&mut self, head: Interim) -> Result<(), Left>;

    /// Sends the answer: its head together with the first bytes of its body, which is not drawn for HEAD, a 204 and a 304. A head without `Date`
    /// gets the time of sending (RFC 9110 section 6.6.1). There is one answer; what a request had none to is cut off.
    async fn answer(&mut self, status: StatusCode, headers: HeaderMap, body: &mut dyn Pieces) -> Sent;
}

/// Where the pieces of a body come from.
#[async_trait]
pub trait Pieces: Send {
    /// The next piece, never empty; `None` at the proper end; an error when it ends early, with a sentence why.
    async fn next(&mut self) -> Result<Option<Bytes>, String>;
}

/// A body held in memory.
pub struct Whole(pub Option<Bytes>);

#[async_trait]
impl Pieces for Whole {
    async fn next(&mut self) -> Result<Option<Bytes>, String> {
        Ok(self.0.take().filter(|bytes| !bytes.is_empty()))
    }
}

/// What became of an answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Sent {
    /// Bytes of its body that were written.
    pub bytes: u64,
    /// Whether that was all.
    pub end: Result<(), Unsent>,
}

/// The client left, or took too long: nothing more can be sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Left;

/// Why an answer was not sent whole.
#[derive(Debug, PartialEq, Eq)]
pub enum Unsent {
    /// See [`Left`].
    Client,
    /// The body ended early; the connection or stream was cut so that the client sees it.
    Body(String),
}

/// Whether a body follows the head of an answer.
pub(crate) fn has_body(status: StatusCode, head_only: bool) -> bool {
    !head_only && status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED
}

/// Holds a body to the length that its head tells: the bytes that are still owed, if it tells one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owed(Option<u64>);

impl Owed {
    /// By the head of an answer, which is left with one line for the length, however often it was said (RFC 9110 section 8.6), and without any where
    /// there is none to be known.
    pub(crate) fn by(headers: &mut HeaderMap) -> Self {
        let mut lines = headers.get_all(header::CONTENT_LENGTH).iter();
        let Some(line) = lines.next() else { return Self(None) };
        let said = line.to_str().ok().and_then(number);
        if said.is_some() && lines.next().is_none() {
            return Self(said);
        }
        let mut members = headers.get_all(header::CONTENT_LENGTH).iter().flat_map(|line| line.to_str().unwrap_or_default().split(','));
        let first = members.next().and_then(|member| number(member.trim()));
        let said = first.filter(|first| members.all(|member| number(member.trim()) == Some(*first)));
        match said {
            Some(length) => drop(headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length))),
            None => drop(headers.remove(header::CONTENT_LENGTH)),
        }
        Self(said)
    }

    /// Whether the head tells a length.
    pub(crate) fn is_told(self) -> bool {
        self.0.is_some()
    }

    /// Whether nothing follows what has come.
    pub(crate) fn is_paid(self) -> bool {
        self.0 == Some(0)
    }

    /// Takes a piece, or the end, as it comes from the body. An end that comes too early, or not in time, is none; of a body that is all there it is no
    /// matter how it ends.
    pub(crate) fn take(&mut self, piece: Result<Option<Bytes>, String>) -> Result<Option<Bytes>, String> {
        let piece = if self.is_paid() { piece.unwrap_or(None) } else { piece? };
        if let Some(owed) = &mut self.0 {
            let left = owed.checked_sub(piece.as_ref().map_or(0, |bytes| bytes.len() as u64));
            *owed = left.ok_or("the body is longer than its content-length")?;
            if piece.is_none() && *owed > 0 {
                return Err(format!("the body ended {owed} bytes before its content-length"));
            }
        }
        Ok(piece)
    }
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_one_number_however_often_it_is_said() {
        for (lines, length, left) in [
            (&[][..], None, None),
            (&["5"], Some(5), Some("5")),
            (&["5", "5"], Some(5), Some("5")),
            (&["5, 5"], Some(5), Some("5")),
            (&["5", "6"], None, None),
            (&["+5"], None, None),
            (&[""], None, None),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::CONTENT_LENGTH, HeaderValue::from_static(line));
            }
            assert_eq!(Owed::by(&mut headers), Owed(length), "{lines:?}");
            let said: Vec<_> = headers.get_all(header::CONTENT_LENGTH).iter().map(|line| line.to_str().unwrap()).collect();
            assert_eq!(said, left.into_iter().collect::<Vec<_>>(), "{lines:?}");
        }
    }

    #[test]
    fn a_body_is_held_to_its_length() {
        let piece = |text: &'static str| Ok(Some(Bytes::from_static(text.as_bytes())));
        let mut owed = Owed(Some(5));
        assert_eq!(owed.take(piece("abc")), piece("abc"));
        assert_eq!(owed.take(Ok(None)).unwrap_err(), "the body ended 2 bytes before its content-length");
        assert_eq!(owed.take(piece("def")).unwrap_err(), "the body is longer than its content-length");
        assert_eq!(owed.take(piece("de")), piece("de"));
        assert!(owed.is_paid() && owed.take(Ok(None)) == Ok(None) && owed.take(Err("upstream died".to_owned())) == Ok(None));
        assert_eq!(Owed(None).take(piece("abc")), piece("abc"));
    }
}
