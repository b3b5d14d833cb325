//! Load as a client makes it: knows a server only by its addresses and what it answers.
//!
//! Owns the generator, the accounting of processor time, and the side-by-side runs. Depends on no other part of the CDN.

pub mod affinity;
pub mod bench;
pub mod check;
pub mod client;
pub mod drive;
pub mod endpoints;
pub mod front;
pub mod machine;
pub mod peer;
pub mod processor;
pub mod report;
pub mod results;
pub mod soak;
pub mod stop;
pub mod target;
