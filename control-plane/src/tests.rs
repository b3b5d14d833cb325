//! The control plane with real sockets and real agents, all in one process.

mod access;
mod api;
mod certificates;
mod events;
mod explain;
mod figures;
mod first_nodes;
mod hostile;
mod house;
mod intent;
mod measured;
mod nodes;
mod purges;
mod rollouts;
mod scale;
mod secrets;
mod start;
mod state;

pub(crate) use house::{eventually, settings};
