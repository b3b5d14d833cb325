//! The node's stream: connect, say where the node stands, do what is ordered, report; again when it ends.
//!
//! Orders are carried out one after another in one task. Bringing the purge position to disk runs beside them, so that
//! purges which arrive during one write share the next.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom as _, SystemRandom};
use skerry_transport::private::Fingerprint;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tonic::{Code, Request, Status, Streaming};

use self::watched::Watched;
use crate::connect::{self, Failure};
use crate::wire::control_client::ControlClient;
use crate::wire::{self, Answered, Ask, Hello, Order, Purged, Report, ZoneKept, ZonePart, answered, order, report};
use crate::{Duties, Inner, question};

mod far;
mod history;
mod orders;
mod renewal;
mod watched;

/// Reports waiting to be sent; whoever reports waits when it is full.
const REPORTS_MAX: usize = 64;

/// Questions being answered at the same time; further ones are told so.
const QUESTIONS_MAX: usize = 16;

/// Time between two tries of a node that was removed or refused: a person has to act first.
const REFUSED_RETRY: Duration = Duration::from_secs(30);

/// Time until a purge position that could not be written is tried again.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// A stream that lived this long makes the next connection attempt an early one.
const STREAM_SETTLED: Duration = Duration::from_secs(1);

/// Time that writing to disk may take after the node was told to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Waiting between attempts: doubles from 50 ms to 2 s, each wait between half and the whole of it.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    attempts: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(50);
    const MAX: Duration = Duration::from_secs(2);

    pub(crate) fn next(&mut self) -> Duration {
        let whole = Self::FIRST.saturating_mul(1 << self.attempts.min(6)).min(Self::MAX);
        self.attempts = self.attempts.saturating_add(1);
        let mut random = [0];
        // Without a random number every node waits the whole time: worse spread, not wrong.
        if SystemRandom::new().fill(&mut random).is_err() {
            return whole;
        }
        whole / 2 + whole.mul_f64(f64::from(random[0]) / 512.0)
    }
}

/// Why a stream ended.
enum End {
    /// Try again soon.
    Lost(String),
    /// Try again, but late.
    Refused(String),
    /// The node has another certificate: try again at once, and let go of this stream when the next one stands.
    Renewed,
}

/// A stream that is held until the next one stands, so that the node does not pass for one that is away.
type Held = (Streaming<Order>, mpsc::Sender<Report>);

/// Follows until stopped; what is being written then is written to its end.
pub(crate) async fn run(inner: Arc<Inner>, duties: Arc<dyn Duties>, stop: watch::Receiver<bool>) {
    tokio::select! {
        biased;
        () = crate::stopped(stop) => {}
        never = follow(&inner, &duties) => match never {},
        () = history::keep(&inner, &duties) => {}
    }
    if tokio::time::timeout(STOP_TIMEOUT, history::store(&inner, &duties, false)).await.is_err() {
        tracing::warn!("the node's history was not written when it stopped");
    }
    if tokio::time::timeout(STOP_TIMEOUT, inner.busy.write()).await.is_err() {
        tracing::warn!("the node was still writing when it stopped");
    }
}

async fn follow(inner: &Arc<Inner>, duties: &Arc<dyn Duties>) -> Infallible {
    let mut backoff = Backoff::default();
    let mut before = None;
    let renewing = renewal::Renewing::default();
    loop {
        let began = Instant::now();
        let end = session(inner, duties, &renewing, &mut before).await;
        if began.elapsed() >= STREAM_SETTLED {
            backoff = Backoff::default();
        }
        let wait = match end {
            End::Lost(why) => {
                tracing::warn!(control = inner.settings.control.address, why, "not connected to the control plane, trying again");
                backoff.next()
            }
            End::Refused(why) => {
                tracing::error!(
                    control = inner.settings.control.address,
                    why,
                    "refused by the control plane, serving on with what is on disk"
                );
                REFUSED_RETRY
            }
            End::Renewed => continue,
        };
        tokio::time::sleep(wait).await;
    }
}

