//! Addresses of origins, by the system's resolver, kept for a short time and longer when the resolver fails.
//!
//! The lock covers the map of answers, never a lookup.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long an answer is used without asking again.
const FRESH: Duration = Duration::from_secs(10);
/// How long an answer is used when the resolver gives none.
const LAST_GOOD: Duration = Duration::from_secs(3_600);
/// The time one lookup may take.
const LOOKUP_TIME_MAX: Duration = Duration::from_secs(5);
/// Names kept; beyond it all are forgotten and asked again.
const NAMES_MAX: usize = 4_096;

/// Remembers addresses by name.
#[derive(Debug, Default)]
pub struct Resolver {
    known: Mutex<HashMap<String, Known>>,
}

#[derive(Clone, Debug)]
struct Known {
    addresses: Arc<[IpAddr]>,
    asked: Instant,
}

impl Resolver {
    /// The addresses of `host`, at least one.
    ///
    /// # Errors
    /// One sentence with the name, when it has no address or the resolver fails and no last good answer is left.
    pub async fn addresses(&self, host: &str) -> Result<Arc<[IpAddr]>, String> {
        if let Ok(literal) = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return Ok(Arc::new([literal]));
        }
        let known = self.known.lock().get(host).cloned();
        if let Some(known) = &known
            && known.asked.elapsed() < FRESH
        {
            return Ok(Arc::clone(&known.addresses));
        }
        match (lookup(host).await, known) {
            (Ok(addresses), _) => {
                let mut map = self.known.lock();
                if map.len() >= NAMES_MAX {
                    map.clear();
                }
                map.insert(host.to_owned(), Known { addresses: Arc::clone(&addresses), asked: Instant::now() });
                Ok(addresses)
            }
            (Err(error), Some(known)) if known.asked.elapsed() < LAST_GOOD => {
                tracing::warn!(host, error, "using the last good addresses");
                Ok(known.addresses)
            }
            (Err(error), _) => Err(error),
        }
    }
}

async fn lookup(host: &str) -> Result<Arc<[IpAddr]>, String> {
    let asked = tokio::time::timeout(LOOKUP_TIME_MAX, tokio::net::lookup_host((host, 0))).await;
    let found = asked.map_err(|_| format!("{host} could not be resolved in {LOOKUP_TIME_MAX:?}"))?;
    let addresses: Vec<IpAddr> =
        found.map_err(|error| format!("{host} could not be resolved: {error}"))?.map(|address: SocketAddr| address.ip()).collect();
    if addresses.is_empty() { Err(format!("{host} has no address")) } else { Ok(addresses.into()) }
}
