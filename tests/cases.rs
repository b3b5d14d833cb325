//! One file a theme, one test a sentence.

mod away;
mod bad_input;
mod change;
mod collapse;
mod dev;
mod dns;
mod files;
mod hits;
mod purge;
mod sample;
mod scripted;
mod tiers;
mod uploads;
