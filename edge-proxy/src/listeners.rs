//! The listeners for clients: bound at the start, and brought to what the settings say when those change.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::available_parallelism;

use rustls::ServerConfig;
use skerry_config::process::EdgeListen;
use skerry_transport::accept::{Entrance, Front, Listener};
use skerry_transport::listen;
use tokio::net::TcpListener;

use crate::passed::Sessions;

/// The accept loops of one address at most, each with a socket of its own; there is one for each processor.
const LOOPS_MAX: usize = 8;

/// What the settings say of one listener.
#[derive(Clone, Debug, PartialEq)]
struct Wanted {
    address: SocketAddr,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Http,
    Https,
    Proxied { tls: bool, from: Arc<[ipnet::IpNet]> },
}

impl Wanted {
    /// All listeners that the settings name, in their order.
    fn all(settings: &EdgeListen) -> Vec<Self> {
        let plain = settings.http.iter().map(|address| Self { address: *address, kind: Kind::Http });
        let secured = settings.https.iter().map(|address| Self { address: *address, kind: Kind::Https });
        let proxied = settings
            .proxied
            .iter()
            .map(|each| Self { address: each.address, kind: Kind::Proxied { tls: each.tls, from: each.from.as_slice().into() } });
        plain.chain(secured).chain(proxied).collect()
    }

    fn bind(&self) -> Result<Vec<TcpListener>, String> {
        let loops = available_parallelism().map_or(1, usize::from).min(LOOPS_MAX);
        listen::bind_many(self.address, loops, self.kind.purpose())
    }
}

impl Kind {
    /// What `ready.json` and errors call it.
    fn purpose(&self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Proxied { .. } => "proxied",
        }
    }
}

/// Sockets that are bound, and on which nobody accepts yet: the kernel keeps who comes.
pub(crate) struct Bound(Vec<(Wanted, Vec<TcpListener>)>);

impl Bound {
    /// Binds all listeners for clients.
    ///
    /// # Errors
    /// The sentence about the first that cannot be bound.
    pub(crate) fn bind(settings: &EdgeListen) -> Result<Self, String> {
        let bound = |wanted: Wanted| wanted.bind().map(|sockets| (wanted, sockets));
        Wanted::all(settings).into_iter().map(bound).collect::<Result<_, _>>().map(Self)
    }
}

/// The listeners that accept.
pub(crate) struct Listeners {
    front: Front<Sessions>,
    tls: Arc<ServerConfig>,
    open: Vec<(Wanted, Listener)>,
}

impl Listeners {
    /// Accepts on everything that is bound.
    ///
    /// # Errors
    /// When a socket has no address.
    pub(crate) fn open(front: Front<Sessions>, tls: Arc<ServerConfig>, bound: Bound) -> Result<Self, String> {
        let mut listeners = Self { front, tls, open: Vec::new() };
        for (wanted, sockets) in bound.0 {
            listeners.accept(wanted, sockets)?;
        }
        Ok(listeners)
    }

    /// Brings them to what the settings say: those that are no longer there stop accepting and drain, those whose kind is another take connections
    /// that way from now on, others are bound. What cannot be bound is left out, with a sentence each, and leaves the rest alone.
    pub(crate) async fn change(&mut self, settings: &EdgeListen) -> Vec<String> {
        let mut wanted = Wanted::all(settings);
        let mut kept = Vec::new();
        for (had, listener) in std::mem::take(&mut self.open) {
            // Of those that choose a port themselves only one of the same kind is the same as before.
            let same = wanted.iter().position(|each| *each == had);
            let same = same.or_else(|| wanted.iter().position(|each| each.address == had.address && had.address.port() != 0));
            let Some(index) = same else {
                tracing::info!(address = %listener.local(), kind = had.kind.purpose(), "listener closed");
                listener.close().await;
                continue;
            };
            let wants = wanted.remove(index);
            if wants.kind != had.kind {
                tracing::info!(address = %listener.local(), from = had.kind.purpose(), kind = wants.kind.purpose(), "listener changed");
                listener.change(self.entrance(&wants.kind));
            }
            kept.push((wants, listener));
        }
        self.open = kept;
        let opened = wanted.into_iter().map(|wanted| {
            let address = wanted.address;
            let kind = wanted.kind.purpose();
            wanted.bind().and_then(|sockets| self.accept(wanted, sockets)).inspect(|()| tracing::info!(%address, kind, "listener opened"))
        });
        opened.filter_map(Result::err).collect()
    }

    fn accept(&mut self, wanted: Wanted, sockets: Vec<TcpListener>) -> Result<(), String> {
        let listener = self.front.open(sockets, self.entrance(&wanted.kind));
        let listener = listener.map_err(|error| format!("a listener for {} has no address: {error}", wanted.kind.purpose()))?;
        self.open.push((wanted, listener));
        Ok(())
    }

    fn entrance(&self, kind: &Kind) -> Entrance {
        let tls = || Some(Arc::clone(&self.tls));
        match kind {
            Kind::Http => Entrance::default(),
            Kind::Https => Entrance { tls: tls(), from: None },
            Kind::Proxied { tls: secured, from } => Entrance { tls: secured.then(tls).flatten(), from: Some(Arc::clone(from)) },
        }
    }

    /// Where they listen, as `ready.json` has it.
    pub(crate) fn addresses(&self) -> serde_json::Value {
        let of = |purpose: &str| -> Vec<String> {
            let these = self.open.iter().filter(|(wanted, _)| wanted.kind.purpose() == purpose);
            these.map(|(_, listener)| listener.local().to_string()).collect()
        };
        serde_json::json!({ "http": of("http"), "https": of("https"), "proxied": of("proxied") })
    }
}
