//! Reporting how far origins and clients are.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::{End, say};
use crate::wire::{self, Report, report};
use crate::{Duties, Latency};

/// Reports how far origins are, and once that there is no more to say of them.
pub(super) async fn tell_of_origins(duties: &Arc<dyn Duties>, reports: &mpsc::Sender<Report>) -> End {
    let mut tick = interval(wire::NEAR_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_told = false;
    loop {
        tick.tick().await;
        let times = duties.times_to_origins();
        if times.is_empty() && !is_told {
            continue;
        }
        is_told = !times.is_empty();
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let times = times.into_iter().map(|(site, time)| wire::TimeTo { site, micros: micros(time) }).collect();
        if let Err(end) = say(reports, report::What::Near(wire::Near { times })).await {
            return end;
        }
    }
}

/// Reports how far clients are. What is left when one report is full is for the next, and what is measured while there is no stream for those of the
/// next stream; what was on the way when a stream ended is lost.
pub(super) async fn tell_of_clients(duties: &Arc<dyn Duties>, reports: &mpsc::Sender<Report>) -> End {
    let mut tick = interval(wire::LATENCY_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = 0;
    loop {
        tick.tick().await;
        // A place first: what is taken and cannot be sent would be lost.
        let Ok(place) = reports.reserve().await else { return End::Lost("the stream ended".to_owned()) };
        let Latency { prefixes, dropped } = duties.latency(wire::LATENCY_PREFIXES_MAX);
        if prefixes.is_empty() && dropped == told {
            continue;
        }
        told = dropped;
        let latency = wire::Latency { prefixes: prefixes.into_iter().map(Into::into).collect(), dropped };
        place.send(Report { what: Some(report::What::Latency(latency)) });
    }
}
