//! Addresses of origins by name: asked for once for all who want them at the same time, kept for as long as DNS says, asked for again before that is
//! over while the name is in use, and kept on when DNS fails.
//!
//! Below: `kept` is what is known of one name, with the task that renews it, `dns` is who is asked. The lock covers the map of names, never a question.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::Instant;

mod dns;
mod kept;
#[cfg(test)]
mod tests;

use dns::Dns;
use kept::Kept;

/// Names kept; beyond it the one that was used the longest ago is forgotten.
const NAMES_MAX: usize = 4_096;
/// The time one question may take, all servers and searched domains together.
const LOOKUP_TIME_MAX: Duration = Duration::from_secs(5);
/// How long somebody waits for an answer that others have asked for; a little longer than it may take.
const WAIT_MAX: Duration = Duration::from_secs(6);

/// Remembers addresses by name.
#[derive(Clone)]
pub struct Resolver {
    names: Arc<Names>,
}

/// Every name that is known, and who is asked for it.
struct Names {
    known: Mutex<HashMap<String, Arc<Kept>>>,
    source: Arc<dyn Source>,
    /// The names kept at most.
    max: usize,
}

/// Who knows addresses.
#[async_trait]
trait Source: Send + Sync {
    /// The addresses of a name, at least one, or one sentence with the name. Takes at most [`LOOKUP_TIME_MAX`].
    async fn ask(&self, host: &str) -> Result<Answer, String>;
}

/// What was answered.
#[derive(Clone, Debug)]
struct Answer {
    addresses: Arc<[IpAddr]>,
    ttl: Duration,
}

impl Resolver {
    /// One that asks these servers, or those of the system where there are none.
    #[must_use]
    pub fn new(servers: &[SocketAddr]) -> Self {
        Self::of(Arc::new(Dns::new(servers)), NAMES_MAX)
    }

    fn of(source: Arc<dyn Source>, max: usize) -> Self {
        Self { names: Arc::new(Names { known: Mutex::default(), source, max }) }
    }

    /// The addresses of `host`, at least one.
    ///
    /// # Errors
    /// One sentence with the name, when it has no address or DNS fails and no last good answer is left.
    pub async fn addresses(&self, host: &str) -> Result<Arc<[IpAddr]>, String> {
        if let Ok(literal) = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return Ok(Arc::new([literal]));
        }
        let until = Instant::now() + WAIT_MAX;
        loop {
            let kept = self.kept(host);
            let mut said = kept.use_it();
            let known = said.borrow_and_update().clone();
            if let Some(answer) = known.at(Instant::now()) {
                if known.is_due(Instant::now()) {
                    kept.ask();
                }
                return answer;
            }
            kept.ask();
            match tokio::time::timeout_at(until, said.changed()).await {
                Ok(Ok(())) => {}
                // It was forgotten in this very moment.
                Ok(Err(_)) => continue,
                Err(_) => return Err(format!("{host} could not be resolved in {WAIT_MAX:?}")),
            }
            let known = said.borrow().clone();
            if let Some(answer) = known.at(Instant::now()) {
                return answer;
            }
        }
    }

    fn kept(&self, host: &str) -> Arc<Kept> {
        let mut known = self.names.known.lock();
        if let Some(kept) = known.get(host) {
            return Arc::clone(kept);
        }
        if known.len() >= self.names.max
            && let Some(oldest) = known.iter().min_by_key(|(_, kept)| kept.used()).map(|(name, _)| name.clone())
        {
            known.remove(&oldest);
        }
        let kept = Kept::begin(host, &self.names);
        known.insert(host.to_owned(), Arc::clone(&kept));
        kept
    }
}
