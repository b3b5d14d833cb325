//! One file a theme, one test a sentence.

mod away;
mod bad_input;
mod certificates;
mod change;
mod collapse;
mod dev;
mod dns;
mod files;
mod hits;
mod purge;
mod reference;
mod sample;
mod scripted;
mod stale;
mod tiers;
mod unsafe_methods;
mod uploads;
