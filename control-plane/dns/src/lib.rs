//! Answers DNS without asking anyone: query, packet, zone, place, learn, plan, geo, steer, answer, write, serve.
//!
//! Reads one [`state::State`], swapped whole by the control plane; makes no call to anyone between two packets.

pub mod answer;
pub mod cookie;
pub mod figures;
pub mod geo;
pub mod kind;
pub mod learn;
pub mod limit;
pub mod name;
pub mod packet;
pub mod place;
pub mod plan;
pub mod prefix;
pub mod query;
pub mod records;
pub mod serve;
pub mod state;
pub mod steer;
pub mod write;
pub mod zone;

#[cfg(test)]
mod sample;
