//! The nodes' door: lets nodes join, tells them what to do, hears what they did.
//!
//! Decides nothing about what is told; that is `intent` and `purges`.

mod answers;
mod latency;
mod listen;
mod orders;
mod outgoing;
mod renew;
mod zone;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use skerry_agent::wire::control_server::Control;
use skerry_agent::wire::{Ask, Hello, History, JoinReply, JoinRequest, Order, Removed, Report, order, report};
use skerry_agent::{Role, identity};
use skerry_config::process::Location;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use crate::clock;
use crate::events::Event;
use crate::health::Session;
use crate::intent::{Issued, Node, Steering};
use crate::plane::Plane;
use crate::questions::Line;
use crate::refusal::Refusal;

use answers::{Answered, Awaited};
use orders::Telling;
use outgoing::Outgoing;

pub(crate) use listen::{serve, tls};

/// Time a node has for its hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// Orders waiting for a node's connection; whoever orders waits when it is full.
const ORDERS_MAX: usize = 4;

/// Addresses of one node.
const ADDRESSES_MAX: usize = 16;

/// Bytes of a name, region or version that a node may say.
const WORD_BYTES_MAX: usize = 63;

/// How far above our newest purge a node's number is believed.
const LIFT_MAX: u64 = 1 << 32;

/// Purges whose time on the way is looked at in one confirmation.
const AGES_MAX: usize = 1024;

/// Who is at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    role: Role,
    name: String,
    /// Its certificate.
    issued: Issued,
}

/// Where a node stands in our history.
struct Standing {
    /// The configuration in force on it.
    snapshot: Option<u64>,
    /// The last purge in force on it.
    purge_seq: Option<u64>,
}

/// The service.
#[derive(Clone)]
pub(crate) struct Door {
    plane: Arc<Plane>,
    stop: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl Control for Door {
    type FollowStream = BoxStream<Order>;

    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinReply>, Status> {
        let joined = self.let_in(request.into_inner()).await;
        let outcome = if joined.is_ok() { "joined" } else { "refused" };
        self.plane.figures.joins.with_label_values(&[outcome]).inc();
        joined.map(Response::new)
    }

    async fn follow(&self, request: Request<Streaming<Report>>) -> Result<Response<Self::FollowStream>, Status> {
        let peer = request.extensions().get::<Option<Peer>>().cloned().flatten();
        let peer = peer.ok_or_else(|| Status::unauthenticated("following needs the certificate that joining gives"))?;
        let node = match self.known(&peer) {
            Ok(node) => node,
            Err(unknown) => self.recognise(&peer).await.ok_or(unknown)?,
        };
        let mut reports = request.into_inner();
        let first = tokio::time::timeout(HELLO_TIMEOUT, reports.message()).await;
        let hello = match first.map_err(|_| Status::deadline_exceeded("no hello"))?? {
            Some(Report { what: Some(report::What::Hello(hello)) }) => hello,
            _ => return Err(Status::invalid_argument("the first report must be a hello")),
        };
        let location = self.place(&node, &hello).await?;
        if node.issued.certificate != peer.issued.certificate {
            self.plane.intent.use_renewed(&peer.name, &self.plane.revoked).await.map_err(|refusal| refused(&refusal))?;
            self.plane.events.node(&peer.name, "renewed");
        }
        let standing = self.standing(&peer, &hello).await?;
        let zone = hello.zone.clone();
        let purge_seq = standing.purge_seq.unwrap_or(0);
        let session = self.plane.health.connect(&peer.name, peer.role, standing.snapshot, purge_seq, hello.software);
        session.stands(location);
        let line = self.plane.questions.open(&peer.name);
        // Again, because a removal that came between would not have found the stream to end.
        self.known(&peer)?;
        tracing::info!(node = peer.name, role = peer.role.word(), snapshot = hello.snapshot, purge_seq = hello.purge_seq, "node connected");
        let (orders, others) = mpsc::channel(ORDERS_MAX);
        let (answers, answered) = watch::channel(Answered { has: standing.snapshot, last: None });
        let awaited = Arc::new(Awaited::default());
        let (over, told_over) = oneshot::channel();
        let telling = peer.role.is_tier().then(|| {
            let telling = Telling::new(&self.plane, &peer, &standing, answered, Arc::clone(&awaited));
            telling.stream(over)
        });
        tokio::spawn(self.clone().attend(peer, session, line, reports, (answers, awaited, told_over, zone), orders));
        Ok(Response::new(Box::pin(Outgoing { others, telling })))
    }
}

impl Door {
    pub(crate) fn new(plane: Arc<Plane>, stop: watch::Receiver<bool>) -> Self {
        Self { plane, stop }
    }

