//! How long requests that are passed through may take.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Period;

/// How long a request may take that is passed through to the origin rather than answered from the cache. Idle means that neither side sends anything; over a bound the exchange is cut off, or answered 408 or 504 where no answer has begun.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Pass {
    /// How long a client may send nothing of a request's body, and an origin take nothing of it. From the end of the body on `origin.first_byte_timeout` and `origin.between_bytes_timeout` hold.
    pub request_idle_timeout: Period,
    /// A whole request with its answer: an upload, an API call.
    pub request_timeout: Period,
    /// How long a WebSocket may be idle.
    pub websocket_idle_timeout: Period,
    /// A whole WebSocket.
    pub websocket_timeout: Period,
    /// How long a gRPC call (`Content-Type: application/grpc...`) may be idle, before its answer too; the client's `grpc-timeout` is the origin's to obey.
    pub grpc_idle_timeout: Period,
    /// A whole gRPC call.
    pub grpc_timeout: Period,
    /// How long a stream of events (`text/event-stream`) may be idle.
    pub events_idle_timeout: Period,
    /// A whole stream of events; browsers take it up again.
    pub events_timeout: Period,
}

impl Default for Pass {
    fn default() -> Self {
        let (idle, day) = (Period::from_secs(300), Period::from_secs(86_400));
        Self {
            request_idle_timeout: Period::from_secs(60),
            request_timeout: Period::from_secs(6 * 3_600),
            websocket_idle_timeout: idle,
            websocket_timeout: day,
            grpc_idle_timeout: idle,
            grpc_timeout: day,
            events_idle_timeout: idle,
            events_timeout: day,
        }
    }
}
