//! How long a stored response is fresh and how old it is (RFC 9111 section 4.2), and how long it may be served stale (RFC 5861).
//!
//! Pure: time is an argument. Never decides whether to store.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use skerry_config::snapshot::Policy;

use crate::control::{Control, SECONDS_MAX, delta_seconds};
use crate::time::Time;

/// The longest heuristic lifetime.
pub const HEURISTIC_MAX: Duration = Duration::from_secs(86_400);

/// Age, lifetime and windows of one stored response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// `freshness_lifetime`.
    pub lifetime: Duration,
    /// `corrected_initial_age`.
    pub initial_age: Duration,
    /// `response_time`.
    pub responded_at: Time,
    /// Where the lifetime comes from.
    pub source: Source,
    /// `no-cache`: never used without validation.
    pub no_cache: bool,
    /// How long beyond its lifetime it may be served while it is refreshed.
    pub stale_while_revalidate: Duration,
    /// How long beyond its lifetime it may be served when upstream fails.
    pub stale_if_error: Duration,
}

/// Where a lifetime comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The site's rule, in place of the origin's.
    Rule,
    /// `s-maxage`.
    SharedMaxAge,
    /// `max-age`.
    MaxAge,
    /// `Expires`.
    Expires,
    /// The site's default, as the origin said nothing.
    Default,
    /// A share of the time since `Last-Modified`.
    Heuristic,
    /// Nothing: the response is stale from the start.
    Nothing,
}

impl Freshness {
    /// What follows from a response that was asked for at `requested_at` and arrived at `responded_at`.
    #[must_use]
    pub fn of(status: StatusCode, headers: &HeaderMap, control: &Control, policy: &Policy, requested_at: Time, responded_at: Time) -> Self {
        let (lifetime, source) = lifetime(status, headers, control, policy, responded_at);
        // Where the operator says how long, that counts from the origin's answer, whatever its clock says.
        let by_date = !matches!(source, Source::Rule | Source::Default);
        // RFC 9111 section 4.2.4: what the origin forbids, no window allows; `s-maxage` alone gives way to a window said outright.
        let forbidden = control.must_revalidate || control.proxy_revalidate || control.no_cache;
        let silent = control.s_maxage.is_none();
        let window = |by_rule: Option<Duration>, by_origin: Option<u64>, by_default: Duration| {
            if forbidden {
                return Duration::ZERO;
            }
            by_rule.or(by_origin.map(Duration::from_secs)).unwrap_or(if silent { by_default } else { Duration::ZERO })
        };
        Self {
            lifetime,
            initial_age: initial_age(headers, requested_at, responded_at, by_date),
            responded_at,
            source,
            no_cache: control.no_cache,
            stale_while_revalidate: window(
                policy.stale_while_revalidate.map(|period| period.0),
                control.stale_while_revalidate,
                policy.default_stale_while_revalidate.0,
            ),
            stale_if_error: window(policy.stale_if_error.map(|period| period.0), control.stale_if_error, policy.default_stale_if_error.0),
        }
    }

    /// `current_age`; never decreases as `now` grows, and never less than at arrival.
    #[must_use]
    pub fn age(&self, now: Time) -> Duration {
        self.initial_age.saturating_add(now.since(self.responded_at))
    }

    /// Whether it may be used without asking (RFC 9111 section 4.2).
    #[must_use]
    pub fn is_fresh(&self, now: Time) -> bool {
        !self.no_cache && self.lifetime > self.age(now)
    }

    /// Whether it may be used stale while it is refreshed (RFC 5861 section 3).
    #[must_use]
    pub fn may_revalidate_behind(&self, now: Time) -> bool {
        self.is_within(self.stale_while_revalidate, now)
    }

    /// Whether it may be used stale because upstream fails (RFC 5861 section 4).
    #[must_use]
    pub fn may_cover_error(&self, now: Time) -> bool {
        self.is_within(self.stale_if_error, now)
    }

    fn is_within(&self, window: Duration, now: Time) -> bool {
        !self.no_cache && self.lifetime.saturating_add(window) > self.age(now) && !window.is_zero()
    }

