//! The control plane with real sockets and real agents, all in one process.

mod access;
mod api;
mod explain;
mod figures;
mod house;
mod intent;
mod nodes;
mod purges;
mod rollouts;
mod scale;
mod start;
