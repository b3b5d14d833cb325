//! One request: its head is read and validated, then it is answered, or becomes a session.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::FutureExt as _;
use h3::error::{Code, StreamError};
use h3::server::{RequestResolver, RequestStream};
use http::header::{self, HeaderName, HeaderValue};
use http::uri::Scheme;
use http::{Method, Version, request};
use pingora::apps::HttpServerApp as _;
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use pingora::proxy::ProxyHttp;
use quinn::SendStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::adapter::{Head as ForH3, Quic, Request};
use super::answer::{Answer, Stream};
use super::body::{Incoming, Unread};
use super::endpoint::SEND_WINDOW_BYTES;
use super::frames::{Fault, HEADER_BYTES_MAX, HEADERS, put_header};
use super::priority::Said;
use super::section::{self, Malformed};
use crate::accept::Door;
use crate::alarm::Alarm;
use crate::client::Client;
use crate::door::{self, Ready, ReadyHead, Reply, Told};
use crate::head::{Head, Line, Refusal};
use crate::hygiene::has_http1;
use crate::pace;
use crate::priority::Priority;
use crate::stream::{StreamSession, Waiting};

/// Tells an origin that a request may be a replay (RFC 8470 section 5.1).
const EARLY_DATA: HeaderName = HeaderName::from_static("early-data");
/// A field section that is malformed whatever follows: it has no field at all.
const NO_FIELDS: &[u8] = &[0, 0];

/// What is needed to answer a request.
pub(super) struct Exchange<App> {
    pub(super) door: Arc<Door<App>>,
    pub(super) client: Arc<Client>,
    /// For a request that came before the handshake was complete, so that it may be a replay: turns true when it is.
    pub(super) early: Option<watch::Receiver<bool>>,
}

/// What an answer from memory leaves behind: its stream, and until when its client may take to have all of it.
pub(super) struct Sent {
    stream: Stream,
    until: Instant,
}

impl Sent {
    /// Waits until the client has it, or its time is over.
    pub(super) async fn delivered(self) {
        let _ = timeout_at(self.until, self.stream.gone()).await;
    }
}

/// Why a request gets no further.
enum Refused {
    /// The client is told.
    With(Refusal),
    /// The stream is reset.
    Reset(Code),
    /// The connection is closed.
    Close(Code),
    /// Nobody is there to be told.
    Gone,
}

/// A request that was read.
struct Asked {
    parts: request::Parts,
    /// `h3`'s note of the request, kept until it is over.
    note: RequestStream<Request, Bytes>,
}

