//! What a request that is passed through is for, and so how long it may take.

use std::time::Duration;

use http::header::{self, HeaderMap};
use skerry_config::site;

use crate::head::Head;

/// The kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An upload, an API call: anything else.
    Request,
    /// A WebSocket (RFC 6455).
    WebSocket,
    /// A gRPC call, of which all four kinds look alike from outside.
    Grpc,
    /// A stream of events (the HTML standard, section 9.2).
    Events,
}

/// The bounds of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// While the request's body is sent: how long nothing may happen.
    pub(crate) idle: Duration,
    /// From the end of the request to the head of the answer.
    pub(crate) first_byte: Duration,
    /// Between two pieces of the answer.
    pub(crate) between_bytes: Duration,
    /// The whole exchange.
    pub(crate) whole: Duration,
}

impl Bounds {
    /// These, and something more for each.
    pub(crate) fn and(self, margin: Duration) -> Self {
        let Self { idle, first_byte, between_bytes, whole } = self;
        Self { idle: idle + margin, first_byte: first_byte + margin, between_bytes: between_bytes + margin, whole: whole + margin }
    }
}

impl Kind {
    /// The kind that a request says it is.
    #[must_use]
    pub fn of(head: &Head) -> Self {
        if head.upgrade {
            Self::WebSocket
        } else if begins(&head.headers, &header::CONTENT_TYPE, "application/grpc") {
            Self::Grpc
        } else if wants_events(&head.headers) {
            Self::Events
        } else {
            Self::Request
        }
    }

    /// The kind that the answer makes of it.
    pub(crate) fn answered(self, headers: &HeaderMap) -> Self {
        if self == Self::Request && is_events(headers) { Self::Events } else { self }
    }

    pub(crate) fn bounds(self, site: &site::Site) -> Bounds {
        let (origin, pass) = (&site.origin, &site.pass);
        let first_byte = origin.connect_timeout.0 + origin.tls_timeout.0 + origin.first_byte_timeout.0;
        match self {
            Self::Request => Bounds {
                idle: pass.request_idle_timeout.0,
                first_byte,
                between_bytes: origin.between_bytes_timeout.0,
                whole: pass.request_timeout.0,
            },
            Self::WebSocket => {
                let idle = pass.websocket_idle_timeout.0;
                Bounds { idle, first_byte, between_bytes: idle, whole: pass.websocket_timeout.0 }
            }
            // A call may have no answer before its last message.
            Self::Grpc => {
                let idle = pass.grpc_idle_timeout.0;
                Bounds { idle, first_byte: idle, between_bytes: idle, whole: pass.grpc_timeout.0 }
            }
            Self::Events => {
                let idle = pass.events_idle_timeout.0;
                Bounds { idle: pass.request_idle_timeout.0, first_byte, between_bytes: idle, whole: pass.events_timeout.0 }
            }
        }
    }
}

/// Whether a client asks for events, as every `EventSource` does. Such a request is never answered from a cache.
#[must_use]
pub fn wants_events(headers: &HeaderMap) -> bool {
    begins(headers, &header::ACCEPT, "text/event-stream")
}

/// Whether an answer is a stream of events.
#[must_use]
pub fn is_events(headers: &HeaderMap) -> bool {
    begins(headers, &header::CONTENT_TYPE, "text/event-stream")
}

fn begins(headers: &HeaderMap, name: &header::HeaderName, with: &str) -> bool {
    let value = headers.get(name).map(|value| value.as_bytes().trim_ascii_start());
    value.and_then(|value| value.get(..with.len())).is_some_and(|start| start.eq_ignore_ascii_case(with.as_bytes()))
}

/// Whether a client takes trailers (RFC 9110 section 10.1.4).
pub(crate) fn takes_trailers(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::TE).iter().filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split(','))
        .any(|member| member.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case("trailers")))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn kind(name: &str, value: &str) -> Kind {
        Kind::of(&Head::of_url("http://a.test/", &[(name.to_owned(), value.to_owned())]).unwrap())
    }

    #[test]
    fn a_request_says_what_it_is() {
        assert_eq!(kind("content-type", "application/grpc"), Kind::Grpc);
        assert_eq!(kind("content-type", "Application/gRPC-web+proto"), Kind::Grpc);
        assert_eq!(kind("content-type", "application/json"), Kind::Request);
        assert_eq!(kind("accept", "text/event-stream"), Kind::Events);
        assert_eq!(kind("accept", "text/html, text/event-stream;q=0.1"), Kind::Request);
        let events = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"))]);
        assert_eq!(Kind::Request.answered(&events), Kind::Events);
        assert_eq!(Kind::Grpc.answered(&events), Kind::Grpc);
    }

    #[test]
    fn trailers_are_taken_where_te_says_so() {
        for (te, takes) in
            [("trailers", true), ("gzip;q=0.5, Trailers", true), ("trailers;q=1", true), ("gzip", false), ("x-trailers", false)]
        {
            let headers = HeaderMap::from_iter([(header::TE, HeaderValue::from_static(te))]);
            assert_eq!(takes_trailers(&headers), takes, "{te}");
        }
    }
}
