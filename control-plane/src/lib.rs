//! The only writer of intent.
