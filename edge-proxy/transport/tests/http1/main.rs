//! The HTTP/1.1 front door over real sockets: clients scripted byte by byte, an origin that keeps every byte it gets.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod answered;
mod hostile;
mod house;
mod waited;
