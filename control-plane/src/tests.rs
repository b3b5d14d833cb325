//! The control plane with real sockets and real agents, all in one process.

mod api;
mod explain;
mod figures;
mod house;
mod nodes;
mod rollouts;
mod scale;
mod start;
