//! The control plane with real sockets and real agents, all in one process.

mod access;
mod api;
mod certificates;
mod explain;
mod figures;
mod house;
mod nodes;
mod purges;
mod rollouts;
mod scale;
mod start;
mod state;
