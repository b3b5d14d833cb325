//! Load as a client makes it: knows a server only by its addresses and what it answers.
//!
//! Owns the generator, the accounting of processor time, and the side-by-side runs. Depends on no other part of the CDN but in [`nodes`] and
//! [`steering`], which run the real agent and the real choice of an edge inside this process.

pub mod affinity;
mod api;
pub mod arrivals;
pub mod bound;
mod chart;
pub mod check;
pub mod client;
pub mod compare;
mod control;
pub mod draw;
pub mod drive;
pub mod endpoints;
mod file;
pub mod front;
mod lines;
pub mod machine;
pub mod nodes;
mod object;
pub mod origin;
pub mod peer;
pub mod plan;
pub mod processor;
mod progress;
pub mod report;
pub mod results;
mod scenario;
pub mod settings;
pub mod soak;
pub mod steering;
pub mod stop;
pub mod target;
