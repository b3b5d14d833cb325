//! Answers DNS without asking anyone: zone, place, steer, answer, serve.
//!
//! Reads one [`state::State`], swapped whole by the control plane; makes no call to anyone between two packets.

pub mod serve;
pub mod state;
