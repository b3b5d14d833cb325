//! One stream of an HTTP/2 or HTTP/3 connection, as Pingora takes a session that is not its own, or with a client that waits for an answer of the
//! tier's (`asker`).
//!
//! What is the same over both is here: the heads of an answer and their `Date`, the order of its steps, what is kept of a request for another try,
//! and that what waits of an answer is written while more of the request is read. What is not is behind [`Coming`] and [`Going`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderMap};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::body_buffer::FixedBuffer;
use pingora::protocols::http::date::get_cached_date;
use pingora::{Error, ErrorType, Result};

use crate::alarm::Alarm;
use crate::door::LINGER_BYTES_MAX;
use crate::head::Refusal;
use crate::hygiene::strip_http1;
use crate::interim::INTERIM_MAX;
use crate::session::Trailers;

mod asker;
mod session;

pub(crate) use asker::Waiting;

/// The bytes of a request's body kept to send it to another upstream.
const RETRY_BYTES_MAX: usize = 64 * 1024;
/// The time for a read that Pingora is told of. Any will do: only whether there is one makes a difference here, see [`StreamSession::is_paced`].
const READ_TIME: Duration = Duration::from_secs(60);

/// Why no more of a request is read.
pub(crate) enum Unread {
    /// It breaks a rule or a bound.
    Refused(Refusal),
    /// The client gave it up, or its connection is at an end.
    Broken(Box<Error>),
}

/// The request's side of a stream, behind the head.
pub(crate) trait Coming: Send + Sync + Unpin + 'static {
    /// The next piece of the body; `None` at its end. With `paced` the client has to send at the least rate. What is given up in between is not lost.
    fn next(&mut self, paced: bool) -> impl Future<Output = Result<Option<Bytes>, Unread>> + Send;

    /// The trailers, once the body has ended, if the protocol hands them on.
    fn trailers(&mut self) -> impl Future<Output = Result<Option<HeaderMap>, Unread>> + Send;

    /// Whether nothing more of the body comes.
    fn is_done(&self) -> bool;

    /// Whether there is no body, as far as is known.
    fn is_empty(&self) -> bool;
}

/// The answer's side of a stream. What it is given waits for [`Going::flush`] where it needs the client's windows.
pub(crate) trait Going: Send + Sync + Unpin + 'static {
    /// Takes a head; `end` says that nothing follows.
    fn give_head(&mut self, status: StatusCode, headers: HeaderMap, end: bool) -> Result<()>;

    /// Takes a piece of the body, which is not empty; `end` says that nothing follows.
    fn give_data(&mut self, data: Bytes, end: bool);

    /// Takes what an answer ends with.
    fn give_trailers(&mut self, trailers: HeaderMap) -> Result<()>;

    /// Whether something waits to be written.
    fn is_waiting(&self) -> bool;

    /// Writes what waits, as the client takes it. What is given up in between goes on with the next call.
    fn flush(&mut self) -> impl Future<Output = Result<()>> + Send;

    /// Ends the answer properly, if it has not ended.
    fn end(&mut self) -> Result<()>;

    /// Whether the end was written, or the stream reset.
    fn is_ended(&self) -> bool;

    /// Cuts the answer off, unless it is whole; `malformed` says that the request is.
    fn cut(&mut self, malformed: bool);

    /// Waits until the client gives the answer up.
    fn gone(&mut self) -> impl Future<Output = ()> + Send;

    /// Bytes of the body written.
    fn sent(&self) -> usize;
}

/// A request, and what has been answered to it.
pub(crate) struct StreamSession<C, G> {
    request: RequestHeader,
    coming: C,
    going: G,
    /// Whether the request says how long its body is.
    told: bool,
    /// Bytes of the body that were read, and what was kept of them for another try.
    read: usize,
    retry: Option<FixedBuffer>,
    /// A step of the answer that is still to be begun, and whether the answer ends with what was begun.
    task: Option<HttpTask>,
    ends: bool,
    /// Interim heads given, and the final one.
    interim: usize,
    head: Option<Box<ResponseHeader>>,
    digest: Arc<Digest>,
    /// Ends what is passed through and takes too long.
    alarm: Arc<Alarm>,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    drain_timeout: Option<Duration>,
}

