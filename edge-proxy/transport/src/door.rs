//! What the front door asks of the tier behind it, before a session exists.
//!
//! Every protocol reads and validates a request's head, then asks [`Behind::at_once`]. An answer that is there at once is written as it is; only
//! what needs more (a fetch, an upload, an upgrade) becomes a session of Pingora's. The tier counts and logs both ways alike.

use std::sync::Arc;
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use pingora::http::ResponseHeader;

use crate::client::{Client, Protocol};
use crate::head::{Head, Refusal};

/// A tier, as the front door knows it.
pub trait Behind: Send + Sync + 'static {
    /// The answer to a validated request, if it can be had from memory without waiting; `None` sends the request the full way.
    fn at_once(&self, head: Head, client: &Client) -> Option<Ready> {
        let _ = (head, client);
        None
    }

    /// An answer of [`Behind::at_once`] ended: so many bytes of its body were sent, all of them or not.
    fn ended(&self, entry: &Entry, client: &Client, bytes: u64, whole: bool) {
        let _ = (entry, client, bytes, whole);
    }

    /// What a client is told whose request goes no further. Counts and logs the refusal.
    fn refused(&self, refusal: Refusal, client: &Client) -> Told;
}

/// An answer that is there.
#[derive(Debug)]
pub struct Ready {
    /// Status and header fields, as the client's protocol writes them.
    pub head: ReadyHead,
    /// The body, in pieces that are sent as they are; none for HEAD.
    pub body: Vec<Bytes>,
    /// What is counted and logged at its end.
    pub entry: Entry,
}

/// A head, ready to be written.
#[derive(Debug)]
pub enum ReadyHead {
    /// For HTTP/1.1: two pieces of text, one behind the other. What belongs to the connection, and the empty line, are still to be written.
    Text {
        /// The status line and the fields that are the same for everyone, see [`text`].
        common: Bytes,
        /// The fields of this answer alone.
        own: Vec<u8>,
    },
    /// For HTTP/2 and HTTP/3.
    Fields(StatusCode, HeaderMap),
}

/// What is counted and logged of a request that was answered at once.
#[derive(Debug)]
pub struct Entry {
    /// When its head had been read.
    pub started: Instant,
    /// The method.
    pub method: Method,
    /// Authority, path and query.
    pub target: String,
    /// The status of the answer.
    pub status: StatusCode,
}

/// The answer to a request that goes no further.
#[derive(Debug)]
pub struct Told {
    /// The status.
    pub status: StatusCode,
    /// All header fields, `Content-Length` among them.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// A status line and fields as HTTP/1.1 writes them, without the empty line behind them; every line ends with CRLF.
#[must_use]
pub fn text(status: StatusCode, headers: &HeaderMap) -> Bytes {
    let mut text = BytesMut::with_capacity(64 + headers.len() * 48);
    text.put_slice(b"HTTP/1.1 ");
    text.put_slice(status.as_str().as_bytes());
    text.put_u8(b' ');
    text.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    text.put_slice(b"\r\n");
    // The names as Pingora writes them, so that both ways look alike.
    if let Ok(mut head) = ResponseHeader::build(status, Some(headers.len())) {
        for (name, value) in headers {
            // Parsed fields are valid ones.
            let _ = head.append_header(name.clone(), value.clone());
        }
        head.header_to_h1_wire(&mut text);
    }
    text.freeze()
}

/// The fields of an answer's own, to be written into its head.
pub struct Own<'a> {
    /// `Age`, in seconds.
    pub age: u64,
    /// `Cache-Status`.
    pub cache_status: &'a HeaderValue,
    /// `Alt-Svc`.
    pub alt_svc: Option<&'a HeaderValue>,
}

impl Own<'_> {
    /// Makes the head for a protocol: `common` the text of the fields for everyone, `fields` these fields one by one.
    pub fn finish(
        &self,
        protocol: Protocol,
        status: StatusCode,
        common: impl FnOnce() -> Bytes,
        fields: impl FnOnce() -> HeaderMap,
    ) -> ReadyHead {
        if protocol == Protocol::Http1 {
            return ReadyHead::Text { common: common(), own: self.text() };
        }
        let mut fields = fields();
        fields.insert(header::AGE, HeaderValue::from(self.age));
        fields.insert(crate::hygiene::CACHE_STATUS, self.cache_status.clone());
        if let Some(alt_svc) = self.alt_svc {
            fields.insert(header::ALT_SVC, alt_svc.clone());
        }
        ReadyHead::Fields(status, fields)
    }

    fn text(&self) -> Vec<u8> {
        use std::io::Write as _;
        let mut text = Vec::with_capacity(192);
        // Writing into memory does not fail.
        let _ = write!(text, "Age: {}\r\nCache-Status: ", self.age);
        text.extend_from_slice(self.cache_status.as_bytes());
        if let Some(alt_svc) = self.alt_svc {
            text.extend_from_slice(b"\r\nAlt-Svc: ");
            text.extend_from_slice(alt_svc.as_bytes());
        }
        text.extend_from_slice(b"\r\n");
        text
    }
}

/// A tier, shared by all connections.
pub type Shared = Arc<dyn Behind>;
