//! HTTP over sockets, in and out. Never asks whether a thing is cached.
//!
//! In: [`listen`] binds, [`accept`] takes connections, [`gate`] says how many, `opening` opens one, behind a load balancer by [`proxied`], [`tls`] and
//! [`certificates`] secure them, [`client`] is what is known of one, `connection` its bytes. [`h1`], `h2` and [`h3`] speak their protocols, [`head`]
//! validates a request's head, [`door`] asks the tier for the answer, [`asker`] is the client of one that has to be waited for, `pace` says how slow a
//! client may be and [`priority`] which answer it wants first. What is passed through Pingora has, over a connection that `h1` hands over or a `stream`
//! of the others, as a [`session`].
//!
//! Out: [`target`] says where, [`origin`] which server may be asked at this moment, [`trust`] whose certificates count,
//! [`client_certificate`] what an origin is shown and [`private`] what other nodes are, [`resolve`] finds the address, [`allowed`] says whether it may be one, `connect` connects to it,
//! [`upstream`] asks, [`sound`] refuses answers that cannot be true, [`pass`] is the way of what is passed through and `alarm` its end. `gather` has
//! small writes leave together. [`hygiene`] holds what may not cross a hop, in either direction, and [`interim`] the answers before the
//! answer.

pub mod accept;
pub mod aged;
mod alarm;
pub mod allowed;
pub mod asker;
pub mod certificates;
pub mod client;
pub mod client_certificate;
mod connect;
mod connection;
pub mod door;
pub mod gate;
mod gather;
pub mod h1;
mod h2;
pub mod h3;
pub mod head;
pub mod hygiene;
pub mod interim;
pub mod listen;
pub mod near;
mod opening;
pub mod origin;
mod pace;
pub mod pass;
pub mod priority;
pub mod private;
pub mod proxied;
pub mod resolve;
pub mod session;
pub mod sound;
mod stream;
pub mod target;
pub mod tls;
pub mod trust;
pub mod upstream;