/// One stream, from connecting to its end. The one before is let go of when it stands, or cannot.
async fn session(inner: &Arc<Inner>, duties: &Arc<dyn Duties>, renewing: &renewal::Renewing, before: &mut Option<Held>) -> End {
    let (reports, outgoing) = mpsc::channel(REPORTS_MAX);
    let opened = open(inner, duties, &reports, outgoing).await;
    drop(before.take());
    let mut orders = match opened {
        Ok(orders) => orders,
        Err(end) => return end,
    };
    tracing::info!(control = inner.settings.control.address, "connected to the control plane");
    let told = ToldOf::default();
    let watched = &told.watched;
    let end = tokio::select! {
        end = carry_out(inner, duties, &mut orders, &reports, (&told, renewing)) => end,
        end = confirm(inner, duties, &reports, &told) => end,
        end = beat(duties, &reports) => end,
        end = far::tell_of_origins(duties, &reports) => end,
        end = far::tell_of_clients(duties, &reports) => end,
        end = watched::tell(duties, watched, &reports) => end,
        end = history::tell(inner, duties, &told.taken, &reports) => end,
        end = renewal::ask(inner, renewing, &reports) => end,
    };
    if matches!(end, End::Renewed) {
        *before = Some((orders, reports));
    }
    end
}

/// What one task of a stream tells the others.
#[derive(Default)]
struct ToldOf {
    /// Purges were put in force.
    moved: Notify,
    /// How long their confirmation may wait, in milliseconds.
    confirm_after_ms: AtomicU32,
    /// The control plane has taken buckets of the history.
    taken: Notify,
    watched: Watched,
}

/// Connects and says where the node stands. The position is brought to disk first: what a hello says counts as confirmed.
async fn open(
    inner: &Arc<Inner>,
    duties: &Arc<dyn Duties>,
    reports: &mpsc::Sender<Report>,
    outgoing: mpsc::Receiver<Report>,
) -> Result<Streaming<Order>, End> {
    let place = store_position(inner, duties).await.map_err(End::Lost)?;
    let tls = connect::known(&inner.identity.load()).map_err(End::Refused)?;
    let channel = connect::channel(&inner.settings.control.address, tls).await.map_err(|failure| match failure {
        Failure::Unreachable(why) => End::Lost(why),
        Failure::Untrusted(why) => End::Refused(why),
    })?;
    // It reads every site once, which is not for the runtime's threads.
    let snapshot = blocking(inner, |inner| {
        let snapshot = inner.snapshot.load_full();
        Ok(snapshot.map(|snapshot| (snapshot.version(), snapshot.digest())))
    });
    let snapshot = snapshot.await.map_err(End::Lost)?;
    let zone = blocking(inner, {
        let duties = Arc::clone(duties);
        move |_| Ok(duties.zone())
    });
    let zone = zone.await.map_err(End::Lost)?;
    let hello = Hello {
        addresses: inner.settings.public_addresses.iter().map(ToString::to_string).collect(),
        tier_address: inner.settings.tier_address.map(|address| address.to_string()).unwrap_or_default(),
        snapshot: snapshot.map(|(version, _)| version),
        digest: snapshot.map(|(_, digest)| digest.as_bytes().to_vec().into()).unwrap_or_default(),
        log: place.log,
        purge_seq: place.seq,
        software: env!("CARGO_PKG_VERSION").to_owned(),
        latitude: inner.settings.location.map(|location| location.latitude),
        longitude: inner.settings.location.map(|location| location.longitude),
        zone: zone.into(),
    };
    say(reports, report::What::Hello(hello)).await?;
    let stream =
        futures_util::stream::unfold(outgoing, |mut outgoing| async move { outgoing.recv().await.map(|report| (report, outgoing)) });
    let mut client = ControlClient::new(channel).max_decoding_message_size(wire::MESSAGE_BYTES_MAX);
    match client.follow(Request::new(stream)).await {
        Ok(response) => Ok(response.into_inner()),
        Err(status) => Err(ended(&status)),
    }
}

