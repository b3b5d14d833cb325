//! Load as a client makes it: knows a server only by its addresses and what it answers.
//!
//! Owns the generator, the accounting of processor time, and the side-by-side runs. Depends on no other part of the CDN but in [`nodes`] and
//! [`steering`], which run the real agent and the real choice of an edge inside this process.

pub mod affinity;
pub mod bench;
pub mod bound;
pub mod check;
pub mod client;
mod control;
pub mod drive;
pub mod endpoints;
pub mod front;
pub mod machine;
pub mod nodes;
pub mod peer;
pub mod processor;
pub mod report;
pub mod settings;
pub mod soak;
pub mod steering;
pub mod stop;
pub mod target;
