//! One stream of an HTTP/2 connection, as Pingora takes a session that is not its own.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use h2::RecvStream;
use h2::server::SendResponse;
use http::header::HeaderMap;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session;
use pingora::protocols::http::v1::client::http_req_header_to_wire;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::{Error, ErrorType, Result};
use skerry_config::process::Limits;

use super::coming::{Coming, Unread};
use super::going::Going;
use crate::alarm::{Alarm, Timer};
use crate::head::Refusal;
use crate::session::Trailers;

type Messages = Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>;

/// A request, and what has been answered to it.
pub(super) struct H2Session {
    request: RequestHeader,
    coming: Coming,
    going: Going,
    /// A step of the answer that is still to be begun.
    task: Option<HttpTask>,
    digest: Arc<Digest>,
    /// Ends what is passed through and takes too long.
    alarm: Arc<Alarm>,
    drain_timeout: Option<Duration>,
}

/// `None` when it takes longer than this.
pub(super) async fn in_time<F: Future>(time: Option<Duration>, step: F) -> Option<F::Output> {
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
        let coming = Coming::new(request_body, &request, limits);
        Self { request, coming, going: Going::new(answer, limits.rate_min.0), task: None, digest, alarm, drain_timeout: None }
    }

    /// Takes note of what was read. Behind the body come the trailers, which go among the extensions of the request.
    async fn took(&mut self, read: Result<Option<Bytes>, Unread>) -> Result<Option<Bytes>> {
        let read = match read {
            Ok(None) => self.coming.trailers().await.map(|trailers| {
                if let Some(trailers) = trailers {
                    self.request.extensions_mut().insert(Trailers(trailers));
                }
                None
            }),
            read => read,
        };
        read.map_err(|why| match why {
            Unread::Broken(error) => Error::because(ErrorType::ReadError, "reading the body of a request", error),
            Unread::Refused(refusal) => {
                self.request.extensions_mut().insert(refusal);
                match refusal {
                    Refusal::BodyLength => Error::explain(ErrorType::HTTPStatus(413), "the body of a request is too long").into_down(),
                    _ => Error::explain(ErrorType::ReadTimedout, "reading the body of a request"),
                }
            }
        })
    }

    /// The next piece of the request's body; where there is none, the word that the client gave up. Meanwhile what waits of the answer is written:
    /// an empty piece says that nothing waits any longer.
    async fn read_and_flush(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        if self.begin()? && !self.going.is_waiting() {
            return Ok(Some(Bytes::new()));
        }
        let wants_body = !no_body_expected && !self.coming.is_done();
        let Self { coming, going, .. } = self;
        if going.is_waiting() {
            let read = tokio::select! {
                biased;
                flushed = going.flush() => return flushed.map(|()| Some(Bytes::new())).map_err(|error| error.into_down()),
                read = coming.next(), if wants_body => read,
            };
            return self.took(read).await;
        }
        if wants_body {
            let read = coming.next().await;
            return self.took(read).await;
        }
        let reason = going.reset_by_client().await?;
        Error::e_explain(ErrorType::H2Error, format!("the client gave up: {reason}"))
    }

    /// Begins with the step that waits, if there is one.
    fn begin(&mut self) -> Result<bool> {
        let Some(task) = self.task.take() else { return Ok(false) };
        if self.going.begin(task)? && !self.going.is_waiting() {
            self.going.end()?;
        }
        Ok(true)
    }

    async fn drain(&mut self) -> Result<()> {
        while self.read_body_bytes().await?.is_some() {}
        Ok(())
    }

    async fn write_task(&mut self, task: HttpTask) -> Result<bool> {
        let end = self.going.begin(task)?;
        self.going.flush().await?;
        Ok(end)
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
        let read = self.coming.next().await;
        self.took(read).await
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
        self.going.send_head(head, end)
    }

    async fn write_response_header_ref(&mut self, head: &ResponseHeader, end: bool) -> Result<()> {
        self.going.send_head(Box::new(head.clone()), end)
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.going.send_body(data, end).await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.going.send_trailers(trailers)
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
            self.going.end().map_err(|error| error.into_down())?;
        }
        Ok(end)
    }

    /// Takes one step at a time, which [`Session::read_body_or_idle`] writes as well while it waits for the client.
    fn send_proxy_task(&mut self, task: HttpTask) {
        self.task = Some(task);
    }

    fn has_pending_proxy_tasks(&self) -> bool {
        self.task.is_some() || self.going.is_waiting()
    }

    async fn write_proxy_tasks(&mut self) -> Result<bool> {
        self.begin().map_err(|error| error.into_down())?;
        self.going.flush().await.map_err(|error| error.into_down())?;
        Ok(self.going.is_ended())
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.coming.timeout = timeout;
    }

    fn get_read_timeout(&self) -> Option<Duration> {
        self.coming.timeout
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.going.timeout = timeout;
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.going.timeout
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
        self.going.head()
    }

    async fn shutdown(&mut self, _code: u32, _context: &str) {
        self.going.reset();
    }

    fn is_body_done(&mut self) -> bool {
        self.coming.is_done()
    }

    async fn finish(&mut self) -> Result<()> {
        self.going.end()
    }

    fn is_body_empty(&mut self) -> bool {
        self.coming.is_empty()
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        let alarm = Arc::clone(&self.alarm);
        let mut timer = Timer::default();
        tokio::select! {
            biased;
            read = self.read_and_flush(no_body_expected) => read,
            () = std::future::poll_fn(|cx| alarm.poll(&mut timer, cx)) => Error::e_explain(ErrorType::ReadTimedout, "the alarm rang"),
        }
    }

    fn body_bytes_sent(&self) -> usize {
        self.going.sent()
    }

    fn body_bytes_read(&self) -> usize {
        self.coming.read()
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
        self.coming.keep();
    }

    fn retry_buffer_truncated(&self) -> bool {
        self.coming.outgrew()
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        self.coming.kept()
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
