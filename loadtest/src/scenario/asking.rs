//! Hits, misses and a mix of both: requests that know nothing of one another.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::Context;
use crate::arrivals::Arrivals;
use crate::client::{Client, Connection};
use crate::draw::{Draw, Seen, Wish};
use crate::drive::{self, Objects, Plan, Ready, Until};
use crate::object::{Kind, Object};
use crate::report::Report;
use crate::results::Round;

/// How many connections ask for objects before anything is measured.
const WARMING: usize = 8;
/// How often each stream asks before misses are measured, so that all connections, those behind the server too, are there and know how fast they
/// may be.
const WARM_REQUESTS: u64 = 4;
/// Seeds of what is asked for before misses are measured begin here.
const WARM_SEED: u64 = 1 << 20;

/// Objects that are stored: each is asked for twice first.
pub(super) async fn hits(context: &Context<'_>) -> Result<Round, String> {
    let ready = stored(context, Kind::Plain).await?;
    let round = context.accounted(asked(context, &ready)).await?;
    context.as_named(round, true)
}

/// Connections that are ready to ask for objects that are stored.
pub(super) async fn stored(context: &Context<'_>, kind: Kind) -> Result<Ready, String> {
    let plan = context.plan;
    let draw = Arc::new(Draw::new(plan.draw(context.folder, kind, Some(plan.objects.count), 1)?)?);
    warm(context.clients, &draw, draw.at_first().collect()).await?;
    drive::open_drawing(load(context), Some(draw)).await
}

/// Objects that nobody has asked for.
pub(super) async fn misses(context: &Context<'_>) -> Result<Round, String> {
    let plan = context.plan;
    // A connection that is opened for the first miss is no part of what a miss costs.
    let other = Arc::new(Draw::new(plan.draw(context.folder, Kind::Plain, None, WARM_SEED + context.number)?)?);
    let at_once = (plan.load.connections * plan.load.streams) as u64;
    drive::open_drawing(load(context), Some(other)).await?.ask(Until::Requests(at_once * WARM_REQUESTS)).await?.sound()?;
    let draw = Arc::new(Draw::new(plan.draw(context.folder, Kind::Plain, None, context.number)?)?);
    let ready = drive::open_drawing(load(context), Some(draw)).await?;
    let round = context.accounted(asked(context, &ready)).await?;
    context.as_named(round, false)
}

/// Popular and less popular objects. A round goes on where the one before has ended, and all that is there at its beginning is stored.
pub(super) async fn mixed(context: &Context<'_>) -> Result<Round, String> {
    let plan = context.plan;
    let mut settings = plan.draw(context.folder, Kind::Plain, Some(plan.objects.count), 1)?;
    settings.begins = plan.length() * u32::try_from(context.number).unwrap_or(u32::MAX);
    let draw = Arc::new(Draw::new(settings)?);
    // Each round begins alike: with all that is there at first stored.
    warm(context.clients, &draw, draw.at_first().collect()).await?;
    let ready = drive::open_drawing(load(context), Some(draw)).await?;
    context.accounted(asked(context, &ready)).await
}

/// How the plan asks.
pub(super) fn load(context: &Context<'_>) -> Plan {
    shared_out(context.plan, context.clients)
}

/// The same of clients of several edges, over all of which the connections are shared out.
fn shared_out(plan: &crate::plan::Plan, clients: &[Client]) -> Plan {
    Plan {
        client: clients[0].clone(),
        others: clients[1..].to_vec(),
        connections: plan.load.connections,
        streams: plan.load.streams,
        until: Until::Elapsed(plan.length()),
        objects: Objects::Drawn,
        expected: None,
        arrivals: plan.arrivals().unwrap_or(Arrivals::Closed),
        answer: Duration::from_secs(plan.load.answer_s),
        progress: true,
    }
}

/// Asks as the plan says.
pub(super) async fn asked(context: &Context<'_>, ready: &Ready) -> Result<Report, String> {
    ready.ask_by(Until::Elapsed(context.plan.length()), context.plan.arrivals()?).await
}

/// Asks each server for each object twice: stored at the first time, in memory at the second.
pub(super) async fn warm(clients: &[Client], draw: &Arc<Draw>, objects: Vec<Object>) -> Result<(), String> {
    let objects = Arc::new(objects);
    let mut all = JoinSet::new();
    for (client, index) in clients.iter().flat_map(|client| (0..WARMING).map(move |index| (client.clone(), index))) {
        let (draw, objects) = (Arc::clone(draw), Arc::clone(&objects));
        all.spawn(async move {
            let mut open = None;
            for &object in objects.iter().skip(index).step_by(WARMING) {
                for _ in 0..2 {
                    let mut connection = match open.take() {
                        Some(connection) => connection,
                        None => client.connect().await?,
                    };
                    ask(&client, &mut connection, &draw, &Wish::whole(object)).await?;
                    if connection.is_ready().await {
                        open = Some(connection);
                    }
                }
            }
            Ok::<(), String>(())
        });
    }
    while let Some(ended) = all.join_next().await {
        ended.map_err(|error| format!("a client's task failed: {error}"))??;
    }
    Ok(())
}

/// Asks once, and checks the answer; how long it took to the first and to the last octet.
pub(super) async fn ask(
    client: &Client,
    connection: &mut Connection,
    draw: &Draw,
    wish: &Wish,
) -> Result<(http::response::Parts, Duration, Duration), String> {
    let mut request = client.request(&wish.object.path())?;
    wish.write(&mut request);
    let mut seen = Seen::new(draw, wish);
    let begun = std::time::Instant::now();
    let mut first = None;
    let asking = connection.ask(request, |part| {
        first.get_or_insert_with(|| begun.elapsed());
        seen.take(part);
    });
    let head = tokio::time::timeout(drive::ANSWER_TIMEOUT, asking).await;
    let head = head.map_err(|_| format!("{}: no answer within {:?}", wish.object.path(), drive::ANSWER_TIMEOUT))?;
    let head = head.map_err(|error| format!("{}: {error}", wish.object.path()))?;
    seen.answers(head.status, &head.headers)?;
    let last = begun.elapsed();
    Ok((head, first.unwrap_or(last), last))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::client::Protocol;
    use crate::object::Pattern;
    use crate::origin::Origin;
    use crate::target::Target;

    #[tokio::test]
    async fn every_edge_is_asked_the_same_share() {
        let (mut edges, mut clients) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let edge = Origin::start(Arc::new(Pattern::new()), Duration::ZERO).await.expect("a server");
            let target = Target::find(&format!("http://{}/", edge.address), &[]).await.expect("a target");
            clients.push(Client::new(target, Protocol::H1, None).expect("a client"));
            edges.push(edge);
        }
        let plan: crate::plan::Plan = toml::from_str("scenario = \"hit\"\nwhat = \"A test.\"\n[load]\nconnections = 6").expect("a plan");
        let settings = plan.draw(std::path::Path::new("."), Kind::Plain, Some(5), 1).expect("settings");
        let draw = Arc::new(Draw::new(settings).expect("a draw"));
        let ready = drive::open_drawing(shared_out(&plan, &clients), Some(draw)).await.expect("connections");
        ready.ask(Until::Requests(60)).await.expect("a report").sound().expect("answers");
        let asked: Vec<u64> = edges.iter().map(|edge| edge.counts.requests.load(Ordering::Relaxed)).collect();
        assert_eq!(asked, [20, 20, 20]);
    }
}
