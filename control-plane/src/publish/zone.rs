//! What a DNS node is told: what makes the present zone of the one it has, one change after another.

use std::time::Duration;

use bytes::Bytes;
use skerry_agent::wire::{Order, order};
use tokio::sync::{mpsc, watch};
use tonic::Status;

use crate::feed::Whole;
use crate::feed::pieces::Pieces;
use crate::health::Session;
use crate::plane::Plane;

/// Time that a node has to put a change in force; one that needs longer is connected anew.
const KEPT_MAX: Duration = Duration::from_secs(60);

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
            for piece in pieces {
                if orders.send(Ok(Order { what: Some(order::What::Zone(piece)) })).await.is_err() {
                    return "the connection ended".to_owned();
                }
            }
            match tokio::time::timeout(KEPT_MAX, kept.wait_for(|kept| *kept >= number)).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) => return "the connection ended".to_owned(),
                Err(_) => return format!("the node did not put the zone in force within {} s", KEPT_MAX.as_secs()),
            }
        }
        session.has_zone(whole.state.serial);
        sent = Some(whole);
        if changes.changed().await.is_err() {
            return "the control plane stops".to_owned();
        }
    }
}
