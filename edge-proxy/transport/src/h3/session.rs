//! One request of an HTTP/3 connection, as Pingora takes a session that is not its own.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use h3::error::Code;
use http::StatusCode;
use http::header::{self, HeaderMap};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::body_buffer::FixedBuffer;
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session;
use pingora::protocols::http::date::get_cached_date;
use pingora::protocols::http::v1::client::http_req_header_to_wire;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::{Digest, SocketDigest};
use pingora::{Error, ErrorType, Result};

use super::answer::{Answer, Unsent};
use super::body::{Incoming, Unread};
use crate::alarm::{Alarm, Timer};
use crate::client::Client;
use crate::hygiene::strip_http1;
use crate::interim::INTERIM_MAX;

/// How long a client may send nothing of a body, unless the tier says otherwise. Here that is for the least rate to see to.
const BODY_TIME_MAX: Duration = Duration::from_secs(60);

/// The bytes of a request's body kept to send it to another upstream.
const RETRY_BYTES_MAX: usize = 64 * 1024;

type Messages = Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>;

/// A request, and what has been answered to it.
pub(super) struct H3Session {
    request: RequestHeader,
    body: Incoming,
    body_read: usize,
    /// What was read of the body, for another try.
    retry: Option<FixedBuffer>,
    answer: Answer,
    /// A step of the answer that is still to be begun, and whether the answer ends with what waits of it.
    task: Option<HttpTask>,
    ends: bool,
    /// Interim heads sent.
    interim: usize,
    written: Option<Box<ResponseHeader>>,
    body_sent: usize,
    digest: Digest,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    drain_timeout: Option<Duration>,
}

impl H3Session {
    pub(super) fn new(request: RequestHeader, body: Incoming, answer: Answer, client: &Client) -> Self {
        Self {
            request,
            body,
            body_read: 0,
            retry: None,
            answer,
            task: None,
            ends: false,
            interim: 0,
            written: None,
            body_sent: 0,
            digest: digest(client),
            read_timeout: Some(BODY_TIME_MAX),
            write_timeout: None,
            drain_timeout: None,
        }
    }

    /// Begins with the head, which has the `Date` it comes with.
    fn give_head(&mut self, mut head: Box<ResponseHeader>) -> Result<()> {
        if self.answer.is_ended() || self.written.is_some() {
            return Ok(());
        }
        let is_interim = head.status.is_informational();
        // There is no 101 in HTTP/3 (RFC 9114 section 4.5), and a bound on the number of the others.
        if is_interim && (head.status == StatusCode::SWITCHING_PROTOCOLS || self.interim == INTERIM_MAX) {
            return Ok(());
        }
        if !is_interim {
            // The first of several, as over HTTP/1.1: an answer has one date (RFC 9110 section 5.3).
            let date = head.headers.get(header::DATE).cloned().unwrap_or_else(get_cached_date);
            head.insert_header(header::DATE, date)?;
        }
        let mut headers = head.headers.clone();
        strip_http1(&mut headers);
        if is_interim {
            headers.remove(header::CONTENT_LENGTH);
            self.interim += 1;
        }
        self.answer.give_head(head.status, &headers);
        if !is_interim {
            self.written = Some(head);
        }
        Ok(())
    }

    fn give_body(&mut self, data: Bytes) -> Result<()> {
        if self.answer.is_ended() {
            return Ok(());
        }
        if self.written.is_none() {
            return Error::e_explain(ErrorType::InternalError, "a body before its head");
        }
        self.body_sent += data.len();
        self.answer.give_data(data);
        Ok(())
    }

    fn give_trailers(&mut self, mut trailers: HeaderMap) -> Result<()> {
        if self.answer.is_ended() {
            return Ok(());
        }
        if self.written.is_none() {
            return Error::e_explain(ErrorType::InternalError, "trailers before the head");
        }
        strip_http1(&mut trailers);
        self.answer.give_trailers(&trailers);
        Ok(())
    }

    /// Begins with a step of an answer, which [`H3Session::flush`] ends. Whether the answer ends with it.
    fn give(&mut self, task: HttpTask) -> Result<bool> {
        let end = match task {
            HttpTask::Header(head, end) => self.give_head(head).map(|()| end),
            HttpTask::Body(Some(data), end) if !data.is_empty() => self.give_body(data).map(|()| end),
            HttpTask::Body(_, end) => Ok(end),
            HttpTask::UpgradedBody(..) => Error::e_explain(ErrorType::InternalError, "an upgraded body over HTTP/3"),
            HttpTask::Trailer(Some(trailers)) => self.give_trailers(*trailers).map(|()| true),
            HttpTask::Trailer(None) | HttpTask::Done => Ok(true),
            HttpTask::Failed(error) => Err(error),
        }?;
        self.ends |= end;
        Ok(end)
    }