impl<App> Exchange<App>
where
    App: ProxyHttp + Send + Sync + 'static,
    App::CTX: Send + Sync,
{
    /// Answers the request. One that is answered from memory returns at once, if its head is there; any other when the client has the answer or is
    /// gone.
    pub(super) async fn run(self, mut incoming: Incoming, send: SendStream, decoder: Decoder, said: Said) -> Option<Sent> {
        let mut answer = Answer::new(send, self.door.limits.rate_min.0, said);
        let mut head_only = false;
        let (asked, mut head) = match self.read(&mut incoming, decoder, &mut head_only).await {
            Ok(read) => read,
            Err(refused) => {
                Box::pin(self.turn_away(refused, head_only, incoming, answer)).await;
                return None;
            }
        };
        if let Some(priority) = Priority::of(&asked.parts.headers) {
            answer.set_priority(priority);
        }
        let is_plain = is_fetch(&head.method) && incoming.is_known_empty();
        if is_plain && self.may_be_replayed() {
            head.headers.insert(EARLY_DATA, HeaderValue::from_static("1"));
        }
        match if is_plain { self.door.behind.ask(head, &self.client) } else { Reply::Pass } {
            Reply::Ready(ready) => {
                self.send(ready, &mut answer).await;
                let until = Instant::now() + answer.time_left(SEND_WINDOW_BYTES);
                return Some(Sent { stream: answer.into_stream(), until });
            }
            Reply::Later(later) => {
                let taken = answer.taken();
                later.answer(&mut Waiting::new(answer, head_only)).await;
                // What is left of the request is let go only now.
                drop((asked, incoming));
                self.has_taken(taken).await;
            }
            Reply::Pass => Box::pin(self.pass(asked, incoming, answer)).await,
        }
        None
    }

    /// Ends a request that gets no further.
    async fn turn_away(&self, refused: Refused, head_only: bool, mut incoming: Incoming, mut answer: Answer) {
        let gone = answer.taken();
        let left = match refused {
            Refused::With(refusal) => {
                self.refuse(refusal, head_only, &mut answer).await;
                incoming.stop(code_of(refusal));
                answer.time_left(SEND_WINDOW_BYTES)
            }
            Refused::Reset(why) => {
                self.door.behind.refused(Refusal::Field, &self.client);
                answer.reset(why);
                incoming.stop(why);
                Duration::ZERO
            }
            Refused::Close(why) => {
                incoming.close(why);
                Duration::ZERO
            }
            Refused::Gone => {
                answer.reset(Code::H3_REQUEST_CANCELLED);
                Duration::ZERO
            }
        };
        let _ = timeout(left, gone).await;
    }

    /// Reads the head, and as much of the body as it takes to know whether there is one. `head_only` turns true as soon as the method is known to be
    /// HEAD, whatever is wrong with the rest.
    async fn read(&self, incoming: &mut Incoming, mut decoder: Decoder, head_only: &mut bool) -> Result<(Asked, Head), Refused> {
        let limits = &self.door.limits;
        let reading = async {
            let section = incoming.head().await?;
            let (asked, head) = decoder.decode(&section, limits.fields as usize, head_only)?;
            let length = length_of(&head)?;
            head.within(limits).map_err(Refused::With)?;
            incoming.tell(length);
            // Whether it has a body decides which way it goes, and some clients say only afterwards that it has none. One that is said to have none
            // is not believed unseen.
            if length == Some(0) || (is_fetch(&head.method) && length.is_none()) {
                incoming.look_ahead().await?;
            }
            Ok((asked, head))
        };
        timeout(limits.head_time.0, reading).await.unwrap_or(Err(Refused::With(Refusal::HeadTime)))
    }

    async fn refuse(&self, refusal: Refusal, head_only: bool, answer: &mut Answer) {
        let Told { status, mut headers, body } = self.door.behind.refused(refusal, &self.client);
        door::ensure_date(&mut headers);
        let _ = answer.whole(&section::encode(status, &headers), if head_only { Vec::new() } else { vec![body] }).await;
    }

    /// Has Pingora answer a request.
    async fn pass(mut self, asked: Asked, incoming: Incoming, answer: Answer) {
        let Asked { mut parts, note } = asked;
        let taken = answer.taken();
        if self.may_be_replayed() {
            if is_fetch(&parts.method) {
                parts.headers.insert(EARLY_DATA, HeaderValue::from_static("1"));
            } else if let Some(established) = &mut self.early
                && established.wait_for(|established| *established).await.is_err()
            {
                return;
            }
        }
        parts.version = Version::HTTP_2;
        let alarm: Arc<Alarm> = Arc::default();
        // Where the session and the tier find them.
        parts.extensions.insert(Arc::clone(&alarm));
        parts.extensions.insert(Arc::clone(&self.client));
        let session = StreamSession::new(RequestHeader::from(parts), incoming, answer, Arc::new(self.client.digest(-1)));
        alarm.bounds(self.door.proxy.process_new_http(ServerSession::new_custom(Box::new(session)), &self.door.stop)).await;
        drop(note);
        self.has_taken(taken).await;
    }

    /// Whether the request came before the handshake was complete, and it still is not.
    fn may_be_replayed(&self) -> bool {
        self.early.as_ref().is_some_and(|established| !*established.borrow())
    }

    /// Waits until the client has all of an answer, or its time is over: a connection that is closed takes with it what its client does not have yet.
    async fn has_taken(&self, taken: impl Future<Output = ()>) {
        let _ = timeout(pace::time_for(self.door.limits.rate_min.0, SEND_WINDOW_BYTES), taken).await;
    }

    async fn send(&self, ready: Ready, answer: &mut Answer) {
        let Ready { head, body, entry } = ready;
        let ReadyHead::Section(section) = head else {
            return tracing::error!("an answer at once that is not for HTTP/3");
        };
        let length: u64 = body.iter().map(|piece| piece.len() as u64).sum();
        let whole = answer.whole(&section, body).await.is_ok();
        let bytes = if whole { length } else { answer.written().min(length) };
        self.door.behind.ended(&entry, &self.client, bytes, whole);
    }
}

/// What `Content-Length` says. That it is one row of digits was seen to when the head was made.
fn length_of(head: &Head) -> Result<Option<u64>, Refused> {
    let length = head.headers.get(header::CONTENT_LENGTH).map(|length| length.to_str().ok()?.parse().ok());
    length.map(|length| length.ok_or(Refused::With(Refusal::Framing))).transpose()
}

