//! The tier that origins meet.
