//! What is measured, and the bound of each.

use crate::client::Protocol;

/// What asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Generator {
    /// This crate, which checks every body.
    Own,
    /// [wrk](super::wrk).
    Wrk,
}

impl Generator {
    /// What a reader is told.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Own => "skerry-loadtest",
            Self::Wrk => "wrk",
        }
    }
}

/// A way to be asked for a hit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    /// What `--only` names.
    pub(super) id: &'static str,
    /// What a reader is told.
    pub(super) name: &'static str,
    pub(super) protocol: Protocol,
    pub(super) secure: bool,
    /// The length of the object, in bytes.
    pub(super) bytes: u64,
    pub(super) connections: usize,
    pub(super) streams: usize,
    pub(super) generator: Generator,
    /// The most that it may cost, as a multiple of what stands beside it.
    pub(super) bound: f64,
}

const KIB: u64 = 1024;

/// 64 requests at once for every case: so many that no server waits for the generator to think of the next one. With few connections,
/// what a large body costs varies by half from one to the next, as the kernel finds sizes for their buffers; of 64 that is a mean.
/// Only 1 KB over cleartext HTTP/1.1 is answered faster than our generator asks. With larger bodies wrk is the slower one, and over TLS it is no
/// choice: it names other cipher suites first than ours, and does not tell which one was chosen.
pub(super) const CASES: &[Case] = &[
    Case { id: "h1-1k", name: "HTTP/1.1, 1 KB", generator: Generator::Wrk, ..H1 },
    Case { id: "h1-16k", name: "HTTP/1.1, 16 KB", bytes: 16 * KIB, bound: 0.8, ..H1 },
    Case { id: "h1-1m", name: "HTTP/1.1, 1 MB", bytes: KIB * KIB, bound: 1.1, ..H1 },
    Case { id: "tls-1k", name: "HTTP/1.1 over TLS 1.3, 1 KB", secure: true, bound: 0.8, ..H1 },
    Case { id: "tls-16k", name: "HTTP/1.1 over TLS 1.3, 16 KB", secure: true, bytes: 16 * KIB, bound: 0.8, ..H1 },
    Case { id: "h2-1k", name: "HTTP/2 over TLS 1.3, 1 KB", bound: 1.0, ..H2 },
    Case { id: "h2-16k", name: "HTTP/2 over TLS 1.3, 16 KB", bytes: 16 * KIB, bound: 0.85, ..H2 },
    Case { id: "h3-1k", name: "HTTP/3, 1 KB", protocol: Protocol::H3, bound: 2.5, ..H2 },
    Case { id: "h3-16k", name: "HTTP/3, 16 KB", protocol: Protocol::H3, bytes: 16 * KIB, bound: 2.5, ..H2 },
];

const H1: Case = Case {
    id: "",
    name: "",
    protocol: Protocol::H1,
    secure: false,
    bytes: KIB,
    connections: 64,
    streams: 1,
    generator: Generator::Own,
    bound: 0.65,
};
const H2: Case = Case { protocol: Protocol::H2, secure: true, connections: 4, streams: 16, ..H1 };

/// Connections that have nothing to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct IdleCase {
    /// What `--only` names.
    pub(super) id: &'static str,
    /// What a reader is told.
    pub(super) name: &'static str,
    pub(super) secure: bool,
    /// The most memory that one may cost, in bytes.
    pub(super) bound_bytes: u64,
}

/// In this order: the second is measured while the connections of the first are still there, so that it cannot be given their memory.
pub(super) const IDLE_CASES: &[IdleCase] = &[
    IdleCase { id: "idle", name: "cleartext", secure: false, bound_bytes: 8 * KIB },
    IdleCase { id: "idle-tls", name: "TLS 1.3", secure: true, bound_bytes: 24 * KIB },
];

/// The length of the object that each of them was asked for, in bytes.
pub(super) const IDLE_BYTES: u64 = KIB;

/// Every name that `--only` knows.
pub(super) fn ids() -> Vec<&'static str> {
    CASES.iter().map(|case| case.id).chain(IDLE_CASES.iter().map(|case| case.id)).collect()
}
