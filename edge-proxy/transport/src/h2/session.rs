//! One stream of an HTTP/2 connection, as Pingora takes a session that is not its own.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::{self, HeaderMap, HeaderName};
use http::{Response, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::body_buffer::FixedBuffer;
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session;
use pingora::protocols::http::date::get_cached_date;
use pingora::protocols::http::v1::client::http_req_header_to_wire;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::{Error, ErrorType, OrErr, Result};
use skerry_config::process::Limits;

use super::pace::Pace;
use crate::alarm::{Alarm, Timer};
use crate::head::Refusal;
use crate::interim::INTERIM_MAX;

/// The bytes of a request's body kept to send it to another upstream.
const RETRY_BYTES_MAX: usize = 64 * 1024;

/// How long a client may send nothing of a body while it is waited for.
pub(super) const BODY_TIME_MAX: Duration = Duration::from_secs(60);

/// Fields that HTTP/2 has no place for (RFC 9113 section 8.2.2).
const OF_HTTP1: [HeaderName; 5] = [
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

type Messages = Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>;

/// A request, and what has been answered to it.
pub(super) struct H2Session {
    request: RequestHeader,
    request_body: RecvStream,
    body_read: usize,
    /// The longest body of a request, in bytes.
    body_max: u64,
    /// How the client sends, and how it takes.
    coming: Pace,
    going: Pace,
    /// What was read of the body, for another try.
    retry: Option<FixedBuffer>,
    answer: SendResponse<Bytes>,
    /// Interim heads sent.
    interim: usize,
    written: Option<Box<ResponseHeader>>,
    answer_body: Option<SendStream<Bytes>>,
    body_sent: usize,
    /// Whether the end of the stream was sent.
    ended: bool,
    digest: Arc<Digest>,
    /// Ends what is passed through and takes too long.
    alarm: Arc<Alarm>,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    drain_timeout: Option<Duration>,
}

/// `None` when it takes longer than this.
async fn in_time<F: Future>(time: Option<Duration>, step: F) -> Option<F::Output> {
    match time {
        None => Some(step.await),
        Some(time) => tokio::time::timeout(time, step).await.ok(),
    }
}

impl H2Session {
    pub(super) fn new(
        request: RequestHeader,
        request_body: RecvStream,
        answer: SendResponse<Bytes>,
        digest: Arc<Digest>,
        limits: &Limits,
    ) -> Self {
        let alarm = request.extensions.get::<Arc<Alarm>>().cloned().unwrap_or_default();
        Self {
            request,
            request_body,
            body_read: 0,
            body_max: if limits.body.0 == 0 { u64::MAX } else { limits.body.0 },
            coming: Pace::new(limits.rate_min.0),
            going: Pace::new(limits.rate_min.0),
            retry: None,
            answer,
            interim: 0,
            written: None,
            answer_body: None,
            body_sent: 0,
            ended: false,
            digest,
            alarm,
            read_timeout: Some(BODY_TIME_MAX),
            write_timeout: None,
            drain_timeout: None,
        }
    }

    /// Sends the head, with the `Date` it has.
    fn send_head(&mut self, mut head: Box<ResponseHeader>, end: bool) -> Result<()> {
        if self.ended || self.written.is_some() {
            return Ok(());
        }
        if head.status.is_informational() {
            return self.send_interim(head);
        }
        // The first of several, as over HTTP/1.1: an answer has one date (RFC 9110 section 5.3).
        let date = head.headers.get(header::DATE).cloned().unwrap_or_else(get_cached_date);
        head.insert_header(header::DATE, date)?;
        for name in &OF_HTTP1 {
            head.remove_header(name);
        }
        let message = Response::from_parts(head.as_owned_parts(), ());
        let body = self.answer.send_response(message, end).or_err(ErrorType::WriteError, "writing the head of an answer")?;
        self.answer_body = Some(body);
        self.written = Some(head);
        self.ended = end;
        Ok(())
    }

    /// Sends an interim head. There is no 101 in HTTP/2 (RFC 9113 section 8.6). Heads wait in memory until the client reads them, so that there
    /// is a bound on their number.
    fn send_interim(&mut self, mut head: Box<ResponseHeader>) -> Result<()> {
        if head.status == StatusCode::SWITCHING_PROTOCOLS || self.interim == INTERIM_MAX {
            return Ok(());
        }
        for name in OF_HTTP1.iter().chain(&[header::CONTENT_LENGTH]) {
            head.remove_header(name);
        }
        let message = Response::from_parts(head.as_owned_parts(), ());
        self.answer.send_informational(message).or_err(ErrorType::WriteError, "writing an interim head")?;
        self.interim += 1;
        Ok(())
    }

    async fn send_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        if self.ended {
            return Ok(());
        }
        let length = data.len();
        self.write_data(data, end).await.map_err(|error| error.into_down())?;
        self.body_sent += length;
        self.ended = end;
        Ok(())
    }

    /// Writes as the client's windows allow it.
    async fn write_data(&mut self, mut data: Bytes, end: bool) -> Result<()> {
        let Some(writer) = self.answer_body.as_mut() else {
            return Error::e_explain(ErrorType::H2Error, "a body before its head");
        };
        while !data.is_empty() {
            writer.reserve_capacity(data.len());
            let room = match writer.capacity() {
                0 => {
                    let more = in_time(self.write_timeout, std::future::poll_fn(|cx| writer.poll_capacity(cx)));
                    match self.going.wait(more).await {
                        Ok(Some(Some(room))) => room.or_err(ErrorType::WriteError, "writing the body of an answer")?,
                        Ok(Some(None)) => return Error::e_explain(ErrorType::ConnectionClosed, "the client gave up"),
                        Ok(None) | Err(_) => return Error::e_explain(ErrorType::WriteTimedout, "the client takes the body too slowly"),
                    }
                }
                room => room,
            };
            let piece = data.split_to(room.min(data.len()));
            self.going.moved(piece.len());
            let last = end && data.is_empty();
            writer.send_data(piece, last).or_err(ErrorType::WriteError, "writing the body of an answer")?;
        }
        Ok(())
    }

    fn send_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        if self.ended {
            return Ok(());
        }
        let Some(writer) = self.answer_body.as_mut() else {
            return Error::e_explain(ErrorType::H2Error, "trailers before the head");
        };
        writer.send_trailers(trailers).or_err(ErrorType::WriteError, "writing trailers")?;
        self.ended = true;
        Ok(())
    }

    /// Ends the answer properly. One without head is reset when the session is dropped.
    fn end(&mut self) -> Result<()> {
        if !self.ended
            && let Some(writer) = self.answer_body.as_mut()
        {
            writer.send_data(Bytes::new(), true).or_err(ErrorType::WriteError, "ending an answer")?;
            self.ended = true;
        }
        Ok(())
    }

    /// Resets the stream, unless the answer is whole.
    fn reset(&mut self) {
        if !self.ended {
            self.answer.send_reset(Reason::INTERNAL_ERROR);
        }
    }

    /// Waits until the client gives the stream up.
    async fn reset_by_client(&mut self) -> Result<Reason> {
        let (answer, body) = (&mut self.answer, &mut self.answer_body);
        std::future::poll_fn(|cx| match body.as_mut() {
            Some(body) => body.poll_reset(cx),
            None => answer.poll_reset(cx),
        })
        .await
        .or_err(ErrorType::H2Error, "waiting for the client")
    }

    /// The next piece of the request's body, in the time it may take. A body of unknown length, as those of calls both ways, has no least rate where
    /// the tier has times of its own for it.
    async fn next_data(&mut self) -> Result<Option<Result<Bytes, h2::Error>>> {
        if self.read_timeout.is_none() && !self.request.headers.contains_key(header::CONTENT_LENGTH) {
            return Ok(self.request_body.data().await);
        }
        match self.coming.wait(in_time(self.read_timeout, self.request_body.data())).await {
            Ok(Some(data)) => Ok(data),
            Ok(None) | Err(_) => {
                self.request.extensions_mut().insert(Refusal::BodyTime);
                Error::e_explain(ErrorType::ReadTimedout, "reading the body of a request")
            }
        }
    }

    /// The next piece of the request's body; where there is none, the word that the client gave up.
    async fn read_or_reset(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        if !no_body_expected && !self.is_body_done() {
            return self.read_body_bytes().await;
        }
        let reason = self.reset_by_client().await?;
        Error::e_explain(ErrorType::H2Error, format!("the client gave up: {reason}"))
    }

    async fn drain(&mut self) -> Result<()> {
        while self.read_body_bytes().await?.is_some() {}
        Ok(())
    }

    async fn write_task(&mut self, task: HttpTask) -> Result<bool> {
        match task {
            HttpTask::Header(head, end) => self.send_head(head, end).map(|()| end),
            HttpTask::Body(Some(data), end) if !data.is_empty() => self.send_body(data, end).await.map(|()| end),
            HttpTask::Body(_, end) => Ok(end),
            HttpTask::UpgradedBody(..) => Error::e_explain(ErrorType::InternalError, "an upgraded body over HTTP/2"),
            HttpTask::Trailer(Some(trailers)) => self.send_trailers(*trailers).map(|()| true),
            HttpTask::Trailer(None) | HttpTask::Done => Ok(true),
            HttpTask::Failed(error) => Err(error),
        }
    }
}

