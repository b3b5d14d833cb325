//! HTTP over sockets, in and out. Never asks whether a thing is cached.
//!
//! In: [`listen`] binds, [`accept`] takes connections, [`tls`] and [`certificates`] secure them, [`client`] is what is known of
//! one, `connection` its bytes, [`head`] validates a request's head, [`door`] asks the tier whether it has the answer at hand, [`session`] writes one that it
//! has not, `dated` and `h2` keep its date, [`h3`] is HTTP/3. Out: [`target`] says where, [`resolve`] finds the
//! address, [`upstream`] asks, [`sound`] refuses answers that cannot be true, [`pass`] is the way of what Pingora passes
//! through. [`hygiene`] holds what may not cross a hop, in either direction, and [`interim`] the answers before
//! the answer.

pub mod accept;
pub mod certificates;
pub mod client;
mod connection;
mod dated;
pub mod door;
mod h2;
pub mod h3;
pub mod head;
pub mod hygiene;
pub mod interim;
pub mod listen;
pub mod pass;
pub mod resolve;
pub mod session;
pub mod sound;
pub mod target;
pub mod tls;
pub mod upstream;