    /// The record of a node, when its certificate is the one it was given, or the next one.
    fn known(&self, peer: &Peer) -> Result<Arc<Node>, Status> {
        let is_its = |node: &Arc<Node>| {
            [Some(&node.issued), node.next.as_ref()].into_iter().flatten().any(|issued| issued.certificate == peer.issued.certificate)
        };
        let node = self.plane.intent.node(&peer.name).ok().filter(is_its);
        node.ok_or_else(|| {
            Status::permission_denied(format!("node {:?} is not, or no longer, one of this CDN's; it must join again", peer.name))
        })
    }

    /// The record of a node that shows a certificate of ours newer than all that its record has: the store was put back to a copy from before.
    async fn recognise(&self, peer: &Peer) -> Option<Arc<Node>> {
        let plane = &self.plane;
        match plane.intent.recognise_node(&peer.name, peer.issued.clone(), &plane.revoked).await {
            Ok(node) => {
                tracing::warn!(node = peer.name, "a node has a certificate that is newer than the store knows; it goes on by it");
                Some(node)
            }
            Err(why) => {
                tracing::debug!(node = peer.name, why = why.says(), "a certificate is not known");
                None
            }
        }
    }

    /// What a hello confirms: nothing that is of another history, as of a store that was lost or put back to an older copy. Numbers that
    /// we have not reached are left behind us, so that what the node stores is older than every purge from here on.
    async fn standing(&self, peer: &Peer, hello: &Hello) -> Result<Standing, Status> {
        let purges = &self.plane.purges;
        let reach = purges.lineage.reach(&hello.log);
        let head = purges.head();
        let standing = Standing {
            snapshot: self.standing_snapshot(peer, hello).await?,
            purge_seq: Some(hello.purge_seq).filter(|seq| reach.is_some_and(|reach| *seq <= reach.purge_seq.min(head))),
        };
        let ahead = standing.purge_seq.is_none() && !hello.log.is_empty() && hello.purge_seq >= head;
        if ahead && hello.purge_seq - head <= LIFT_MAX {
            let seq = purges.lift(hello.purge_seq).await.map_err(|refusal| refused(&refusal))?;
            tracing::warn!(
                node = peer.name,
                its = hello.purge_seq,
                head,
                seq,
                "a node knows purges that this store does not; everything is purged"
            );
            self.plane.events.tell(Event::Purge { seq });
        }
        Ok(standing)
    }

    /// The configuration that a node has, when it is one of ours. One of another history has to be followed by a higher number, because the number on
    /// a node never falls.
    async fn standing_snapshot(&self, peer: &Peer, hello: &Hello) -> Result<Option<u64>, Status> {
        let Some(version) = hello.snapshot else { return Ok(None) };
        let intent = &self.plane.intent;
        if intent.known(version).is_some_and(|known| known.digest().as_bytes() == hello.digest) {
            return Ok(Some(version));
        }
        let settled = intent.state().tracks.settled.version;
        if version >= settled && version - settled <= LIFT_MAX {
            tracing::warn!(
                node = peer.name,
                its = version,
                settled,
                "a node has a configuration that this store does not know; ours get higher numbers"
            );
            intent.lift(version).await.map_err(|refusal| refused(&refusal))?;
        }
        Ok(None)
    }

    async fn let_in(&self, request: JoinRequest) -> Result<JoinReply, Status> {
        let role = request
            .role()
            .role()
            .ok_or_else(|| Status::invalid_argument("a node must say whether it is an edge, a shield or a DNS node"))?;
        check_name(&request.name)?;
        let key = renew::key_of(&request.csr).map_err(Status::invalid_argument)?;
        let plane = &self.plane;
        let admission =
            plane.tokens.admit(&request.token, role, &request.name, &key).map_err(|why| Status::permission_denied(why.says()))?;
        plane.removed.check_token(&admission.token).map_err(|refusal| refused(&refusal))?;
        let certificate = plane.ca.issue(role, &request.name, &request.csr).map_err(Status::invalid_argument)?;
        let node = Node {
            name: request.name.clone(),
            role: role.word().to_owned(),
            region: admission.region.clone(),
            issued: Issued::of(&certificate),
            next: None,
            former: Vec::new(),
            token: admission.token.clone(),
            drained: false,
            steering: Steering::default(),
            addresses: Vec::new(),
            tier_address: None,
            joined_at: clock::now(),
        };
        let admitted = plane.intent.admit_node(node, admission.mark.clone(), admission.again, &plane.revoked).await;
        admitted.map_err(|refusal| refused(&refusal))?;
        plane.removed.joined(&request.name, &admission.token).await;
        plane.tokens.used(admission);
        plane.events.node(&request.name, "joined");
        tracing::info!(node = request.name, role = role.word(), "node joined");
        Ok(JoinReply { certificate: certificate.to_vec().into(), ca: plane.ca.certificate().to_vec().into() })
    }

