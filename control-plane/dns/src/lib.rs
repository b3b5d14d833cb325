//! Answers DNS without asking anyone: packet, zone, place, steer, answer, serve.
//!
//! Reads one [`state::State`], swapped whole by the control plane; makes no call to anyone between two packets.

pub mod answer;
pub mod figures;
pub mod geo;
pub mod learn;
pub mod packet;
pub mod place;
pub mod plan;
pub mod prefix;
pub mod serve;
pub mod state;
pub mod steer;
pub mod zone;

#[cfg(test)]
mod sample;
