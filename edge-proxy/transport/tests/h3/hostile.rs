//! What other clients get.
