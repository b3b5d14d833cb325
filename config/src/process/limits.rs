//! What one client, or all of them together, may take of an edge.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits::{AT_ONCE_MAX, HEAD_BYTES_MAX, STREAMS_MAX};
use crate::units::{Period, Size};

/// What one client, or all of them together, may take of an edge. Over a bound a request is refused, or a connection closed, as each field says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The bytes of a request's head as HTTP/2 counts its fields, 32 bytes a field included; a larger one gets 431.
    pub head: Size,
    /// The header fields of a request; with more it gets 431.
    pub fields: u32,
    /// The bytes of path and query; a longer target gets 414.
    pub target: Size,
    /// The bytes of a request's body; a longer one gets 413, or is cut off where its length was not told. `0` is no limit.
    pub body: Size,
    /// The requests of one connection; with the last one's answer it is closed.
    pub requests_per_connection: u32,
    /// Requests of one HTTP/2 or HTTP/3 connection at the same time.
    pub streams: u32,
    /// The time for a TLS or QUIC handshake, a PROXY protocol header among it; the connection is closed.
    pub handshake_time: Period,
    /// The time from the first byte of a request's head to its last; over it, 408.
    pub head_time: Period,
    /// How long a connection may be without a request.
    pub idle_time: Period,
    /// The bytes per second at which a client must at least send a body or take an answer, over any 10 seconds; a slower one is cut off.
    pub rate_min: Size,
    /// The connections of all clients; further ones wait in the kernel, or are closed where they cannot.
    pub connections: u32,
    /// The connections of one client address (of one /64 in IPv6); further ones are closed at once.
    pub connections_per_address: u32,
    /// The new connections of one client address (of one /64 in IPv6) in a second; further ones are closed at once.
    pub new_connections_per_second: u32,
    /// The requests being answered at the same time, those from memory not counted; further ones get 503 with `Retry-After`.
    pub requests: u32,
    /// How long running requests may go on after a stop was asked for.
    pub drain_time: Period,
}

impl Limits {
    /// Between the tiers: few peers, who are known, and each asks for many.
    #[must_use]
    pub fn between_tiers() -> Self {
        Self {
            // What an edge takes of a client has to fit, with what it adds to the head.
            head: Size(64 << 10),
            target: Size(HEAD_BYTES_MAX),
            fields: 256,
            streams: STREAMS_MAX,
            body: Size(0),
            requests_per_connection: u32::MAX,
            connections_per_address: AT_ONCE_MAX,
            new_connections_per_second: AT_ONCE_MAX,
            // Edges keep their links open, and see for themselves that they live.
            idle_time: Period::from_secs(3_600),
            ..Self::default()
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Size(48 << 10),
            fields: 128,
            target: Size(16 << 10),
            body: Size(1 << 30),
            requests_per_connection: 100_000,
            streams: 128,
            handshake_time: Period::from_secs(10),
            head_time: Period::from_secs(10),
            idle_time: Period::from_secs(60),
            rate_min: Size(256),
            connections: 16_384,
            connections_per_address: 1_024,
            new_connections_per_second: 1_024,
            requests: 16_384,
            drain_time: Period::from_secs(10),
        }
    }
}
