//! Many clients at once for one object that nobody has asked for, through all edges.

use std::sync::Arc;

use super::{Context, asking};
use crate::arrivals::Arrivals;
use crate::draw::Draw;
use crate::drive::{self, Plan, Until};
use crate::object::Kind;
use crate::report::Tally;
use crate::results::Round;

/// The figures that only this scenario has.
pub(super) const FIGURES: &[&str] = &["origin_requests_per_herd", "first_byte_p99_over_first"];

pub(super) async fn round(context: &Context<'_>) -> Result<Round, String> {
    let herd = context.plan.herd.ok_or("a herd has no table [herd]")?;
    let length = herd.clients as u64;
    let mut draws = Vec::new();
    for number in 0..u64::from(herd.herds) {
        // Each herd has a seed of its own, and with it an object of its own.
        let seed = context.number * 1_000 + number;
        draws.push(Arc::new(Draw::new(context.plan.draw(context.folder, Kind::Plain, Some(1), seed)?)?));
    }
    let first = draws.first().map(Arc::clone).ok_or("there is no herd")?;
    let plan =
        Plan { connections: herd.clients, streams: 1, until: Until::Requests(length), arrivals: Arrivals::Closed, ..asking::load(context) };
    // All herds have the same connections, which stand before the first begins and are no part of what is measured.
    let ready = drive::open_drawing(plan, Some(first)).await?;
    let mut first_bytes = Vec::with_capacity(draws.len());
    let work = async {
        let mut sum = Tally::new()?;
        let begun = std::time::Instant::now();
        for draw in draws {
            let tally = ready.drawing(draw)?.tally(Until::Requests(length)).await?;
            first_bytes.push(tally.first_byte_ratio());
            sum.add(&tally);
        }
        Ok(sum.report(begun.elapsed(), None))
    };
    let mut round = context.accounted(work).await?;
    let herds = f64::from(herd.herds);
    if let Some(requests) = round.further.get("origin_requests").copied() {
        round.further.insert("origin_requests_per_herd".to_owned(), requests / herds);
    }
    round.further.insert("first_byte_p99_over_first".to_owned(), first_bytes.iter().sum::<f64>() / herds);
    Ok(round)
}
