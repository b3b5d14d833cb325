//! Whether everything really answers: asked from outside, as an operator and as a client would.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use serde_json::Value;
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep};

use super::child::Children;
use super::layout::ZONE;
use super::ports::HOST;
use crate::ask::ask;
use crate::cli::{Api, Call, Fail, Refusal};

/// How long the whole may take to answer.
const START_MAX: Duration = Duration::from_secs(60);
/// The rest between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long one look may take.
const LOOK_MAX: Duration = Duration::from_secs(5);

/// What `skerry dev` asks an edge for before it says that the CDN is up. The sample origin has it; another origin may say what it likes.
pub(crate) const READY_PATH: &str = "/.well-known/skerry-ready";

/// Waits until `look` gives a value. A process that ends meanwhile ends the wait with its reason.
pub(crate) async fn until<T, F: Future<Output = Result<T, String>>>(
    what: &str,
    children: &mut Children,
    mut look: impl FnMut() -> F,
) -> Result<T, String> {
    let deadline = Instant::now() + START_MAX;
    loop {
        if let Some(fault) = children.fault() {
            return Err(fault);
        }
        let seen = match look().await {
            Ok(value) => return Ok(value),
            Err(seen) => seen,
        };
        if Instant::now() > deadline {
            return Err(format!("{what} within {START_MAX:?}; last seen: {seen}"));
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Whether the API answers, to this token.
pub(crate) async fn api_answers(api: &Api) -> Result<(), String> {
    match api.try_call(Call::get("/v1/nodes")).await {
        Ok(_) => Ok(()),
        Err(Refusal::Unanswered(why)) => Err(why.to_string()),
        Err(Refusal::Status(status, says)) => Err(format!("{status}: {says}")),
    }
}

/// Whether all `names` are connected and run the newest snapshot.
pub(crate) async fn nodes_follow(api: &Api, names: &[String]) -> Result<(), String> {
    let answer = api.call(Call::get("/v1/nodes")).await.map_err(|fail: Fail| fail.to_string())?;
    match names.iter().find(|name| !follows(&answer, name)) {
        None => Ok(()),
        Some(behind) => Err(format!("{behind} does not follow the control plane yet")),
    }
}

fn follows(answer: &Value, name: &str) -> bool {
    let nodes = answer.get("nodes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    nodes.iter().any(|node| {
        node.get("name").and_then(Value::as_str) == Some(name)
            && node.get("connected").and_then(Value::as_bool) == Some(true)
            && node.get("snapshot") == answer.get("snapshot")
    })
}

/// Whether an edge answers a client. With the sample origin the answer must come from there; another origin may be down, and is then
/// the edge's to complain about.
pub(crate) async fn edge_serves(edge: SocketAddr, host: &str, sample: bool) -> Result<(), String> {
    let request = Request::get(READY_PATH).header(header::HOST, host).body(Full::<Bytes>::default()).map_err(|error| error.to_string())?;
    let answer = ask(&edge.to_string(), None, request, LOOK_MAX).await.map_err(|why| format!("{edge}: {why}"))?;
    let fine = if sample { answer.status() == StatusCode::NO_CONTENT } else { true };
    if fine { Ok(()) } else { Err(format!("{edge} answers {}", answer.status())) }
}

/// Whether DNS answers with an edge for a site. What is put in force there comes a moment after it is in force on the nodes.
pub(crate) async fn dns_answers(dns: SocketAddr, site: &str) -> Result<(), String> {
    /// An answer over UDP is not longer.
    const OCTETS_MAX: usize = 1_232;
    let failed = |error: std::io::Error| format!("{dns}: {error}");
    // One question (RFC 1035 section 4.1): the header, the name, type A, class IN.
    let mut query = vec![0x5c, 0xed, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in [site].into_iter().chain(ZONE.split('.')) {
        query.push(u8::try_from(label.len()).map_err(|error| error.to_string())?);
        query.extend_from_slice(label.as_bytes());
    }
    query.extend_from_slice(&[0, 0, 1, 0, 1]);
    let socket = UdpSocket::bind((HOST, 0)).await.map_err(failed)?;
    socket.connect(dns).await.map_err(failed)?;
    socket.send(&query).await.map_err(failed)?;
    let mut answer = [0; OCTETS_MAX];
    let received = tokio::time::timeout(LOOK_MAX, socket.recv(&mut answer)).await;
    let length = received.map_err(|_| format!("{dns} does not answer"))?.map_err(failed)?;
    match answer.get(..length) {
        Some([0x5c, 0xed, _, _, _, _, high, low, ..]) if (*high, *low) != (0, 0) => Ok(()),
        _ => Err(format!("DNS at {dns} knows no edge for {site} yet")),
    }
}
