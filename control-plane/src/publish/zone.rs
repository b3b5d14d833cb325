//! What a DNS node is told: what makes the present zone of the one it has, one change after another.

use std::time::Duration;

use bytes::Bytes;
use skerry_agent::wire::{Order, ZonePart, order};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use crate::feed::Whole;
use crate::feed::pieces::Pieces;
use crate::health::Session;
use crate::plane::Plane;

/// Time that a node has to take a change and put it in force; one that needs longer is connected anew.
const KEPT_MAX: Duration = Duration::from_secs(60);

/// By so much longer for each piece that it has taken: at 64 KiB a second and more no zone is too large.
const PIECE_TIME: Duration = Duration::from_secs(1);

/// Tells a node every change of the zone, the next one when it has said that the last is in force, so that what came meanwhile is one change. Until
/// its stream ends; why it did. `told` is what its hello said of the zone, `kept` the number of the last change in force on it.
pub(super) async fn tell(
    plane: &Plane,
    session: &Session,
    told: Bytes,
    mut kept: watch::Receiver<u64>,
    orders: &mpsc::Sender<Result<Order, Status>>,
) -> String {
    let mut changes = plane.feed.changes();
    let mut sent: Option<Whole> = None;
    let mut number = 0;
    loop {
        changes.mark_unchanged();
        let feed = std::sync::Arc::clone(&plane.feed);
        let (told, before) = (told.clone(), sent.clone());
        let next = number + 1;
        // It reads every row.
        let made = tokio::task::spawn_blocking(move || {
            let whole = feed.whole()?;
            let pieces = match &before {
                None => Pieces::after_hello(next, &told, &whole),
                Some(before) => Pieces::between(next, before, &whole),
            };
            Ok::<_, String>((whole, pieces))
        });
        let (whole, pieces) = match made.await {
            Ok(Ok(made)) => made,
            Ok(Err(why)) => return why,
            Err(error) => return format!("the zone could not be read: {error}"),
        };
        if let Some(pieces) = pieces {
            number = next;
            if let Err(why) = change(pieces, number, &mut kept, orders).await {
                return why;
            }
        }
        session.has_zone(whole.state.serial);
        sent = Some(whole);
        if changes.changed().await.is_err() {
            return "the control plane stops".to_owned();
        }
    }
}

/// Sends a change, and waits until it is in force on the node. Why it is not.
async fn change(
    pieces: impl Iterator<Item = ZonePart>,
    number: u64,
    kept: &mut watch::Receiver<u64>,
    orders: &mpsc::Sender<Result<Order, Status>>,
) -> Result<(), String> {
    let began = Instant::now();
    let mut until = began + KEPT_MAX;
    let ended = || "the connection ended".to_owned();
    let late = |_| format!("the node did not put the zone in force within {} s", began.elapsed().as_secs());
    for piece in pieces {
        let sending = orders.send(Ok(Order { what: Some(order::What::Zone(piece)) }));
        timeout_at(until, sending).await.map_err(late)?.map_err(|_| ended())?;
        until += PIECE_TIME;
    }
    timeout_at(until, kept.wait_for(|kept| *kept >= number)).await.map_err(late)?.map_err(|_| ended())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(count: u64) -> impl Iterator<Item = ZonePart> {
        (1..=count).map(move |nth| ZonePart { number: 1, last: nth == count, ..ZonePart::default() })
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_takes_no_pieces_is_not_waited_for() {
        let (orders, _taken) = mpsc::channel(4);
        let (_told, mut kept) = watch::channel(0);
        let why = tokio::time::timeout(Duration::from_secs(300), change(pieces(1_000), 1, &mut kept, &orders)).await;
        assert_eq!(why.unwrap().unwrap_err(), "the node did not put the zone in force within 64 s");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_node_gets_a_large_zone_nevertheless() {
        let (orders, mut taken) = mpsc::channel::<Result<Order, Status>>(4);
        let (told, mut kept) = watch::channel(0);
        let taking = async {
            let mut pace = tokio::time::interval(Duration::from_millis(900));
            for _ in 0..1_000 {
                pace.tick().await;
                taken.recv().await.unwrap().unwrap();
            }
            told.send_replace(1);
        };
        let (outcome, ()) = tokio::join!(change(pieces(1_000), 1, &mut kept, &orders), taking);
        assert_eq!(outcome, Ok(()));
    }
}