impl<C: Coming, G: Going> StreamSession<C, G> {
    /// The alarm, if there is one, is among the extensions of the request.
    pub(crate) fn new(request: RequestHeader, coming: C, going: G, digest: Arc<Digest>) -> Self {
        Self {
            told: request.headers.contains_key(header::CONTENT_LENGTH),
            alarm: request.extensions.get::<Arc<Alarm>>().cloned().unwrap_or_default(),
            request,
            coming,
            going,
            read: 0,
            retry: None,
            task: None,
            ends: false,
            interim: 0,
            head: None,
            digest,
            read_timeout: Some(READ_TIME),
            write_timeout: None,
            drain_timeout: None,
        }
    }

    /// Whether the client has to send at the least rate. A body of unknown length, as those of calls both ways, need not where the tier has times of its
    /// own for it and so takes Pingora's away.
    fn is_paced(&self) -> bool {
        self.told || self.read_timeout.is_some()
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        let read = self.coming.next(self.is_paced()).await;
        self.took(read).await
    }

    /// Takes note of what was read. Behind the body come the trailers, which go among the extensions of the request.
    async fn took(&mut self, read: Result<Option<Bytes>, Unread>) -> Result<Option<Bytes>> {
        let read = match read {
            // What was refused once is not handed on later.
            Ok(_) if let Some(refusal) = self.request.extensions.get().copied() => Err(Unread::Refused(refusal)),
            Ok(None) => self.coming.trailers().await.map(|trailers| {
                if let Some(trailers) = trailers {
                    self.request.extensions_mut().insert(Trailers(trailers));
                }
                None
            }),
            read => read,
        };
        let read = read.map_err(|why| match why {
            Unread::Broken(error) => error.into_down(),
            Unread::Refused(refusal) => self.refused(refusal),
        })?;
        if let Some(data) = &read {
            self.read += data.len();
            if let Some(retry) = &mut self.retry {
                retry.write_to_buffer(data);
            }
        }
        Ok(read)
    }

    fn refused(&mut self, refusal: Refusal) -> Box<Error> {
        self.request.extensions_mut().insert(refusal);
        match refusal {
            Refusal::BodyLength => Error::explain(ErrorType::HTTPStatus(413), "the body of a request is too long"),
            Refusal::BodyTime => Error::explain(ErrorType::ReadTimedout, "the client sends the body too slowly"),
            _ => {
                // A request that is malformed gets no answer that looks like one.
                self.going.cut(true);
                Error::explain(ErrorType::ReadError, "the body of a request is not what its head says")
            }
        }
        .into_down()
    }

    /// Begins with a step of an answer, which [`StreamSession::flush`] ends. Whether the answer ends with it.
    fn give(&mut self, task: HttpTask) -> Result<bool> {
        let end = match task {
            HttpTask::Header(head, end) => self.give_head(head, end).map(|()| end),
            HttpTask::Body(Some(data), end) if !data.is_empty() => self.give_body(data, end).map(|()| end),
            HttpTask::Body(_, end) => Ok(end),
            HttpTask::UpgradedBody(..) => Error::e_explain(ErrorType::InternalError, "an upgraded body on a stream"),
            HttpTask::Trailer(Some(trailers)) => self.give_trailers(*trailers).map(|()| true),
            HttpTask::Trailer(None) | HttpTask::Done => Ok(true),
            HttpTask::Failed(error) => Err(error),
        }?;
        self.ends |= end;
        Ok(end)
    }

    /// Begins with the final head, which has the `Date` it comes with, or with an interim one.
    fn give_head(&mut self, mut head: Box<ResponseHeader>, end: bool) -> Result<()> {
        if self.going.is_ended() || self.head.is_some() {
            return Ok(());
        }
        if head.status.is_informational() {
            return self.give_interim(&head);
        }
        // The first of several, as over HTTP/1.1: an answer has one date (RFC 9110 section 5.3).
        let date = head.headers.get(header::DATE).cloned().unwrap_or_else(get_cached_date);
        head.insert_header(header::DATE, date)?;
        let mut headers = head.headers.clone();
        strip_http1(&mut headers);
        self.going.give_head(head.status, headers, end)?;
        self.head = Some(head);
        Ok(())
    }

