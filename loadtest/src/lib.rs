//! Load as a client makes it.