    /// Begins with the step that waits, if there is one.
    fn begin(&mut self) -> Result<bool> {
        let Some(task) = self.task.take() else { return Ok(false) };
        self.give(task)?;
        if self.ends && !self.answer.is_waiting() {
            self.end();
        }
        Ok(true)
    }

    /// Writes what waits of the answer, and its end if that is all.
    async fn flush(&mut self) -> Result<()> {
        self.answer.flush().await.map_err(unsent)?;
        if self.ends {
            self.end();
        }
        Ok(())
    }

    async fn write(&mut self, task: HttpTask) -> Result<bool> {
        let end = self.give(task)?;
        self.flush().await?;
        Ok(end)
    }

    /// Ends the answer properly. One without head is reset when the session is dropped.
    fn end(&mut self) {
        if self.written.is_some() {
            self.answer.end();
        }
    }

    async fn drain(&mut self) -> Result<()> {
        while self.read_body_bytes().await?.is_some() {}
        Ok(())
    }
}

/// The connection, as the filters of Pingora's sessions ask for it.
fn digest(client: &Client) -> Digest {
    let socket = SocketDigest::from_raw_fd(-1);
    // New cells take what they are given.
    let _ = socket.peer_addr.set(Some(client.address.into()));
    let _ = socket.local_addr.set(Some(client.local.into()));
    let ssl = client
        .secured
        .as_ref()
        .map(|secured| std::sync::Arc::new(pingora::protocols::tls::SslDigest::new("", secured.version, None, None, Vec::new())));
    Digest { ssl_digest: ssl, timing_digest: Vec::new(), proxy_digest: None, socket_digest: Some(std::sync::Arc::new(socket)) }
}

fn unsent(why: Unsent) -> Box<Error> {
    match why {
        Unsent::TooSlow => Error::explain(ErrorType::WriteTimedout, "the client takes the answer too slowly"),
        Unsent::Left(error) => Error::because(ErrorType::WriteError, "writing an answer", error),
    }
    .into_down()
}

fn unread(why: Unread) -> Box<Error> {
    match why {
        Unread::TooSlow => Error::explain(ErrorType::ReadTimedout, "the client sends the body too slowly"),
        Unread::Left(error) => Error::because(ErrorType::ReadError, "reading the body of a request", error),
        Unread::TooLong => Error::explain(ErrorType::HTTPStatus(413), "the body of a request is too long"),
        Unread::Malformed | Unread::NoHead => Error::explain(ErrorType::ReadError, "the body of a request is not what its head says"),
        Unread::Frames(fault) => Error::explain(ErrorType::ReadError, format!("the frames of a request are wrong: {fault:?}")),
    }
    .into_down()
}

impl H3Session {
    /// The next piece of the request's body. One of unknown length, as those of calls both ways, has no least rate where the tier has times of its own
    /// for it.
    async fn read(&mut self) -> Result<Option<Bytes>> {
        let paced = self.read_timeout.is_some() || self.request.headers.contains_key(header::CONTENT_LENGTH);
        let read = self.body.next(paced).await;
        self.took(read)
    }

    fn took(&mut self, read: Result<Option<Bytes>, Unread>) -> Result<Option<Bytes>> {
        let read = read.map_err(|why| {
            if let Some(refusal) = why.refusal() {
                self.request.extensions_mut().insert(refusal);
            }
            // A request that is malformed gets no answer that looks like one.
            if matches!(why, Unread::Malformed) {
                self.answer.reset(Code::H3_MESSAGE_ERROR);
            }
            unread(why)
        })?;
        if let Some(data) = &read {
            self.body_read += data.len();
            if let Some(retry) = &mut self.retry {
                retry.write_to_buffer(data);
            }
        }
        Ok(read)
    }

    /// The next piece of the request's body; where there is none, the word that the client left. Meanwhile what waits of the answer is written: an
    /// empty piece says that nothing waits any longer.
    async fn read_and_flush(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        if self.begin()? && !self.answer.is_waiting() {
            return Ok(Some(Bytes::new()));
        }
        let wants_body = !no_body_expected && !self.is_body_done();
        if self.answer.is_waiting() {
            let paced = self.read_timeout.is_some() || self.request.headers.contains_key(header::CONTENT_LENGTH);
            let Self { body, answer, .. } = self;
            let read = tokio::select! {
                biased;
                flushed = answer.flush() => Err(flushed),
                read = body.next(paced), if wants_body => Ok(read),
            };
            return match read {
                Ok(read) => self.took(read),
                Err(flushed) => {
                    flushed.map_err(unsent)?;
                    self.flush().await.map(|()| Some(Bytes::new()))
                }
            };
        }
        if wants_body {
            return self.read().await;
        }
        self.answer.gone().await;
        Error::e_explain(ErrorType::ConnectionClosed, "the client gave up").map_err(|error| error.into_down())
    }
}

