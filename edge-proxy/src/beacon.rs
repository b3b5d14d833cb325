//! The beacon: a request that is answered with nothing at once, so that a page can have the edge measure how far its client is.
//!
//! Nothing that the client says is believed: its connection is measured as that of any other request. Where a page wants another node measured, it asks
//! that node, by the node's own name.

use std::sync::Arc;

use async_trait::async_trait;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use prometheus::{IntCounterVec, Opts, Registry};
use skerry_cache::answer::CacheStatus;
use skerry_config::snapshot::Served;
use skerry_transport::asker::{Asker, Later, Whole};
use skerry_transport::head::Head;

use crate::fault::Fault;
use crate::forwarded::Came;
use crate::request::Edge;
use crate::shape;

/// Where it is, on the hosts of every site.
const PATH: &str = "/.well-known/skerry/rtt";

/// Lets pages of every origin see how long it took (Resource Timing, section 3.5.2).
const TIMING_ALLOW_ORIGIN: HeaderName = HeaderName::from_static("timing-allow-origin");

/// What is counted of it. It is no request of a site: the cache has nothing to do with it.
pub(crate) struct Beacon {
    is_on: bool,
    asked: IntCounterVec,
}

impl Beacon {
    #[expect(clippy::expect_used, reason = "names and labels are constants; a registry refuses only duplicates and malformed names")]
    pub(crate) fn new(is_on: bool, registry: &Registry) -> Self {
        let asked = Opts::new("skerry_edge_beacons_total", "Requests for the beacon, by whether they were answered with it.");
        let asked = IntCounterVec::new(asked, &["outcome"]).expect("valid");
        registry.register(Box::new(asked.clone())).expect("registered once");
        for outcome in ["answered", "refused"] {
            asked.with_label_values(&[outcome]);
        }
        Self { is_on, asked }
    }

    /// Whether it is what is asked for.
    pub(crate) fn is_at(&self, path: &str) -> bool {
        self.is_on && path == PATH
    }
}

/// A request for it.
pub(crate) struct Asking {
    pub(crate) edge: Arc<Edge>,
    pub(crate) served: Arc<Served>,
    pub(crate) came: Came,
    pub(crate) head: Head,
}

#[async_trait]
impl Later for Asking {
    async fn answer(self: Box<Self>, asker: &mut dyn Asker) {
        let Self { edge, served, came, head } = *self;
        let permit = edge.gate.request();
        let admitted = match permit {
            None => Err(Fault::Busy),
            Some(_) => edge.admit(&served, head.path(), &head.headers, &came).map_err(|over| edge.too_often(&served, over)),
        };
        let (status, headers, text, outcome) = match admitted {
            Ok(()) => (StatusCode::NO_CONTENT, fields(&edge), None, "answered"),
            Err(fault) => {
                let (headers, text) = edge.refusal(&CacheStatus::default(), &fault, false);
                (fault.status(), headers, Some(text), "refused")
            }
        };
        edge.beacon.asked.with_label_values(&[outcome]).inc();
        // Whoever left was measured all the same.
        asker.answer(status, headers, &mut Whole(text)).await;
    }
}

fn fields(edge: &Edge) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(TIMING_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    shape::sign(&mut headers, &edge.name);
    headers
}
