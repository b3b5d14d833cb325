//! Sessions of Pingora's: what is known of one, and what a tier says in it itself where it cannot pass the request through.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{StatusCode, Version};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;

use crate::alarm::Alarm;
use crate::asker::{Left, has_body};
use crate::client::Client;
use crate::door::LINGER_TIME_MAX;
use crate::h1::Handed;
use crate::head::Refusal;
use crate::interim::Interim;

/// Whether the client came over TLS.
#[must_use]
pub fn is_tls(session: &Session) -> bool {
    session.digest().is_some_and(|digest| digest.ssl_digest.is_some())
}

/// The connection of HTTP/1.1 below a session.
fn handed(session: &Session) -> Option<&Handed> {
    session.as_ref().as_http1()?.stream().as_ref().as_any().downcast_ref()
}

/// What is known of the client's connection. The sessions of HTTP/2 and HTTP/3 have it among the extensions of the request.
#[must_use]
pub fn client(session: &Session) -> Option<Arc<Client>> {
    handed(session).map(Handed::client).or_else(|| session.req_header().extensions.get()).cloned()
}

/// What ends an exchange that is passed through and takes too long.
pub(crate) fn alarm(session: &Session) -> Option<Arc<Alarm>> {
    handed(session).and_then(Handed::alarm).or_else(|| session.req_header().extensions.get()).cloned()
}

/// The client's address, without port.
#[must_use]
pub fn client_ip(session: &Session) -> Option<IpAddr> {
    if let Some(client) = client(session) {
        return Some(client.ip());
    }
    session.client_addr()?.as_inet().map(|address| address.ip().to_canonical())
}

/// Why the request's body could not be read, when that was the client's fault. The sessions of HTTP/2 and HTTP/3 leave it among the extensions of
/// the request.
#[must_use]
pub fn refusal(session: &Session) -> Option<Refusal> {
    handed(session).and_then(Handed::refusal).or_else(|| session.req_header().extensions.get().copied())
}

/// The trailers of a request, which the sessions of HTTP/2 leave among its extensions when its body has ended. Those of HTTP/3 have none.
#[derive(Clone, Debug)]
pub(crate) struct Trailers(pub(crate) HeaderMap);

/// Whether another answer follows this one (RFC 9110 section 15.2).
#[must_use]
pub fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

/// Has a client of HTTP/1.0 get no interim answers to what is passed through.
pub fn refuse_interim_to_old(session: &mut Session) {
    if session.req_header().version < Version::HTTP_11 {
        session.as_mut().set_ignore_info_resp(true);
    }
}

/// Sends interim answers ahead of the answer; a client of HTTP/1.0 gets none (RFC 9110 section 15.2).
///
/// # Errors
/// When the client left, so that nothing more can be sent.
pub async fn send_interim(session: &mut Session, interim: &[Interim]) -> Result<(), Left> {
    if session.req_header().version < Version::HTTP_11 {
        return Ok(());
    }
    for interim in interim {
        let head = head_of(interim.status(), interim.headers()).map_err(|()| Left)?;
        if session.as_mut().write_response_header(Box::new(head)).await.is_err() {
            session.shutdown().await;
            return Err(Left);
        }
    }
    Ok(())
}

/// Sends head and body. `head_only` leaves the body out, as HEAD asks for; a 204 and a 304 come with an empty one. Returns the bytes of the body sent.
///
/// # Errors
/// When the client left; nothing more can be sent.
pub async fn send(session: &mut Session, status: StatusCode, headers: &HeaderMap, body: Bytes, head_only: bool) -> Result<u64, Left> {
    let head = response_head(session, status, headers, head_only).map_err(|()| Left)?;
    keep_date(session, &head);
    let body = if head_only { Bytes::new() } else { body };
    let sent = body.len() as u64;
    let mut written = session.as_mut().write_response_header(head).await;
    if written.is_ok() && sent > 0 {
        written = session.as_mut().write_response_body(body, false).await;
    }
    if written.is_err() {
        session.shutdown().await;
        return Err(Left);
    }
    // Over HTTP/2 and HTTP/3 the end is a word of its own, which a client that has all it was told of may not wait for.
    let has_all = headers.get(header::CONTENT_LENGTH).is_some_and(|length| *length == HeaderValue::from(sent));
    match session.as_mut().finish_body().await {
        Err(_) if !has_all => Err(Left),
        _ => Ok(sent),
    }
}

/// Takes for a moment what a client goes on to send of a body that was refused: over HTTP/2 and HTTP/3 many clients look at the answer only then.
/// HTTP/1.1's front door does so itself.
pub async fn linger(session: &mut Session) {
    if handed(session).is_none() {
        // Who goes on for longer, or with more, is cut off.
        let _ = tokio::time::timeout(LINGER_TIME_MAX, session.as_mut().drain_request_body()).await;
    }
}

/// Has the head that is about to be written keep its `Date`; one without gets the time of sending (RFC 9110 section 6.6.1).
pub fn keep_date(session: &Session, head: &ResponseHeader) {
    if !is_interim(head.status)
        && let Some(connection) = handed(session)
    {
        connection.set_date(head.headers.get(header::DATE).cloned());
    }
}

fn head_of(status: StatusCode, headers: &HeaderMap) -> Result<ResponseHeader, ()> {
    let mut head = ResponseHeader::build(status, Some(headers.len() + 2)).map_err(|_| ())?;
    for (name, value) in headers {
        head.append_header(name.clone(), value.clone()).map_err(|_| ())?;
    }
    Ok(head)
}

fn response_head(session: &mut Session, status: StatusCode, headers: &HeaderMap, head_only: bool) -> Result<Box<ResponseHeader>, ()> {
    let mut head = head_of(status, headers)?;
    if has_body(status, head_only) && !headers.contains_key(header::CONTENT_LENGTH) {
        match session.req_header().version {
            Version::HTTP_11 => head.insert_header(header::TRANSFER_ENCODING, "chunked").map_err(|_| ())?,
            // There are no chunks to end it (RFC 9112 section 6.1): the end of the connection does.
            Version::HTTP_10 => session.set_keepalive(None),
            _ => {}
        }
    }
    Ok(Box::new(head))
}
