//! The generator: connections that each ask, read the whole answer, check it, and ask again (closed loop, HTTP/1.1).
//!
//! Owns the connections and the check of every body. The one lock-free cell shared between connections is the digest of the
//! first body, which all later ones must have. Knows nothing of what is behind the address.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http::header::{CONTENT_LENGTH, HOST, HeaderMap};
use http::uri::PathAndQuery;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use ring::digest::{Context, SHA256};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::report::{Report, Tally};
use crate::target::Target;

/// The most connections of one run.
pub const CONNECTIONS_MAX: usize = 10_000;
/// The longest run, in seconds: one day.
pub const SECONDS_MAX: u64 = 86_400;
/// How long a connection may take to come, in seconds.
const CONNECT_TIMEOUT_S: u64 = 10;
/// How long one answer may take to its last octet, in seconds.
const ANSWER_TIMEOUT_S: u64 = 120;
/// How many requests in a row one connection may see fail before it gives up.
const FAILURES_IN_A_ROW_MAX: u32 = 10;

/// A SHA-256 digest.
pub type Digest = [u8; 32];

/// When a run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// After so many requests, shared evenly between the connections.
    Requests(u64),
    /// After so long.
    Elapsed(Duration),
}

/// What to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objects {
    /// The target, again and again.
    Same,
    /// A name that nobody has asked for, every time.
    Unseen,
}

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whom to ask.
    pub target: Target,
    /// How many connections, at most [`CONNECTIONS_MAX`].
    pub connections: usize,
    /// How long.
    pub until: Until,
    /// What for.
    pub objects: Objects,
    /// The digest every body of a successful answer must have; without it, that of the first one.
    pub expected: Option<Digest>,
}

/// What the connections of a run share.
struct Shared {
    plan: Plan,
    expected: OnceLock<Digest>,
    /// Makes the unseen names of this run differ from those of others.
    mark: String,
    unseen: AtomicU64,
    /// All connections stand before the first request is sent.
    ready: Barrier,
}

/// Runs a plan.
///
/// # Errors
/// A sentence: the plan is out of bounds, or the target cannot be connected to.
pub async fn run(plan: Plan) -> Result<Report, String> {
    if plan.connections == 0 || plan.connections > CONNECTIONS_MAX {
        return Err(format!("{} connections are not between 1 and {CONNECTIONS_MAX}", plan.connections));
    }
    match plan.until {
        Until::Requests(0) => return Err("0 requests measure nothing, 1 is the least".to_owned()),
        Until::Elapsed(elapsed) if elapsed.is_zero() || elapsed > Duration::from_secs(SECONDS_MAX) => {
            return Err(format!("{elapsed:?} is not above 0 and at most {SECONDS_MAX} s"));
        }
        _ => {}
    }
    let workers = match plan.until {
        Until::Requests(requests) => plan.connections.min(usize::try_from(requests).unwrap_or(usize::MAX)),
        Until::Elapsed(_) => plan.connections,
    };
    let mut connected = Vec::with_capacity(workers);
    for _ in 0..workers {
        connected.push(connect(&plan.target).await?);
    }
    let expected = plan.expected.map_or_else(OnceLock::new, OnceLock::from);
    let shared = Arc::new(Shared { plan, expected, mark: mark(), unseen: AtomicU64::new(0), ready: Barrier::new(workers + 1) });
    let mut running = JoinSet::new();
    for (index, sender) in connected.into_iter().enumerate() {
        running.spawn(worker(Arc::clone(&shared), sender, index, workers));
    }
    shared.ready.wait().await;
    let begun = Instant::now();
    let mut tally = Tally::new()?;
    while let Some(ended) = running.join_next().await {
        tally.add(ended.map_err(|error| format!("a connection's task failed: {error}"))??);
    }
    Ok(tally.report(begun.elapsed()))
}

/// A word that no other run has used.
#[must_use]
pub fn mark() -> String {
    let begun = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{:x}-{:x}", std::process::id(), begun.as_nanos())
}

type Sender = SendRequest<Empty<Bytes>>;

async fn connect(target: &Target) -> Result<Sender, String> {
    let opening = async {
        let stream = TcpStream::connect(target.address).await?;
        stream.set_nodelay(true)?;
        handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)
    };
    let (sender, connection) = timeout(Duration::from_secs(CONNECT_TIMEOUT_S), opening)
        .await
        .map_err(|_| format!("cannot connect to {} within {CONNECT_TIMEOUT_S} s", target.address))?
        .map_err(|error| format!("cannot connect to {}: {error}", target.address))?;
    // Ends with the sender; what goes wrong shows at the next request.
    tokio::spawn(connection);
    Ok(sender)
}

