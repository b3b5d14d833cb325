//! The tier that clients meet.
