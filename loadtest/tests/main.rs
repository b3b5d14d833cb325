//! The binary against servers that nobody here wrote, and ones of this process that lie.

mod compare;
mod front;
mod house;
mod open_loop;
mod peers;
mod protocols;
mod report;
mod runs;
mod steering;