#[async_trait]
impl Session for H3Session {
    fn req_header(&self) -> &RequestHeader {
        &self.request
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        &mut self.request
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        self.read().await
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        if self.is_body_done() {
            return Ok(());
        }
        match self.drain_timeout {
            None => self.drain().await,
            Some(time) => match tokio::time::timeout(time, self.drain()).await {
                Ok(drained) => drained,
                Err(_) => Error::e_explain(ErrorType::ReadTimedout, "draining the body of a request"),
            },
        }
    }

    async fn write_response_header(&mut self, head: Box<ResponseHeader>, end: bool) -> Result<()> {
        self.write(HttpTask::Header(head, end)).await.map(drop)
    }

    async fn write_response_header_ref(&mut self, head: &ResponseHeader, end: bool) -> Result<()> {
        self.write(HttpTask::Header(Box::new(head.clone()), end)).await.map(drop)
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.write(HttpTask::Body(Some(data), end)).await.map(drop)
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.write(HttpTask::Trailer(Some(Box::new(trailers)))).await.map(drop)
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let mut end = false;
        for task in tasks {
            end |= match task {
                // An error of upstream's, handed through.
                HttpTask::Failed(error) => return Err(error),
                task => self.write(task).await.map_err(|error| error.into_down())?,
            };
        }
        if end {
            self.end();
        }
        Ok(end)
    }

    /// Takes one step at a time, which [`Session::read_body_or_idle`] writes as well while it waits for the client.
    fn send_proxy_task(&mut self, task: HttpTask) {
        self.task = Some(task);
    }

    fn has_pending_proxy_tasks(&self) -> bool {
        self.task.is_some() || self.answer.is_waiting()
    }

    async fn write_proxy_tasks(&mut self) -> Result<bool> {
        self.begin()?;
        self.flush().await?;
        Ok(self.answer.is_ended())
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.read_timeout = timeout;
    }

    /// What was set. The least rate of a client bounds how long it is waited for.
    fn get_read_timeout(&self) -> Option<Duration> {
        self.read_timeout
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.write_timeout = timeout;
    }

    /// What was set. The least rate of a client bounds how long it is waited for.
    fn get_write_timeout(&self) -> Option<Duration> {
        self.write_timeout
    }

    fn set_total_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.drain_timeout = timeout;
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.drain_timeout
    }

    fn request_summary(&self) -> String {
        format!("{} {}", self.request.method, self.request.uri)
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.written.as_deref()
    }

    async fn shutdown(&mut self, _code: u32, _context: &str) {
        self.answer.reset(Code::H3_INTERNAL_ERROR);
    }

    fn is_body_done(&mut self) -> bool {
        self.is_body_empty() || self.body.is_done()
    }

    async fn finish(&mut self) -> Result<()> {
        self.end();
        Ok(())
    }

    fn is_body_empty(&mut self) -> bool {
        self.body.is_known_empty()
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        let alarm = self.request.extensions.get::<Arc<Alarm>>().cloned().unwrap_or_default();
        let mut timer = Timer::default();
        tokio::select! {
            biased;
            read = self.read_and_flush(no_body_expected) => read,
            () = std::future::poll_fn(|cx| alarm.poll(&mut timer, cx)) => {
                Error::e_explain(ErrorType::ReadTimedout, "the alarm rang").map_err(|error| error.into_down())
            }
        }
    }

    fn body_bytes_sent(&self) -> usize {
        self.body_sent
    }

    fn body_bytes_read(&self) -> usize {
        self.body_read
    }

    fn digest(&self) -> Option<&Digest> {
        Some(&self.digest)
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        Some(&mut self.digest)
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.digest.socket_digest.as_ref()?.peer_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.digest.socket_digest.as_ref()?.local_addr()
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        http_req_header_to_wire(&self.request).map(bytes::BytesMut::freeze).unwrap_or_default()
    }

    fn enable_retry_buffering(&mut self) {
        self.retry.get_or_insert_with(|| FixedBuffer::new(RETRY_BYTES_MAX));
    }

    fn retry_buffer_truncated(&self) -> bool {
        self.retry.as_ref().is_some_and(FixedBuffer::is_truncated)
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        self.retry.as_ref().filter(|retry| !retry.is_truncated())?.get_buffer()
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(&mut self) -> Option<Messages> {
        None
    }

    fn restore_custom_message_reader(&mut self, _reader: Messages) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(&mut self, _writer: Box<dyn CustomMessageWrite>) -> Result<()> {
        Ok(())
    }
}