#[async_trait]
impl Session for H2Session {
    fn req_header(&self) -> &RequestHeader {
        &self.request
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        &mut self.request
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        let data = self.next_data().await?.transpose().or_err(ErrorType::ReadError, "reading the body of a request")?;
        if let Some(data) = &data {
            self.body_read += data.len();
            self.coming.moved(data.len());
            if self.body_read as u64 > self.body_max {
                self.request.extensions_mut().insert(Refusal::BodyLength);
                return Error::e_explain(ErrorType::HTTPStatus(413), "the body of a request is too long")
                    .map_err(|error| error.into_down());
            }
            if let Some(retry) = &mut self.retry {
                retry.write_to_buffer(data);
            }
            let _ = self.request_body.flow_control().release_capacity(data.len());
        }
        Ok(data)
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
        self.send_head(head, end)
    }

    async fn write_response_header_ref(&mut self, head: &ResponseHeader, end: bool) -> Result<()> {
        self.send_head(Box::new(head.clone()), end)
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.send_body(data, end).await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.send_trailers(trailers)
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let mut end = false;
        for task in tasks {
            end |= match task {
                // An error of upstream's, handed through.
                HttpTask::Failed(error) => return Err(error),
                task => self.write_task(task).await.map_err(|error| error.into_down())?,
            };
        }
        if end {
            self.end().map_err(|error| error.into_down())?;
        }
        Ok(end)
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.read_timeout = timeout;
    }

    fn get_read_timeout(&self) -> Option<Duration> {
        self.read_timeout
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.write_timeout = timeout;
    }

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
        self.reset();
    }

    fn is_body_done(&mut self) -> bool {
        self.is_body_empty() || self.request_body.is_end_stream()
    }

    async fn finish(&mut self) -> Result<()> {
        self.end()
    }

    fn is_body_empty(&mut self) -> bool {
        let says_empty = || self.request.headers.get(header::CONTENT_LENGTH).is_some_and(|length| length == "0");
        self.body_read == 0 && (self.request_body.is_end_stream() || says_empty())
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        let alarm = Arc::clone(&self.alarm);
        let mut timer = Timer::default();
        tokio::select! {
            biased;
            read = self.read_or_reset(no_body_expected) => read,
            () = std::future::poll_fn(|cx| alarm.poll(&mut timer, cx)) => Error::e_explain(ErrorType::ReadTimedout, "the alarm rang"),
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
        Arc::get_mut(&mut self.digest)
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
