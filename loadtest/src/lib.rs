//! Load as a client makes it: knows a server only by its addresses and what it answers.
//!
//! Owns the generator, the accounting of processor time, and the side-by-side runs. Depends on no other part of the CDN.

pub mod affinity;
pub mod arrivals;
pub mod check;
pub mod client;
pub mod compare;
pub mod draw;
pub mod drive;
pub mod endpoints;
pub mod front;
pub mod machine;
mod object;
pub mod origin;
pub mod peer;
pub mod plan;
pub mod processor;
mod progress;
pub mod report;
pub mod results;
mod scenario;
pub mod soak;
pub mod stop;
pub mod target;
