//! The cache engine: rules, request machine, objects, purge.
//!
//! Knows requests, policies, objects and time, which is always an argument. Opens no socket, reads no clock, and reaches
//! upstream only through [`fetch::Fetch`].

pub mod answer;
pub mod exchange;
pub mod fetch;
pub mod request;
pub mod time;
