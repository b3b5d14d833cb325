//! HTTP over sockets, in and out.
