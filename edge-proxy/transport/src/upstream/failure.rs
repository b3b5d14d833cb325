//! Why upstream gave no (whole) answer.

use std::net::IpAddr;

use ipnet::IpNet;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType};

use crate::connect::CONNECT;
use crate::sound;
use crate::target::Target;

/// Why upstream gave no (whole) answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct UpstreamError {
    /// The kind.
    pub kind: UpstreamErrorKind,
    /// What happened, with the address.
    pub detail: String,
}

/// The kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamErrorKind {
    /// The name could not be resolved.
    Resolve,
    /// No address that an origin may have.
    AddressRefused,
    /// No connection.
    Connect,
    /// TLS failed.
    Tls,
    /// Nothing came in time.
    Timeout,
    /// The answer as a whole took too long.
    TooLong,
    /// What came was not HTTP.
    Protocol,
    /// The head of the answer could not be read.
    BadHead,
    /// The head of the answer was larger than [`HEAD_BYTES_MAX`](crate::sound::HEAD_BYTES_MAX) or had more than 256 fields.
    HeadTooLarge,
    /// Where the body ends was in doubt (RFC 9112 section 6.3).
    BadLength,
    /// The body came in a transfer coding nobody asked for.
    BadCoding,
    /// The chunks of the body were not well formed.
    BadChunk,
    /// 101 without an offer to change the protocol.
    Unasked101,
    /// 206 to a request without `Range`.
    Unasked206,
    /// 304 to a request without condition.
    Unasked304,
    /// The answer ended early.
    Cut,
}

/// Names in Pingora's error type, for what it has none.
const RESOLVE: &str = "resolve-failed";
const ADDRESS_REFUSED: &str = "address-refused";
pub(super) const TOO_LONG: &str = "total-timeout";

impl UpstreamError {
    /// The same for Pingora, of a target that has no address to connect to.
    pub(crate) fn into_error(self) -> Box<Error> {
        let name = match self.kind {
            UpstreamErrorKind::Resolve => ErrorType::Custom(RESOLVE),
            UpstreamErrorKind::AddressRefused => ErrorType::Custom(ADDRESS_REFUSED),
            _ => ErrorType::ConnectError,
        };
        Error::explain(name, self.detail).into_up()
    }
}

pub(super) fn is_unreachable(kind: UpstreamErrorKind) -> bool {
    matches!(kind, UpstreamErrorKind::Resolve | UpstreamErrorKind::AddressRefused | UpstreamErrorKind::Connect | UpstreamErrorKind::Tls)
}

pub(super) fn address_refused(target: &Target, ip: IpAddr, what: &str) -> UpstreamError {
    let prefix = IpNet::from(ip.to_canonical());
    let detail = format!(
        "{} leads to {ip}, which is {what}; a node connects there only with [origins] allow = [\"{prefix}\"] in its settings",
        target.label()
    );
    UpstreamError { kind: UpstreamErrorKind::AddressRefused, detail }
}

pub(super) fn connect_failure(target: &Target, peer: &HttpPeer, error: &Error) -> UpstreamError {
    let kind = match UpstreamErrorKind::of(error) {
        UpstreamErrorKind::Tls => UpstreamErrorKind::Tls,
        _ => UpstreamErrorKind::Connect,
    };
    let detail = match (kind, &error.context) {
        // It names the addresses that were tried.
        (UpstreamErrorKind::Connect, Some(why)) => format!("{} cannot be reached: {}", target.label(), why.as_str()),
        _ => format!("{} at {} cannot be reached: {}", target.label(), peer._address, of_handshake(target, error)),
    };
    UpstreamError { kind, detail }
}

pub(super) fn failure(target: &Target, peer: &HttpPeer, error: &Error) -> UpstreamError {
    let kind = UpstreamErrorKind::of(error);
    let why = error.context.as_ref().filter(|_| matches!(kind, UpstreamErrorKind::Timeout | UpstreamErrorKind::TooLong));
    let why = why.map_or(error.etype().as_str(), |why| why.as_str());
    UpstreamError { kind, detail: format!("{} at {} gave no answer: {why}", target.label(), peer._address) }
}

/// What was wrong with a handshake.
fn of_handshake(target: &Target, error: &Error) -> String {
    if *error.etype() == ErrorType::ConnectTimedout {
        return format!("the TLS handshake was not done in {:?}", target.times.tls);
    }
    // The cause beside it is only the address that was connected from.
    error.context.as_ref().map_or(error.etype().as_str(), |why| why.as_str()).to_owned()
}

