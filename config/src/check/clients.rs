//! What the values mean together that say how long requests may take, how often clients may ask, and whose word on them is believed.

use std::time::Duration;

use super::cache::path_pattern;
use super::fault::{Findings, quoted};
use super::names;
use crate::limits::{PASS_IDLE_MAX, PASS_TIME_MAX, PROXIES_MAX, RATE_LIMITS_MAX, RATE_PERIOD_MAX, RATE_REQUESTS_MAX};
use crate::site::{ForwardedAs, Forwarding, Pass, RateBy, RateLimit};
use crate::units::Period;

/// Times that are none, or longer than may be.
pub(crate) fn pass(pass: &Pass, findings: &mut Findings) {
    for (name, idle, whole) in [
        ("request", pass.request_idle_timeout, pass.request_timeout),
        ("websocket", pass.websocket_idle_timeout, pass.websocket_timeout),
        ("grpc", pass.grpc_idle_timeout, pass.grpc_timeout),
        ("events", pass.events_idle_timeout, pass.events_timeout),
    ] {
        time(idle, PASS_IDLE_MAX, &format!("pass.{name}_idle_timeout"), findings);
        time(whole, PASS_TIME_MAX, &format!("pass.{name}_timeout"), findings);
    }
}

/// Limits that allow nothing, or more than can be counted.
pub(crate) fn rate_limits(limits: &[RateLimit], findings: &mut Findings) {
    if limits.len() > RATE_LIMITS_MAX {
        findings.add("rate_limits", format!("{} rate limits; a site has at most {RATE_LIMITS_MAX}", limits.len()));
    }
    for (index, limit) in limits.iter().enumerate().take(RATE_LIMITS_MAX) {
        let path = format!("rate_limits[{index}]");
        if let Some(pattern) = &limit.path
            && let Err(why) = path_pattern(pattern)
        {
            findings.add(format!("{path}.path"), format!("{} {why}", quoted(pattern)));
        }
        if let RateBy::Header(name) = &limit.by
            && let Err(why) = names::match_header(name.as_str())
        {
            findings.add(format!("{path}.by"), format!("{} {why}", quoted(name.as_str())));
        }
        for (name, number) in [("requests", Some(limit.requests)), ("burst", limit.burst)] {
            if let Some(number) = number.filter(|number| !(1..=RATE_REQUESTS_MAX).contains(number)) {
                findings.add(format!("{path}.{name}"), format!("{number} is out of bounds; write 1 to {RATE_REQUESTS_MAX}"));
            }
        }
        time(limit.period, RATE_PERIOD_MAX, &format!("{path}.period"), findings);
    }
}

/// A way to tell origins of clients that is written twice, and too many load balancers.
pub(crate) fn forwarding(forwarding: &Forwarding, findings: &mut Findings) {
    for (index, way) in forwarding.send.iter().enumerate() {
        if forwarding.send[..index].contains(way) {
            let name = if *way == ForwardedAs::Forwarded { "forwarded" } else { "x-forwarded" };
            findings.add(format!("forwarding.send[{index}]"), format!("\"{name}\" is there already; keep one of them"));
        }
    }
    if forwarding.trust.len() > PROXIES_MAX {
        findings.add("forwarding.trust", format!("{} ranges; write at most {PROXIES_MAX}", forwarding.trust.len()));
    }
}

fn time(period: Period, max: Duration, path: &str, findings: &mut Findings) {
    if period.0.is_zero() || period.0 > max {
        findings.add(path, format!("\"{period}\" is out of bounds; write more than \"0s\" and at most \"{}\"", Period(max)));
    }
}
