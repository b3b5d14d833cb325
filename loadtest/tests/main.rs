//! The binary against servers that nobody here wrote, and ones of this process that lie.

mod front;
mod house;
mod protocols;
mod runs;
mod steering;
