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
    let mut ready = Vec::new();
    for number in 0..u64::from(herd.herds) {
        // Each herd has a seed of its own, and with it an object of its own.
        let seed = context.number * 1_000 + number;
        let draw = Arc::new(Draw::new(context.plan.draw(context.folder, Kind::Plain, Some(1), seed)?)?);
        let plan = Plan {
            others: context.clients[1..].to_vec(),
            connections: herd.clients,
            streams: 1,
            until: Until::Requests(length),
            arrivals: Arrivals::Closed,
            ..asking::load(context)
        };
        ready.push((plan, draw));
    }
    let mut first_bytes = Vec::with_capacity(ready.len());
    let work = async {
        let mut sum = Tally::new()?;
        let begun = std::time::Instant::now();
        let mut spent = std::time::Duration::ZERO;
        for (plan, draw) in ready {
            // The connections of a herd stand before it begins.
            let opening = begun.elapsed();
            let ready = drive::open_drawing(plan, Some(draw)).await?;
            spent += begun.elapsed() - opening;
            let tally = ready.tally(Until::Requests(length)).await?;
            first_bytes.push(tally.first_byte_ratio());
            sum.add(&tally);
        }
        Ok(sum.report(begun.elapsed().saturating_sub(spent), None))
    };
    let mut round = context.accounted(work).await?;
    let herds = f64::from(herd.herds);
    if let Some(requests) = round.further.get("origin_requests").copied() {
        round.further.insert("origin_requests_per_herd".to_owned(), requests / herds);
    }
    round.further.insert("first_byte_p99_over_first".to_owned(), first_bytes.iter().sum::<f64>() / herds);
    Ok(round)
}
