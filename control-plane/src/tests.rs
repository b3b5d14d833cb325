//! The control plane with real sockets and real agents, all in one process.

mod api;
mod explain;
mod house;
mod nodes;
mod purges;
mod start;
