//! Hits while their tags are purged, at instants that are planned in advance, whatever becomes of the purges before.
//!
//! After each purge is confirmed, every edge is asked for some of what had the tag, and must have it from the origin anew: the number that the origin
//! gives each answer is above the one that it stood at when the purge was sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use http::{Method, StatusCode};
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Context, asking};
use crate::api::Api;
use crate::arrivals::{Arrivals, Schedule};
use crate::client::{Client, Connection};
use crate::compare::Counter;
use crate::draw::{Draw, Wish};
use crate::object::{Kind, Object, TAGS};
use crate::origin::NUMBER;
use crate::results::Round;

/// How long a purge may take.
const PURGE_MAX: Duration = Duration::from_secs(10);
/// Asks for one, and for the word that all nodes have confirmed it.
const PURGE: &str = "/v1/purges?wait=5s";
/// The longest purge that is told apart, in microseconds.
const PURGE_MAX_US: u64 = 10_000_000;
/// The most purges that are under way at once, with what is asked after each.
const AT_ONCE_MAX: usize = 64;
/// The most objects of a tag that every edge is asked for after a purge of it, chosen by chance: to ask for all would be a load of its own.
const CHECKED_MAX: usize = 5;
/// The share of the planned purges, in percent, that must be done.
const DONE_MIN_PERCENT: u64 = 99;

/// The figures that only this scenario has.
pub(super) const FIGURES: &[&str] = &["purges", "purge_p50_us", "purge_p99_us"];

pub(super) async fn round(context: &Context<'_>) -> Result<Round, String> {
    let purge = context.plan.purge.ok_or("purges have no table [purge]")?;
    let ready = asking::stored(context, Kind::Tagged).await?;
    let draw = Arc::new(Draw::new(context.plan.draw(context.folder, Kind::Tagged, Some(context.plan.objects.count), 1)?)?);
    let schedule = Schedule::of(Arrivals::Constant(purge.rate), context.plan.length()).ok_or("purges have no rate")?;
    let planned = schedule.planned();
    let storm = Arc::new(Storm::new(context, draw, schedule)?);
    let work = async {
        let (report, purged) = tokio::join!(asking::asked(context, &ready), Storm::rage(&storm));
        purged?;
        report
    };
    let mut round = context.accounted(work).await?;
    let taken = storm.taken.lock().clone();
    are_done(taken.len(), planned)?;
    round.further.insert("purges".to_owned(), taken.len() as f64);
    round.further.insert("purge_p50_us".to_owned(), taken.value_at_percentile(50.0) as f64);
    round.further.insert("purge_p99_us".to_owned(), taken.value_at_percentile(99.0) as f64);
    Ok(round)
}

/// Whether enough of the purges were done.
fn are_done(done: u64, planned: u64) -> Result<(), String> {
    if done * 100 < planned * DONE_MIN_PERCENT {
        return Err(format!("{done} of {planned} planned purges were done in time, {DONE_MIN_PERCENT} % must be"));
    }
    Ok(())
}

/// The purges of a round.
struct Storm {
    api: Api,
    origin: Counter,
    clients: Vec<Client>,
    draw: Arc<Draw>,
    schedule: Arc<Schedule>,
    /// The objects of each tag.
    tagged: Vec<Vec<Object>>,
    number: AtomicU64,
    /// From the planned instant to the last confirmation; the lock covers the counting of one.
    taken: Mutex<Histogram<u64>>,
}

impl Storm {
    fn new(context: &Context<'_>, draw: Arc<Draw>, schedule: Arc<Schedule>) -> Result<Self, String> {
        let api = context.server.purges.clone().ok_or("it has no purge by tag")?;
        let (origin, clients) = (context.origin.counter.clone(), context.clients.to_vec());
        let mut tagged = vec![Vec::new(); usize::try_from(TAGS).unwrap_or(0)];
        for object in draw.at_first() {
            tagged[usize::try_from(object.number % TAGS).unwrap_or(0)].push(object);
        }
        let taken = Histogram::new_with_bounds(1, PURGE_MAX_US, 3).map_err(|error| error.to_string())?;
        Ok(Self { api, origin, clients, draw, schedule, tagged, number: AtomicU64::new(0), taken: Mutex::new(taken) })
    }