/// Why nothing more of a refused request is wanted.
fn code_of(refusal: Refusal) -> Code {
    match refusal {
        Refusal::HeadLength | Refusal::FieldCount => Code::H3_EXCESSIVE_LOAD,
        Refusal::HeadTime | Refusal::BodyTime => Code::H3_REQUEST_CANCELLED,
        Refusal::TargetLength | Refusal::BodyLength => Code::H3_NO_ERROR,
        _ => Code::H3_MESSAGE_ERROR,
    }
}

/// Whether the method is one that caches answer, and that does no harm when it is replayed.
fn is_fetch(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

impl From<Unread> for Refused {
    fn from(why: Unread) -> Self {
        match why {
            Unread::Frames(Fault::HeadLength) => Self::With(Refusal::HeadLength),
            Unread::TooLong => Self::With(Refusal::BodyLength),
            Unread::Malformed => Self::With(Refusal::Field),
            Unread::NoHead => Self::Reset(Code::H3_REQUEST_INCOMPLETE),
            Unread::TooSlow => Self::With(Refusal::BodyTime),
            Unread::Left(_) | Unread::Frames(_) => Self::Gone,
        }
    }
}

/// A request as `h3` makes it, and its note.
type Resolved = (http::Request<()>, RequestStream<Request, Bytes>);

/// Has `h3` decode the head of a request. `h3` keeps a note of every request until it has decoded it and let go of it, so that one that goes no
/// further is made to end all the same.
pub(super) struct Decoder {
    resolver: Option<RequestResolver<Quic, Bytes>>,
    head: ForH3,
}

impl Decoder {
    pub(super) fn new(resolver: RequestResolver<Quic, Bytes>, head: ForH3) -> Self {
        Self { resolver: Some(resolver), head }
    }

    fn decode(&mut self, section: &[u8], fields_max: usize, head_only: &mut bool) -> Result<(Asked, Head), Refused> {
        // The pseudo-header fields, which are no fields of the head's own, come on top.
        match section::inspect(section, fields_max + 4) {
            Ok(_) => {}
            Err(Malformed::Many) => return Err(Refused::With(Refusal::FieldCount)),
            Err(Malformed::Encoding) => return Err(Refused::Close(Code::QPACK_DECOMPRESSION_FAILED)),
            Err(_) => return Err(Refused::With(Refusal::Field)),
        }
        let (request, note) = match self.resolve(section) {
            Some(Ok(resolved)) => resolved,
            Some(Err(StreamError::HeaderTooBig { .. })) => return Err(Refused::With(Refusal::HeadLength)),
            Some(Err(StreamError::StreamError { .. })) => return Err(Refused::With(Refusal::Field)),
            _ => return Err(Refused::Gone),
        };
        let (parts, ()) = request.into_parts();
        *head_only = parts.method == Method::HEAD;
        let head = head_of(&parts).map_err(Refused::With)?;
        Ok((Asked { parts, note }, head))
    }

    /// All that `h3` waits for is there, so that it answers without waiting.
    fn resolve(&mut self, section: &[u8]) -> Option<Result<Resolved, StreamError>> {
        let mut frame = BytesMut::with_capacity(HEADER_BYTES_MAX + section.len());
        put_header(&mut frame, HEADERS, section.len());
        frame.put_slice(section);
        *self.head.lock() = Some(frame.freeze());
        self.resolver.take()?.resolve_request().now_or_never()
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        self.resolve(NO_FIELDS);
    }
}

/// The head, validated as over every other protocol, and by the rules of HTTP/3 (RFC 9114 sections 4.2 and 4.3).
fn head_of(parts: &request::Parts) -> Result<Head, Refusal> {
    if has_http1(&parts.headers) {
        return Err(Refusal::Field);
    }
    if parts.method == Method::CONNECT {
        return Err(Refusal::Method);
    }
    if parts.uri.scheme() != Some(&Scheme::HTTPS) {
        return Err(Refusal::Target);
    }
    let line = Line {
        method: parts.method.clone(),
        version: Version::HTTP_2,
        authority: parts.uri.authority().map(http::uri::Authority::as_str),
        path_and_query: parts.uri.path_and_query().map(http::uri::PathAndQuery::as_str),
    };
    Head::of(line, parts.headers.clone(), true)
}