async fn worker(shared: Arc<Shared>, sender: Sender, index: usize, workers: usize) -> Result<Tally, String> {
    let mut tally = Tally::new()?;
    let (mut left, deadline) = match shared.plan.until {
        Until::Requests(requests) => {
            let (index, workers) = (index as u64, workers as u64);
            (requests / workers + u64::from(index < requests % workers), None)
        }
        Until::Elapsed(elapsed) => (u64::MAX, Some(elapsed)),
    };
    let mut sender = Some(sender);
    let mut failures = 0;
    shared.ready.wait().await;
    let begun = Instant::now();
    while left > 0 && deadline.is_none_or(|deadline| begun.elapsed() < deadline) && failures < FAILURES_IN_A_ROW_MAX {
        left -= 1;
        let open = match sender.take() {
            Some(open) if !open.is_closed() => Ok(open),
            _ => connect(&shared.plan.target).await,
        };
        let outcome = match open {
            Ok(mut open) => {
                let asked = timeout(Duration::from_secs(ANSWER_TIMEOUT_S), ask(&shared, &mut open, &mut tally)).await;
                let outcome = asked.unwrap_or_else(|_| Err(format!("no whole answer within {ANSWER_TIMEOUT_S} s")));
                if outcome.is_ok() && open.ready().await.is_ok() {
                    sender = Some(open);
                }
                outcome
            }
            Err(error) => Err(error),
        };
        failures = match outcome {
            Ok(()) => 0,
            Err(error) => {
                tally.error(error);
                failures + 1
            }
        };
    }
    Ok(tally)
}

/// One request and its whole answer.
async fn ask(shared: &Shared, sender: &mut Sender, tally: &mut Tally) -> Result<(), String> {
    let path = path(shared);
    let said = |error: &dyn std::error::Error| {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("{error}{cause}")
    };
    let request = Request::get(path.as_str()).header(HOST, &shared.plan.target.host).body(Empty::new()).map_err(|error| said(&error))?;
    let begun = Instant::now();
    let response = sender.send_request(request).await.map_err(|error| said(&error))?;
    let (head, mut body) = response.into_parts();
    let mut digest = Context::new(&SHA256);
    let mut octets = 0_u64;
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|error| said(&error))?.into_data() {
            octets += data.len() as u64;
            digest.update(&data);
        }
    }
    tally.answer(head.status.as_u16(), begun.elapsed(), octets, is_hit(&head.headers));
    let announced = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|announced| announced != octets) {
        tally.wrong_body(format!("a body has {octets} octets where Content-Length says {}", announced.unwrap_or_default()));
    } else if head.status.is_success() {
        let mut seen = [0; 32];
        seen.copy_from_slice(digest.finish().as_ref());
        let expected = shared.expected.get_or_init(|| seen);
        if *expected != seen {
            tally.wrong_body(format!("a body has SHA-256 {} where {} is expected", hex(&seen), hex(expected)));
        }
    }
    Ok(())
}

fn path(shared: &Shared) -> PathAndQuery {
    match shared.plan.objects {
        Objects::Same => shared.plan.target.path.clone(),
        Objects::Unseen => shared.plan.target.unseen(&shared.mark, shared.unseen.fetch_add(1, Ordering::Relaxed)),
    }
}

/// Whether an answer says that the cache nearest to the client had it: the `X-Cache-Status` that the configuration of a peer adds,
/// else the last member of `Cache-Status` (RFC 9211), which a peer would hand on from behind it.
fn is_hit(headers: &HeaderMap) -> bool {
    if let Some(peer) = headers.get("x-cache-status") {
        return peer.as_bytes() == b"HIT";
    }
    let nearest = headers.get_all("cache-status").iter().next_back().and_then(|value| value.to_str().ok()?.rsplit(',').next());
    nearest.is_some_and(|member| member.split(';').skip(1).any(|parameter| parameter.trim() == "hit"))
}

/// A digest as people write it.
#[must_use]
pub fn hex(digest: &Digest) -> String {
    digest.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Reads a digest of 64 hexadecimal digits.
///
/// # Errors
/// A sentence: it is something else.
pub fn digest(text: &str) -> Result<Digest, String> {
    let wrong = || format!("`{text}` is no SHA-256 digest of 64 hexadecimal digits");
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let mut digest = [0; 32];
    for (octet, digits) in digest.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
        *octet = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
    }
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_as_it_is_written() {
        let text = "00ff10".to_owned() + &"ab".repeat(29);
        assert_eq!(digest(&text).map(|digest| hex(&digest)), Ok(text));
        for wrong in ["", "zz", &"g".repeat(64), &"é".repeat(32), &"+1".repeat(32)] {
            assert!(digest(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_nearest_cache_decides_what_a_hit_is() {
        let hit = |name: &'static str, values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(name, http::HeaderValue::from_static(value));
            }
            is_hit(&headers)
        };
        assert!(hit("cache-status", &["edge-1; hit; ttl=3"]));
        assert!(hit("cache-status", &["shield-1; fwd=miss, edge-1; hit"]));
        assert!(hit("cache-status", &["shield-1; fwd=miss", "edge-1;hit"]));
        assert!(!hit("cache-status", &["shield-1; hit, edge-1; fwd=miss; stored"]));
        assert!(!hit("cache-status", &["hit"]));
        assert!(hit("x-cache-status", &["HIT"]));
        assert!(!hit("x-cache-status", &["MISS"]));
    }
}