    /// Makes all of them; the first that fails ends it.
    async fn rage(storm: &Arc<Self>) -> Result<(), String> {
        let begun = Instant::now();
        let _pace = storm.schedule.begin(begun, AT_ONCE_MAX)?;
        let mut all = JoinSet::new();
        for _ in 0..AT_ONCE_MAX {
            let storm = Arc::clone(storm);
            all.spawn(async move { storm.purge_in_turn(begun).await });
        }
        while let Some(ended) = all.join_next().await {
            ended.map_err(|error| format!("a purge's task failed: {error}"))??;
        }
        Ok(())
    }

    /// Takes one planned instant after another, as long as there are any.
    async fn purge_in_turn(&self, begun: Instant) -> Result<(), String> {
        let mut open: Vec<Option<Connection>> = self.clients.iter().map(|_| None).collect();
        while let Some(due) = self.schedule.next(begun).await {
            let number = self.number.fetch_add(1, Ordering::Relaxed);
            let tag = number % TAGS;
            let stood = self.origin.figures().await?.requests;
            send(&self.api, tag).await?;
            let spent = begun.elapsed().saturating_sub(due);
            self.taken.lock().saturating_record(u64::try_from(spent.as_micros()).unwrap_or(PURGE_MAX_US).max(1));
            self.is_gone(&mut open, tag, number, stood).await?;
        }
        Ok(())
    }

    /// Whether every edge has what had the tag anew, as far as it is asked.
    async fn is_gone(&self, open: &mut [Option<Connection>], tag: u64, number: u64, stood: u64) -> Result<(), String> {
        let objects = &self.tagged[usize::try_from(tag).unwrap_or(0)];
        for object in chosen(objects, number) {
            for (client, open) in self.clients.iter().zip(&mut *open) {
                let mut connection = match open.take() {
                    Some(connection) => connection,
                    None => client.connect().await?,
                };
                let (head, ..) = asking::ask(client, &mut connection, &self.draw, &Wish::whole(object)).await?;
                if connection.is_ready().await {
                    *open = Some(connection);
                }
                let number = head.headers.get(NUMBER).and_then(|number| number.to_str().ok()?.parse::<u64>().ok());
                let number = number.ok_or_else(|| format!("{} has no {NUMBER}", object.path()))?;
                if number <= stood {
                    let path = object.path();
                    return Err(format!(
                        "{path} was purged, and is served as it was: the origin's answer {number}, where it stood at {stood}"
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Some of them, others each time.
fn chosen(objects: &[Object], seed: u64) -> Vec<Object> {
    let (mut left, mut random) = (objects.to_vec(), SmallRng::seed_from_u64(seed));
    (0..CHECKED_MAX.min(left.len())).map(|_| left.swap_remove(random.random_range(0..left.len()))).collect()
}

/// Sends one, and waits until all nodes have confirmed it.
async fn send(api: &Api, tag: u64) -> Result<(), String> {
    let body = format!("{{\"tags\":[\"tag-{tag}\"]}}");
    let asking = timeout(PURGE_MAX, api.ask(Method::POST, PURGE, body.into()));
    let (status, said) = asking.await.map_err(|_| format!("a purge takes more than {PURGE_MAX:?}"))??;
    if status != StatusCode::ACCEPTED && status != StatusCode::OK {
        return Err(format!("a purge has status {}: {said}", status.as_u16()));
    }
    let are_none = |list: &str| said["nodes"][list].as_array().is_some_and(Vec::is_empty);
    if are_none("pending") && are_none("away") { Ok(()) } else { Err(format!("a purge is not confirmed by all nodes: {said}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_objects_of_a_tag_are_asked_for_each_time() {
        let objects: Vec<Object> = (0..20).map(|number| Object { kind: Kind::Tagged, number, bytes: 1 }).collect();
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let mut chosen: Vec<u64> = chosen(&objects, seed).iter().map(|object| object.number).collect();
            seen.extend(chosen.iter().copied());
            chosen.sort_unstable();
            chosen.dedup();
            assert_eq!(chosen.len(), CHECKED_MAX);
        }
        assert_eq!(seen.len(), objects.len());
        assert_eq!(chosen(&objects[..2], 1).len(), 2);
    }

    #[test]
    fn purges_that_were_planned_must_be_done() {
        assert_eq!((are_done(120, 120), are_done(119, 120)), (Ok(()), Ok(())));
        assert_eq!(are_done(110, 120), Err("110 of 120 planned purges were done in time, 99 % must be".to_owned()));
    }
}