impl UpstreamErrorKind {
    /// What an error of Pingora's stands for. Its kinds of error are few, so that some are told apart by what it says of them.
    pub(super) fn of(error: &Error) -> Self {
        use ErrorType::{
            BindError, ConnectError, ConnectNoRoute, ConnectRefused, ConnectTimedout, Custom, H1Error, H2Error, InvalidCert, InvalidH2,
            InvalidHTTPHeader, ReadTimedout, SocketError, TLSHandshakeFailure, TLSHandshakeTimedout, WriteTimedout,
        };
        match error.etype() {
            BindError | ConnectError | ConnectNoRoute | ConnectRefused | SocketError => Self::Connect,
            // Of a handshake: what is before it has its own name.
            ConnectTimedout | InvalidCert | TLSHandshakeFailure | TLSHandshakeTimedout => Self::Tls,
            ReadTimedout | WriteTimedout => Self::Timeout,
            InvalidHTTPHeader => Self::of_head(error),
            H1Error | H2Error | InvalidH2 => Self::Protocol,
            // Pingora's names for what is wrong with chunks, then our own.
            Custom("InvalidChunk" | "InvalidTrailerEnd") => Self::BadChunk,
            Custom(CONNECT) => Self::Connect,
            Custom(TOO_LONG) => Self::TooLong,
            Custom(RESOLVE) => Self::Resolve,
            Custom(ADDRESS_REFUSED) => Self::AddressRefused,
            Custom(own) => sound::named(own).unwrap_or(Self::Cut),
            _ => Self::Cut,
        }
    }

    /// What is wrong with a head: with a cause, its parser says so; without one, Pingora. The context beside a cause is the origin's text.
    fn of_head(mut error: &Error) -> Self {
        while let Some(inner) = error.cause.as_ref().and_then(|cause| cause.downcast_ref::<Box<Error>>()) {
            error = inner;
        }
        match (&error.cause, &error.context) {
            (Some(cause), _) if cause.to_string() == "too many headers" => Self::HeadTooLarge,
            (None, Some(said)) if said.as_str().contains("larger than") => Self::HeadTooLarge,
            (None, Some(said)) if said.as_str().contains("Content-Length") => Self::BadLength,
            _ => Self::BadHead,
        }
    }
}

/// Why a request could not be passed through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassFailure {
    /// The client is gone: nobody is there to be told.
    ClientGone,
    /// What the client sent is not HTTP.
    ClientWrong,
    /// The client sent nothing of its body for too long.
    ClientSlow,
    /// The client's body is too large.
    TooLarge,
    /// Upstream gave no answer.
    Upstream(UpstreamErrorKind),
}

impl PassFailure {
    /// What an error of Pingora's stands for.
    #[must_use]
    pub fn of(error: &Error) -> Self {
        use ErrorType::{ConnectionClosed, H2Error, HTTPStatus, ReadError, ReadTimedout, WriteError, WriteTimedout};
        match (error.esource(), error.etype()) {
            (_, HTTPStatus(400..=499)) => Self::ClientWrong,
            (ErrorSource::Downstream, ConnectionClosed | H2Error | ReadError | ReadTimedout | WriteError | WriteTimedout) => {
                Self::ClientGone
            }
            (ErrorSource::Downstream, _) => Self::ClientWrong,
            _ => Self::Upstream(UpstreamErrorKind::of(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_fault_a_broken_pass_is() {
        let upstream = PassFailure::Upstream;
        let of = |kind| UpstreamError { kind, detail: String::new() }.into_error();
        for (error, failure) in [
            (Error::new_down(ErrorType::ConnectionClosed), PassFailure::ClientGone),
            (Error::new_down(ErrorType::InvalidHTTPHeader), PassFailure::ClientWrong),
            (Error::new_up(ErrorType::ConnectRefused), upstream(UpstreamErrorKind::Connect)),
            (Error::new_up(ErrorType::ConnectionClosed), upstream(UpstreamErrorKind::Cut)),
            (Error::new_up(ErrorType::ReadTimedout), upstream(UpstreamErrorKind::Timeout)),
            (Error::new_up(ErrorType::InvalidCert), upstream(UpstreamErrorKind::Tls)),
            (Error::new_up(ErrorType::InvalidHTTPHeader), upstream(UpstreamErrorKind::BadHead)),
            (of(UpstreamErrorKind::Resolve), upstream(UpstreamErrorKind::Resolve)),
            (of(UpstreamErrorKind::AddressRefused), upstream(UpstreamErrorKind::AddressRefused)),
            (Error::new(ErrorType::HTTPStatus(413)), PassFailure::ClientWrong),
        ] {
            assert_eq!(PassFailure::of(&error), failure, "{error}");
        }
    }
}