    /// Whether every use must be validated first, so that nothing is gained by waiting for another's answer.
    #[must_use]
    pub fn is_for_one(&self) -> bool {
        self.no_cache || (self.lifetime <= self.initial_age && self.stale_while_revalidate.is_zero())
    }

    /// Seconds of freshness left; negative when stale.
    #[must_use]
    pub fn ttl(&self, now: Time) -> i64 {
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        millis(self.lifetime).saturating_sub(millis(self.age(now))).div_euclid(1_000)
    }
}

/// RFC 9111 section 4.2.1, with the site's words before and after the origin's.
fn lifetime(status: StatusCode, headers: &HeaderMap, control: &Control, policy: &Policy, responded_at: Time) -> (Duration, Source) {
    let seconds = Duration::from_secs;
    let by_origin = by_origin(headers, control, responded_at);
    let ours = is_heuristically_cacheable(status) && !status.is_server_error();
    if let Some(ttl) = policy.ttl
        && (ours || by_origin.is_some())
    {
        return (ttl.0, Source::Rule);
    }
    if let Some((lifetime, source)) = by_origin {
        return (seconds(lifetime), source);
    }
    if ours && !policy.default_ttl.0.is_zero() {
        return (policy.default_ttl.0, Source::Default);
    }
    if is_heuristically_cacheable(status) || control.public {
        let date = date(headers, header::DATE).unwrap_or(responded_at.seconds());
        if let Some(modified) = date_field(headers, header::LAST_MODIFIED).flatten() {
            let tenth = seconds(date.saturating_sub(modified) / 10).min(HEURISTIC_MAX);
            if !tenth.is_zero() {
                return (tenth, Source::Heuristic);
            }
        }
    }
    (Duration::ZERO, Source::Nothing)
}

/// Seconds by `s-maxage`, `max-age` or `Expires`.
fn by_origin(headers: &HeaderMap, control: &Control, responded_at: Time) -> Option<(u64, Source)> {
    if let Some(seconds) = control.s_maxage {
        return Some((seconds, Source::SharedMaxAge));
    }
    if let Some(seconds) = control.max_age {
        return Some((seconds, Source::MaxAge));
    }
    if control.targeted {
        return None;
    }
    // RFC 9111 section 5.3: a value that is no date, "0" above all, is in the past; several are invalid unless equal.
    let expires = date_field(headers, header::EXPIRES)?;
    let base = date(headers, header::DATE).unwrap_or(responded_at.seconds());
    Some((expires.map_or(0, |expires| expires.saturating_sub(base)).min(SECONDS_MAX), Source::Expires))
}

/// RFC 9111 section 4.2.3.
fn initial_age(headers: &HeaderMap, requested_at: Time, responded_at: Time, by_date: bool) -> Duration {
    let date = if by_date { date(headers, header::DATE) } else { None };
    let apparent_age = Duration::from_secs(date.map_or(0, |date| responded_at.seconds().saturating_sub(date)));
    let corrected = Duration::from_secs(age_value(headers)).saturating_add(responded_at.since(requested_at));
    apparent_age.max(corrected)
}

/// RFC 9111 section 5.1: the first member of the first line; 0 when it is no number.
fn age_value(headers: &HeaderMap) -> u64 {
    let first = headers.get(header::AGE).and_then(|value| crate::control::members(value.as_bytes()).next());
    first.and_then(delta_seconds).unwrap_or(0)
}

/// A date field: `None` when absent, `Some(None)` when invalid or given twice with different values; seconds since the epoch.
fn date_field(headers: &HeaderMap, name: header::HeaderName) -> Option<Option<u64>> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    if lines.any(|other| other != first) {
        return Some(None);
    }
    Some(first.to_str().ok().and_then(seconds_of))
}

/// A valid date, else nothing.
pub(crate) fn date(headers: &HeaderMap, name: header::HeaderName) -> Option<u64> {
    date_field(headers, name).flatten()
}

/// Seconds since the epoch of an HTTP date in any of the three forms.
pub(crate) fn seconds_of(text: &str) -> Option<u64> {
    httpdate::parse_http_date(text.trim()).ok().map(|time| Time::from(time).seconds())
}

/// RFC 9110 section 15.1.
#[must_use]
pub fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

#[cfg(test)]
mod tests;
