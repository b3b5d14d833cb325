//! HTTP/3 with real sockets: by a client of the `h3` crate, and by streams written byte by byte.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod answers;
mod hostile;
mod house;
