//! What the front door asks of the tier behind it.
//!
//! Every protocol reads and validates a request's head once, and asks the tier with it ([`Behind::ask`]). An answer that is there is written as it is.
//! One that has to be waited for is made for an [`Asker`](crate::asker::Asker). Only what is passed through becomes a session of Pingora's. The tier
//! counts and logs all three alike.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use pingora::protocols::http::date::get_cached_date;

use crate::asker::Later;
use crate::client::{Client, Protocol};
use crate::head::{Head, Refusal};
use crate::{h1, h3, hygiene};

/// A tier, as the front door knows it.
pub trait Behind: Send + Sync + 'static {
    /// What a tier says to a validated GET or HEAD without body. Never waits.
    fn ask(&self, head: Head, client: &Arc<Client>) -> Reply {
        let _ = (head, client);
        Reply::Pass
    }

    /// An answer that was [`Reply::Ready`] ended: so many bytes of its body were sent, all of them or not.
    fn ended(&self, entry: &Entry, client: &Client, bytes: u64, whole: bool) {
        let _ = (entry, client, bytes, whole);
    }

    /// What a client is told whose request goes no further. Counts and logs the refusal.
    fn refused(&self, refusal: Refusal, client: &Client) -> Told;
}

/// What a tier says to a request.
#[expect(clippy::large_enum_variant, reason = "it is moved once, and a box would cost each hit an allocation")]
pub enum Reply {
    /// The answer is there.
    Ready(Ready),
    /// The answer has to be waited for.
    Later(Box<dyn Later>),
    /// It is passed through, in a session of Pingora's.
    Pass,
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
    /// For HTTP/1.1: the status line and the fields, every line with its end. What belongs to the connection, and the empty line, are still to be
    /// written behind it.
    Text(Vec<u8>),
    /// For HTTP/2.
    Fields(StatusCode, HeaderMap),
    /// For HTTP/3: a whole field section.
    Section(Bytes),
}

/// What of a stored answer's head is the same for everyone, as one protocol writes it. Made once, it serves every later answer.
pub trait Common {
    /// As [`text`] writes it.
    fn text(&self) -> Bytes;
    /// As [`section`] writes it.
    fn section(&self) -> Bytes;
    /// As it is.
    fn fields(&self) -> HeaderMap;
}

/// What is counted and logged of a request that was answered at once.
#[derive(Debug)]
pub struct Entry {
    /// When its head had been read.
    pub started: Instant,
    /// The method.
    pub method: Method,
    /// The authority that was asked.
    pub authority: String,
    /// Path and query.
    pub path_and_query: String,
    /// The status of the answer.
    pub status: StatusCode,
    /// A number of the tier's own, handed back as it is.
    pub slot: Option<u32>,
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

/// How long a client that was refused may go on sending, so that it reads what it is told.
pub(crate) const LINGER_TIME_MAX: Duration = Duration::from_secs(2);
/// The bytes it may send meanwhile.
pub(crate) const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// Has an answer without a date get the time of sending (RFC 9110 section 6.6.1), and one with several the first of them (section 5.3).
pub(crate) fn ensure_date(headers: &mut HeaderMap) {
    let mut dates = headers.get_all(header::DATE).iter();
    match (dates.next().cloned(), dates.next()) {
        (None, _) => headers.insert(header::DATE, get_cached_date()),
        (Some(first), Some(_)) => headers.insert(header::DATE, first),
        (Some(_), None) => None,
    };
}

/// A status line and fields as HTTP/1.1 writes them, without the empty line behind them; every line ends with CRLF.
#[must_use]
pub fn text(status: StatusCode, headers: &HeaderMap) -> Bytes {
    let mut text = Vec::with_capacity(h1::text::room_for(headers));
    h1::text::put(&mut text, status, headers);
    text.into()
}

/// Status and fields as HTTP/3 writes them, without those that it has no place for.
#[must_use]
pub fn section(status: StatusCode, mut headers: HeaderMap) -> Bytes {
    hygiene::strip_http1(&mut headers);
    h3::section::encode(status, &headers)
}

/// The fields of an answer's own, to be written into its head.
pub struct Own<'a> {
    /// `Age`, in seconds.
    pub age: u64,
    /// `Cache-Status`.
    pub cache_status: String,
    /// `Alt-Svc`.
    pub alt_svc: Option<&'a HeaderValue>,
}

/// Room for the fields of an answer's own, and for what the front door writes behind them, in bytes.
const OWN_BYTES: usize = 256;
/// A body of at most so many bytes, over HTTP/1.1 its head among them, is copied behind its head: that costs less than having the kernel, or QUIC, take
/// one piece more.
pub(crate) const COPIED_BYTES_MAX: usize = 4 * 1024;

impl Own<'_> {
    /// Makes the head of an answer with this body for a protocol.
    pub fn finish(self, protocol: Protocol, status: StatusCode, common: &impl Common, body: &[Bytes]) -> ReadyHead {
        match protocol {
            Protocol::Http1 => ReadyHead::Text(self.text(&common.text(), body)),
            Protocol::Http2 => ReadyHead::Fields(status, self.fields(common.fields())),
            Protocol::Http3 => ReadyHead::Section(self.section(&common.section())),
        }
    }

    fn text(&self, common: &[u8], body: &[Bytes]) -> Vec<u8> {
        let (head_bytes, body_bytes) = (common.len() + OWN_BYTES, body.iter().map(Bytes::len).sum::<usize>());
        let is_small = head_bytes + body_bytes <= COPIED_BYTES_MAX;
        let mut text = Vec::with_capacity(if is_small { head_bytes + body_bytes } else { head_bytes });
        for piece in
            [common, b"Age: ", itoa::Buffer::new().format(self.age).as_bytes(), b"\r\nCache-Status: ", self.cache_status.as_bytes()]
        {
            text.extend_from_slice(piece);
        }
        if let Some(alt_svc) = self.alt_svc {
            text.extend_from_slice(b"\r\nAlt-Svc: ");
            text.extend_from_slice(alt_svc.as_bytes());
        }
        text.extend_from_slice(b"\r\n");
        text
    }

    fn fields(self, mut fields: HeaderMap) -> HeaderMap {
        fields.insert(header::AGE, HeaderValue::from(self.age));
        if let Ok(cache_status) = HeaderValue::try_from(self.cache_status) {
            fields.insert(hygiene::CACHE_STATUS, cache_status);
        }
        if let Some(alt_svc) = self.alt_svc {
            fields.insert(header::ALT_SVC, alt_svc.clone());
        }
        fields
    }

    fn section(&self, common: &[u8]) -> Bytes {
        let mut section = BytesMut::with_capacity(common.len() + OWN_BYTES);
        section.extend_from_slice(common);
        h3::section::put_field(&mut section, "age", itoa::Buffer::new().format(self.age).as_bytes());
        h3::section::put_field(&mut section, "cache-status", self.cache_status.as_bytes());
        if let Some(alt_svc) = self.alt_svc {
            h3::section::put_field(&mut section, "alt-svc", alt_svc.as_bytes());
        }
        section.freeze()
    }
}

/// A tier, shared by all connections.
pub type Shared = Arc<dyn Behind>;
