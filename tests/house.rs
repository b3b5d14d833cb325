//! The house: a whole CDN on free ports, and ways to look at it from outside. Nothing here knows how the CDN works inside.

pub(crate) mod apart;
pub(crate) mod cdn;
pub(crate) mod clients;
pub(crate) mod command;
pub(crate) mod control;
pub(crate) mod dns_node;
pub(crate) mod held;
pub(crate) mod hosts;
pub(crate) mod live;
pub(crate) mod mmdb;
pub(crate) mod names;
pub(crate) mod net;
pub(crate) mod origins;
pub(crate) mod python;
pub(crate) mod relay;
pub(crate) mod scripted;
pub(crate) mod wait;

pub(crate) use cdn::Cdn;
pub(crate) use clients::{Got, curl, dig, get};
pub(crate) use command::{Ran, kill, run, skerry};
pub(crate) use held::Held;
pub(crate) use names::Names;
pub(crate) use origins::{Nginx, Python};
pub(crate) use relay::Relay;
pub(crate) use scripted::{Reply, Scripted};
pub(crate) use wait::wait_until;
