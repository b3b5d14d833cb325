//! HTTP/3 (RFC 9114) for clients: QUIC by quinn, control streams and QPACK decoding by the `h3` crate, behind an adapter of our own.
//!
//! `endpoint` takes connections, `connection` their requests, `request` has the tier answer one of them, or makes a session of Pingora's of it. The bytes of
//! requests and answers are ours: [`frames`] cuts them, [`section`] looks through field sections and writes them, `body` and `answer` read and
//! write them with their bounds, [`priority`] says which answers go first. What comes before the handshake is complete may be a replay, so that
//! only GET and HEAD are answered then, and what is fetched for them is fetched with `Early-Data` (RFC 8470); an origin's 425 goes to the client,
//! which is to ask again.
//!
//! Server push, datagrams, CONNECT and trailers of requests are not offered, and there is no dynamic table.

mod adapter;
mod answer;
mod body;
mod connection;
pub(crate) mod endpoint;
pub mod frames;
pub mod priority;
mod request;
pub mod section;

pub use endpoint::Listener;
