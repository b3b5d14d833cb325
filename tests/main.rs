//! Evidence about the whole: real processes, real sockets, real clients.
//!
//! `house` starts a CDN on free ports and knows how to look at it; `cases` has one file a theme.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod cases;
mod house;
