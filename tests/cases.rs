//! One file a theme, one test a sentence.

mod away;
mod bad_input;
mod certificates;
mod change;
mod collapse;
mod dates;
mod dev;
mod dns;
mod explain;
mod files;
mod front_door;
mod hits;
mod interim;
mod malformed;
mod policy;
mod purge;
mod ranges;
mod reference;
mod sample;
mod scripted;
mod semantics;
mod stale;
mod tiers;
mod unsafe_methods;
mod uploads;
