//! Tables, by section of the RFC.
