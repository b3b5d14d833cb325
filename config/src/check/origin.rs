//! What the values of an origin mean together: its servers, its times, and what it is spared. Judges typed values; never sees text.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::fault::{Findings, quoted};
use super::names;
use crate::limits::{
    ANSWER_TIMEOUT_MAX, CONNECT_TIMEOUT_MAX, ORIGIN_AT_ONCE_MAX, ORIGIN_EJECTION_MAX, ORIGIN_ERRORS_MAX, ORIGIN_OPEN_MAX,
    ORIGIN_QUEUE_TIME_MAX, ORIGIN_RETRIES_MAX, ORIGIN_RETRY_AFTER_MAX, ORIGINS_MAX,
};
use crate::origin::Server;
use crate::site::{Breaker, Origin, OriginLimits};
use crate::units::Period;

/// Everything that is wrong with an origin by itself.
pub(crate) fn check(origin: &Origin, findings: &mut Findings) {
    if origin.urls.is_empty() {
        findings.add("origin.urls", "the list is empty; write at least one origin, such as \"https://origin.example.net\"");
    }
    if origin.urls.len() > ORIGINS_MAX {
        findings.add("origin.urls", format!("{} origins; a site has at most {ORIGINS_MAX}", origin.urls.len()));
    }
    let mut seen = HashMap::new();
    for (index, url) in origin.urls.iter().enumerate().take(ORIGINS_MAX) {
        let path = format!("origin.urls[{index}]");
        match url.parse::<Server>() {
            Err(says) => findings.add(path, says),
            Ok(server) => {
                if let Some(first) = seen.insert(server, index) {
                    findings.add(path, format!("{} is origin.urls[{first}] already; keep one of them", quoted(url)));
                }
            }
        }
    }
    if let Some(host) = &origin.host_header
        && let Err(why) = names::host_and_port(host)
    {
        findings.add("origin.host_header", format!("{} {why}", quoted(host)));
    }
    if let Some(name) = &origin.server_name {
        server_name(name, findings);
    }
    timeout(origin.connect_timeout, CONNECT_TIMEOUT_MAX, "origin.connect_timeout", findings);
    timeout(origin.first_byte_timeout, ANSWER_TIMEOUT_MAX, "origin.first_byte_timeout", findings);
    timeout(origin.between_bytes_timeout, ANSWER_TIMEOUT_MAX, "origin.between_bytes_timeout", findings);
    limits(&origin.limits, findings);
    breaker(&origin.breaker, findings);
    within(origin.retries.percent, 0..=100, "origin.retries.percent", findings);
    within(origin.retries.floor, 0..=ORIGIN_RETRIES_MAX, "origin.retries.floor", findings);
    within(origin.ejection.errors, 0..=ORIGIN_ERRORS_MAX, "origin.ejection.errors", findings);
    within(origin.ejection.percent, 0..=100, "origin.ejection.percent", findings);
    timeout(origin.ejection.time, ORIGIN_EJECTION_MAX, "origin.ejection.time", findings);
}

fn breaker(breaker: &Breaker, findings: &mut Findings) {
    within(breaker.errors, 0..=ORIGIN_ERRORS_MAX, "origin.breaker.errors", findings);
    timeout(breaker.open, ORIGIN_OPEN_MAX, "origin.breaker.open", findings);
    if breaker.retry_after_max.0 > ORIGIN_RETRY_AFTER_MAX {
        let (period, most) = (breaker.retry_after_max, Period(ORIGIN_RETRY_AFTER_MAX));
        findings.add("origin.breaker.retry_after_max", format!("\"{period}\" is too long; write at most \"{most}\""));
    }
}

fn limits(limits: &OriginLimits, findings: &mut Findings) {
    within(limits.concurrent, 1..=ORIGIN_AT_ONCE_MAX, "origin.limits.concurrent", findings);
    within(limits.queue, 0..=ORIGIN_AT_ONCE_MAX, "origin.limits.queue", findings);
    timeout(limits.queue_time, ORIGIN_QUEUE_TIME_MAX, "origin.limits.queue_time", findings);
}

fn within(number: u32, bounds: RangeInclusive<u32>, path: &str, findings: &mut Findings) {
    if !bounds.contains(&number) {
        findings.add(path, format!("{number} is out of bounds; write {} to {}", bounds.start(), bounds.end()));
    }
}

fn server_name(name: &str, findings: &mut Findings) {
    // An empty name would turn verification off in the TLS connector, whatever `verify_tls` says.
    if name.is_empty() {
        findings.add("origin.server_name", "the name is empty; write the name in the origin's certificate, or leave the field out");
    } else if name.parse::<std::net::IpAddr>().is_err()
        && let Err(why) = names::host(name)
    {
        findings.add("origin.server_name", format!("{} {why}", quoted(name)));
    }
}

fn timeout(period: Period, max: Duration, path: &str, findings: &mut Findings) {
    if period.0.is_zero() {
        findings.add(path, format!("\"0s\" leaves no time at all; write more than that, up to \"{}\"", Period(max)));
    } else if period.0 > max {
        findings.add(path, format!("\"{period}\" is too long; write at most \"{}\"", Period(max)));
    }
}
