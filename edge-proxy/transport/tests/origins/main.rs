//! How an origin is reached: its name, its addresses, its certificate and its times, against servers of real packets.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod dns;
mod house;
mod http1;
mod http2;
mod links;
mod names;
mod racing;
mod secured;
mod times;
