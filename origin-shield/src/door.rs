//! What the shield says to its front door: that the answer has to be waited for, because the purge number of an edge may have to be; or that the
//! request is passed through.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use skerry_agent::figures::{Answered, Outcome};
use skerry_transport::client::Client;
use skerry_transport::door::{Behind, Reply, Told};
use skerry_transport::head::{Head, Refusal};
use skerry_transport::hygiene::SCHEME;
use skerry_transport::pass::Kind;

use crate::cached::Cached;
use crate::fault::Fault;
use crate::request::{Shield, is_logged};

/// The shield as its front door knows it.
pub(crate) struct AtTheDoor(pub(crate) Arc<Shield>);

impl Behind for AtTheDoor {
    fn ask(&self, mut head: Head, edge: &Arc<Client>) -> Reply {
        let started = Instant::now();
        if Kind::of(&head) != Kind::Request {
            return Reply::Pass;
        }
        let https = head.headers.get(&SCHEME).is_some_and(|scheme| scheme == "https");
        head.take_for(https);
        let uri = is_logged().then(|| [&*head.authority, &head.path_and_query].concat());
        Reply::Later(Box::new(Cached { shield: Arc::clone(&self.0), edge: Arc::clone(edge), started, uri, head }))
    }

    fn refused(&self, refusal: Refusal, client: &Client) -> Told {
        let status = Fault::Head.status();
        self.0.figures.refused(refusal);
        let outcome = Outcome::Error;
        self.0.figures.answered(&Answered {
            slot: None,
            status: status.as_u16(),
            outcome,
            is_cut: false,
            bytes: 0,
            head: None,
            seconds: 0.0,
        });
        tracing::debug!(target: "skerry::access", client = %client.ip(), status = status.as_u16(), reason = refusal.as_str(), "refused");
        let headers = HeaderMap::from_iter([(header::CONTENT_LENGTH, HeaderValue::from(0_u16))]);
        Told { status, headers, body: Bytes::new() }
    }
}
