//! Hits while a crowd reads slowly: what others notice of it, and what memory it takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Context, asking};
use crate::client::Client;
use crate::draw::{Draw, Seen, Wish};
use crate::object::{Kind, Object};
use crate::results::Round;

/// How much of an answer a slow reader lets come before it reads, in bytes.
const WINDOW: u32 = 64 << 10;
/// How long the crowd may take until all of it reads.
const GATHER_MAX: Duration = Duration::from_secs(60);
/// The number of the object that all of the crowd read.
const NUMBER: u64 = 1 << 61;

/// The figures that only this scenario has.
pub(super) const FIGURES: &[&str] = &["slow_clients", "slow_clients_cut_off"];

pub(super) async fn round(context: &Context<'_>) -> Result<Round, String> {
    let slow = context.plan.slow.ok_or("slow clients have no table [slow]")?;
    let ready = asking::stored(context, Kind::Plain).await?;
    let object = Object { kind: Kind::Plain, number: NUMBER, bytes: slow.bytes };
    let draw = Arc::new(Draw::new(context.plan.draw(context.folder, Kind::Plain, None, 1)?)?);
    asking::warm(context.clients, &draw, vec![object]).await?;
    let (reading, broken) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicU64::new(0)));
    let (stop, stopped) = watch::channel(false);
    let mut crowd = JoinSet::new();
    for index in 0..slow.clients {
        let client = context.clients[index % context.clients.len()].clone().with_window(WINDOW);
        let (draw, reading, broken, mut stopped) = (Arc::clone(&draw), Arc::clone(&reading), Arc::clone(&broken), stopped.clone());
        crowd.spawn(async move {
            tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => {}
                read = read(&client, &draw, object, slow.rate, &reading) => {
                    // Who is done before the end was not slow, or was cut off.
                    broken.fetch_add(u64::from(read.is_err()), Ordering::Relaxed);
                }
            }
        });
    }
    let all = u32::try_from(slow.clients).unwrap_or(u32::MAX);
    let gathered = timeout(GATHER_MAX, reading.acquire_many(all)).await;
    drop(gathered.map_err(|_| format!("not all of {} slow clients read within {GATHER_MAX:?}", slow.clients))?);
    let round = context.accounted(asking::asked(context, &ready)).await;
    let left = broken.load(Ordering::Relaxed);
    let _ = stop.send(true);
    crowd.join_all().await;
    let mut round = context.as_named(round?, true)?;
    round.further.insert("slow_clients".to_owned(), slow.clients as f64);
    round.further.insert("slow_clients_cut_off".to_owned(), left as f64);
    Ok(round)
}

async fn read(client: &Client, draw: &Draw, object: Object, rate: u64, reading: &Semaphore) -> Result<(), String> {
    let mut connection = client.connect().await?;
    let wish = Wish::whole(object);
    let mut seen = Seen::new(draw, &wish);
    let head = connection
        .ask_slowly(client.request(&object.path())?, rate, |part| {
            if seen.octets == 0 {
                reading.add_permits(1);
            }
            seen.take(part);
        })
        .await
        .map_err(|error| error.to_string())?;
    seen.answers(head.status, &head.headers).map(|_| ())
}