    /// Keeps the addresses of a hello; gives back where the node stands.
    async fn place(&self, node: &Node, hello: &Hello) -> Result<Option<Location>, Status> {
        let wrong = |what: &str| Status::invalid_argument(format!("the hello of node {:?} has {what}", node.name));
        if hello.addresses.len() > ADDRESSES_MAX || hello.software.len() > WORD_BYTES_MAX {
            return Err(wrong("too many addresses or too long a version"));
        }
        let addresses: Result<Vec<_>, _> = hello.addresses.iter().map(|address| address.parse()).collect();
        let addresses = addresses.map_err(|_| wrong("an address that is none"))?;
        let tier_address = match hello.tier_address.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|_| wrong("a tier address that is none"))?),
        };
        let location = hello.latitude.zip(hello.longitude).map(|(latitude, longitude)| Location { latitude, longitude });
        if location.is_some_and(|location| !location.is_on_earth()) {
            return Err(wrong("a place that is not on earth"));
        }
        self.plane.intent.place_node(&node.name, addresses, tier_address).await.map_err(|refusal| refused(&refusal))?;
        Ok(location)
    }

    /// A node's stream, until either side ends it.
    async fn attend(
        self,
        peer: Peer,
        session: Session,
        (line, asks): (Line, mpsc::Receiver<Ask>),
        reports: Streaming<Report>,
        (answers, awaited, over, zone): (watch::Sender<Answered>, Arc<Awaited>, oneshot::Receiver<String>, Bytes),
        orders: mpsc::Sender<Result<Order, Status>>,
    ) {
        let plane = &self.plane;
        let role = peer.role.word();
        plane.events.node(&peer.name, "connected");
        self.count(peer.role);
        let (kept, zone_kept) = watch::channel(0);
        let told = async {
            match peer.role {
                Role::Dns => zone::tell(plane, &session, zone, zone_kept, &orders).await,
                Role::Edge | Role::Shield => over.await.unwrap_or_else(|_| "the connection ended".to_owned()),
            }
        };
        let why = tokio::select! {
            why = self.listen(&peer, &session, &line, (&answers, &*awaited, &kept), reports, &orders) => why,
            why = orders::ask(asks, &orders) => why,
            why = orders::watch(plane, &orders) => why,
            why = orders::revoked(plane, &orders) => why,
            why = told => why,
            () = session.end.cancelled() => "removed, or connected anew".to_owned(),
            () = skerry_agent::stopped(self.stop.clone()) => "the control plane stops".to_owned(),
        };
        if self.known(&peer).is_err() {
            // Full means that the node does not read; it learns the same from being refused.
            let _ = orders.try_send(Ok(Order { what: Some(order::What::Removed(Removed {})) }));
        }
        drop((session, line));
        self.count(peer.role);
        // Where it is connected anew it was not away.
        if !plane.health.live(&peer.name).connected {
            plane.events.node(&peer.name, "disconnected");
        }
        tracing::info!(node = peer.name, role, why, "node disconnected");
    }

    fn count(&self, role: Role) {
        let connected = i64::try_from(self.plane.health.connected(role)).unwrap_or(i64::MAX);
        self.plane.figures.nodes_connected.with_label_values(&[role.word()]).set(connected);
    }

    /// Hears reports until the stream ends.
    async fn listen(
        &self,
        peer: &Peer,
        session: &Session,
        line: &Line,
        (answers, awaited, kept): (&watch::Sender<Answered>, &Awaited, &watch::Sender<u64>),
        mut reports: Streaming<Report>,
        orders: &mpsc::Sender<Result<Order, Status>>,
    ) -> String {
        let plane = &self.plane;
        let one_history = Arc::new(Semaphore::new(1));
        loop {
            let what = match reports.message().await {
                Ok(Some(report)) => report.what,
                Ok(None) => return "the node ended the stream".to_owned(),
                Err(status) => return status.message().to_owned(),
            };
            match what {
                Some(report::What::Adopted(adopted)) if awaited.is_answered(adopted.version) => {
                    let version = Some(adopted.version);
                    answers.send_replace(Answered { has: version, last: version });
                    session.adopted(adopted.version);
                    self.tell_about(peer, "adopted", adopted.version, None);
                }
                Some(report::What::Refused(refused)) if awaited.is_answered(refused.version) => {
                    let refused = answers::bounded(refused);
                    tracing::error!(
                        node = peer.name,
                        snapshot = refused.version,
                        reason = refused.reason,
                        "node refused the configuration"
                    );
                    plane.figures.snapshots_refused.inc();
                    answers.send_modify(|answered| answered.last = Some(refused.version));
                    plane.rollouts.refused(&peer.name, &refused);
                    session.refused(refused.reason.clone());
                    self.tell_about(peer, "refused", refused.version, Some(refused.reason));
                }
                Some(report::What::Purged(purged)) => {
                    let seq = purged.seq.min(plane.purges.head());
                    for age in session.confirmed(seq, |before| plane.purges.ages(before, seq, AGES_MAX)) {
                        plane.figures.purge_applied.observe(age.as_secs_f64());
                    }
                }
                Some(report::What::Load(load)) => session.load(load.into()),
                Some(report::What::History(history)) => self.take_history(peer, history, &one_history, orders),
                Some(report::What::Near(near)) => session.near(near),
                Some(report::What::Latency(latency)) => self.take_latency(peer, session, latency),
                Some(report::What::ZoneKept(told)) => {
                    kept.send_if_modified(|kept| std::mem::replace(kept, told.number.max(*kept)) < told.number);
                }
                Some(report::What::Renew(renew)) => {
                    let renewed = self.renew(peer, renew).await;
                    // As above: the node asks again.
                    drop(orders.try_send(Ok(Order { what: Some(order::What::Renewed(renewed)) })));
                }
                Some(report::What::SiteFigures(told)) => session.site_figures(told),
                Some(report::What::Answered(answered)) => line.answered(answered),
                // The last two answer nothing that was sent, or answer it once more.
                Some(report::What::Hello(_) | report::What::Adopted(_) | report::What::Refused(_)) | None => {}
            }
        }
    }

    /// Has buckets of a node's history taken, one report at a time. Where there is no room for it, or for the word that it was taken, the node sends it
    /// again: whoever waited here would leave reports unread.
    fn take_history(&self, peer: &Peer, history: History, one: &Arc<Semaphore>, orders: &mpsc::Sender<Result<Order, Status>>) {
        let Ok(place) = Arc::clone(one).try_acquire_owned() else { return };
        // What waits to be written does not keep the stream open.
        let orders = orders.downgrade();
        let taken = move |taken| {
            drop(place);
            if let Some(orders) = orders.upgrade() {
                drop(orders.try_send(Ok(Order { what: Some(order::What::HistoryTaken(taken)) })));
            }
        };
        if !self.plane.history.tell(&peer.name, history, taken) {
            tracing::warn!(node = peer.name, "too many nodes' histories wait to be written; this one is sent again");
        }
    }

    fn tell_about(&self, peer: &Peer, what: &str, snapshot: u64, reason: Option<String>) {
        let (name, what) = (peer.name.clone(), what.to_owned());
        self.plane.events.tell(Event::Node { name, what, snapshot: Some(snapshot), reason });
    }
}

impl Peer {
    /// Who a verified certificate belongs to.
    fn of(certificate: &[u8]) -> Option<Self> {
        let (role, name) = identity::owner(certificate)?;
        Some(Self { role, name, issued: Issued::of(certificate) })
    }
}

fn check_name(name: &str) -> Result<(), Status> {
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    let known = bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-');
    if name.len() > WORD_BYTES_MAX || !known || !ends(bytes.first()) || !ends(bytes.last()) {
        let says = "a node's name has 1 to 63 characters of a-z, 0-9 and -, starting and ending with a letter or digit";
        return Err(Status::invalid_argument(format!("{name:?} is not a node's name; {says}")));
    }
    Ok(())
}

fn refused(refusal: &Refusal) -> Status {
    match refusal {
        Refusal::Broken(_) | Refusal::Busy(_) => Status::unavailable(refusal.says()),
        Refusal::Conflict(_) => Status::already_exists(refusal.says()),
        Refusal::Missing(_) => Status::permission_denied(refusal.says()),
        _ => Status::failed_precondition(refusal.says()),
    }
}