/// Takes orders until the stream ends.
async fn carry_out(
    inner: &Arc<Inner>,
    duties: &Arc<dyn Duties>,
    orders: &mut Streaming<Order>,
    reports: &mpsc::Sender<Report>,
    (ToldOf { moved, confirm_after_ms, taken, watched }, renewing): (&ToldOf, &renewal::Renewing),
) -> End {
    // They end with the stream.
    let mut questions = JoinSet::new();
    let mut desk = orders::Desk::new(Arc::clone(inner), Arc::clone(duties));
    loop {
        let order = match orders.message().await {
            Ok(Some(Order { what: Some(what) })) => what,
            Ok(Some(Order { what: None })) => continue,
            Ok(None) => return End::Lost("the control plane ended the stream".to_owned()),
            Err(status) => return ended(&status),
        };
        let done = match order {
            order::What::Purges(purges) => {
                confirm_after_ms.store(purges.confirm_after_ms, Ordering::Relaxed);
                desk.purges(purges).map(|()| {
                    moved.notify_one();
                    None
                })
            }
            order::What::PurgeAllThrough(through) => {
                confirm_after_ms.store(0, Ordering::Relaxed);
                desk.purge_all_through(through);
                moved.notify_one();
                Ok(None)
            }
            order::What::Snapshot(part) => desk.snapshot_part(part).await,
            order::What::SnapshotChange(change) => desk.snapshot_change(change).await.map(Some),
            order::What::Zone(part) => change_zone(inner, duties, part).await,
            order::What::Ask(ask) => {
                while questions.try_join_next().is_some() {}
                if questions.len() < QUESTIONS_MAX {
                    questions.spawn(answer(Arc::clone(duties), ask, reports.clone()));
                } else {
                    let why = format!("{QUESTIONS_MAX} other questions are being answered, ask again");
                    tell(reports, Answered { id: ask.id, outcome: Some(answered::Outcome::Error(why)) });
                }
                Ok(None)
            }
            order::What::Watch(watch) => {
                watched::take(watched, watch);
                Ok(None)
            }
            order::What::HistoryTaken(through) => {
                inner.history.taken(&through);
                taken.notify_one();
                Ok(None)
            }
            order::What::Renewed(renewed) => match renewal::take(inner, renewing, renewed).await {
                Ok(()) => return End::Renewed,
                Err(why) => {
                    tracing::error!(why, "the node's certificate is not renewed, trying again");
                    Ok(None)
                }
            },
            order::What::Revoked(revoked) => revoke(inner, revoked).await.map(|()| None),
            order::What::Removed(_) => return End::Refused("this node was removed from the CDN".to_owned()),
        };
        let said = match done {
            Ok(Some(what)) => say(reports, what).await,
            Ok(None) => Ok(()),
            Err(why) => Err(End::Lost(format!("the control plane broke the protocol: {why}"))),
        };
        if let Err(end) = said {
            return end;
        }
    }
}

/// Takes a piece of a change of the zone; the word that the change is in force, when that was its last one.
async fn change_zone(inner: &Arc<Inner>, duties: &Arc<dyn Duties>, part: ZonePart) -> Result<Option<report::What>, String> {
    let duties = Arc::clone(duties);
    let kept = blocking(inner, move |_| duties.change_zone(part)).await?;
    Ok(kept.map(|number| report::What::ZoneKept(ZoneKept { number })))
}

/// Answers a question, which may take a read from disk.
async fn answer(duties: Arc<dyn Duties>, ask: Ask, reports: mpsc::Sender<Report>) {
    tell(&reports, question::answer(duties, ask).await);
}

/// Sends an answer if it can be sent at once: with so many reports waiting it would come too late.
fn tell(reports: &mpsc::Sender<Report>, answered: Answered) {
    if reports.try_send(Report { what: Some(report::What::Answered(answered)) }).is_err() {
        tracing::warn!("an answer was dropped, the connection is too slow");
    }
}