    /// There is no 101 on a stream (RFC 9113 section 8.6, RFC 9114 section 4.5), and heads wait in memory until the client reads them, so that there is
    /// a bound on the number of the others.
    fn give_interim(&mut self, head: &ResponseHeader) -> Result<()> {
        if head.status == StatusCode::SWITCHING_PROTOCOLS || self.interim == INTERIM_MAX {
            return Ok(());
        }
        self.interim += 1;
        let mut headers = head.headers.clone();
        strip_http1(&mut headers);
        headers.remove(header::CONTENT_LENGTH);
        self.going.give_head(head.status, headers, false)
    }

    fn give_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        if self.going.is_ended() {
            return Ok(());
        }
        if self.head.is_none() {
            return Error::e_explain(ErrorType::InternalError, "a body before its head");
        }
        self.going.give_data(data, end);
        Ok(())
    }

    fn give_trailers(&mut self, mut trailers: HeaderMap) -> Result<()> {
        if self.going.is_ended() {
            return Ok(());
        }
        if self.head.is_none() {
            return Error::e_explain(ErrorType::InternalError, "trailers before the head");
        }
        strip_http1(&mut trailers);
        self.going.give_trailers(trailers)
    }

    /// Begins with the step that waits, if there is one.
    fn begin(&mut self) -> Result<bool> {
        let Some(task) = self.task.take() else { return Ok(false) };
        self.give(task)?;
        if self.ends && !self.going.is_waiting() {
            self.end()?;
        }
        Ok(true)
    }

    /// Writes what waits of the answer, and its end if that is all.
    async fn flush(&mut self) -> Result<()> {
        self.going.flush().await?;
        if self.ends { self.end() } else { Ok(()) }
    }

    async fn write(&mut self, task: HttpTask) -> Result<bool> {
        if let HttpTask::Failed(error) = task {
            // An error of upstream's is handed through as it is.
            return Err(error);
        }
        let end = self.give(task).map_err(|error| error.into_down())?;
        self.flush().await.map_err(|error| error.into_down())?;
        Ok(end)
    }

    /// Ends the answer properly. One without head is reset when the session is dropped.
    fn end(&mut self) -> Result<()> {
        if self.head.is_some() { self.going.end() } else { Ok(()) }
    }

    /// Takes what still comes of the request, refused or not, and throws it away: at most [`LINGER_BYTES_MAX`] of it, as nothing depends on more.
    async fn drain(&mut self) -> Result<()> {
        let mut taken = 0;
        while taken <= LINGER_BYTES_MAX {
            match self.coming.next(self.is_paced()).await {
                Ok(Some(data)) => taken += data.len(),
                end => return self.took(end).await.map(drop),
            }
        }
        Ok(())
    }

    /// The next piece of the request's body; where there is none, the word that the client gave up. Meanwhile what waits of the answer is written:
    /// an empty piece says that nothing waits any longer.
    async fn read_and_flush(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        if self.begin()? && !self.going.is_waiting() {
            return Ok(Some(Bytes::new()));
        }
        let wants_body = !no_body_expected && !self.coming.is_done();
        if self.going.is_waiting() {
            let paced = self.is_paced();
            let Self { coming, going, .. } = self;
            let read = tokio::select! {
                biased;
                flushed = going.flush() => Err(flushed),
                read = coming.next(paced), if wants_body => Ok(read),
            };
            return match read {
                Ok(read) => self.took(read).await,
                Err(flushed) => {
                    flushed?;
                    self.flush().await.map(|()| Some(Bytes::new()))
                }
            };
        }
        if wants_body {
            return self.next().await;
        }
        self.going.gone().await;
        Error::e_explain(ErrorType::ConnectionClosed, "the client gave up")
    }
}
