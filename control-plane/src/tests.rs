//! The control plane with real sockets and real agents, all in one process.

mod access;
mod api;
mod events;
mod explain;
mod figures;
mod house;
mod nodes;
mod purges;
mod rollouts;
mod scale;
mod secrets;
mod start;

pub(crate) use house::eventually;