/// Believes certificates no more, and keeps that. A disk that does not take it changes nothing of the former.
async fn revoke(inner: &Arc<Inner>, order: wire::Revoked) -> Result<(), String> {
    let list: Result<Vec<Fingerprint>, _> =
        order.certificates.iter().take(wire::REVOKED_MAX).map(|certificate| certificate[..].try_into()).collect();
    let list = list.map_err(|_| "a revoked certificate is not told by 32 bytes".to_owned())?;
    inner.private.revoke(list.iter().copied());
    if let Err(why) = blocking(inner, move |inner| inner.revoked.store(list)).await {
        tracing::error!(why, "certificates are revoked until the node restarts");
    }
    Ok(())
}

/// Confirms purges once the position is on disk. Where the control plane has many nodes to tell it gives time: what comes in it shares one write and one word.
async fn confirm(inner: &Arc<Inner>, duties: &Arc<dyn Duties>, reports: &mpsc::Sender<Report>, told: &ToldOf) -> End {
    loop {
        told.moved.notified().await;
        let after = Duration::from_millis(told.confirm_after_ms.load(Ordering::Relaxed).into());
        if !after.is_zero() {
            tokio::time::sleep(after.min(wire::CONFIRM_AFTER_MAX)).await;
        }
        loop {
            match store_position(inner, duties).await {
                Ok(place) => {
                    if let Err(end) = say(reports, report::What::Purged(Purged { seq: place.seq })).await {
                        return end;
                    }
                    break;
                }
                Err(why) => {
                    tracing::error!(why, "purges are in force but cannot be confirmed");
                    tokio::time::sleep(STORE_RETRY).await;
                }
            }
        }
    }
}

/// Brings what is in force to disk, and then the position that says so.
async fn store_position(inner: &Arc<Inner>, duties: &Arc<dyn Duties>) -> Result<crate::Place, String> {
    let duties = Arc::clone(duties);
    blocking(inner, move |inner| inner.position.store(|| duties.settle())).await
}

/// Reports the load, the sign of life.
async fn beat(duties: &Arc<dyn Duties>, reports: &mpsc::Sender<Report>) -> End {
    let mut tick = tokio::time::interval(wire::LOAD_INTERVAL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Err(end) = say(reports, report::What::Load(duties.load().into())).await {
            return end;
        }
    }
}

async fn say(reports: &mpsc::Sender<Report>, what: report::What) -> Result<(), End> {
    reports.send(Report { what: Some(what) }).await.map_err(|_| End::Lost("the stream ended".to_owned()))
}

fn ended(status: &Status) -> End {
    match status.code() {
        Code::PermissionDenied | Code::Unauthenticated => End::Refused(status.message().to_owned()),
        _ => End::Lost(status.message().to_owned()),
    }
}

/// Runs what may block away from the runtime's threads. It runs to its end even when nobody waits for it any more.
async fn blocking<T: Send + 'static>(
    inner: &Arc<Inner>,
    work: impl FnOnce(&Inner) -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let busy = Arc::clone(&inner.busy).read_owned().await;
    let inner = Arc::clone(inner);
    let done = tokio::task::spawn_blocking(move || {
        let result = work(&inner);
        // In this order: who finds nobody busy may take the data directory over.
        drop(inner);
        drop(busy);
        result
    });
    done.await.map_err(|error| format!("it could not be done: {error}"))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_in_bounds() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..40).map(|_| backoff.next()).collect();
        assert!(waits[0] <= Backoff::FIRST, "{:?}", waits[0]);
        assert!(waits.iter().all(|wait| *wait >= Backoff::FIRST / 2 && *wait <= Backoff::MAX), "{waits:?}");
        assert!(waits[10..].iter().all(|wait| *wait >= Backoff::MAX / 2), "{waits:?}");
    }
}
