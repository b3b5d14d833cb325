//! How long a stored response is fresh and how old it is (RFC 9111 section 4.2), and how long it may be served stale (RFC 5861).
//!
//! Pure: time is an argument. Never decides whether to store.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use skerry_config::snapshot::Policy;
use skerry_config::status::StatusPattern;

use crate::control::{Asked, Control, SECONDS_MAX, delta_seconds};
use crate::time::Time;

mod date;

pub use date::{http_date, http_date_at};

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
    /// `must-revalidate`, `proxy-revalidate` or `s-maxage`: never used stale but within a window that somebody gave outright.
    pub must_revalidate: bool,
    /// `immutable` (RFC 8246): it does not change while it is fresh.
    pub immutable: bool,
    /// How long beyond its lifetime it may be served while it is refreshed.
    pub stale_while_revalidate: Duration,
    /// How long beyond its lifetime it may be served when upstream fails.
    pub stale_if_error: Duration,
}

/// Where a lifetime comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// One of the site's `ttls`, in place of the origin's.
    Ttls,
    /// The site's `negative`, for an error about which the origin says nothing.
    Negative,
    /// The `ttl` of the site's rule, in place of the origin's.
    Rule,
    /// `s-maxage`.
    SharedMaxAge,
    /// `max-age`.
    MaxAge,
    /// `Expires`.
    Expires,
    /// The site's `default_ttl`, as the origin said nothing.
    Default,
    /// A share of the time since `Last-Modified`.
    Heuristic,
    /// Nothing: the response is stale from the start.
    Nothing,
}

impl Source {
    /// Whether the origin itself gave the lifetime.
    #[must_use]
    pub fn is_origins(self) -> bool {
        matches!(self, Self::SharedMaxAge | Self::MaxAge | Self::Expires)
    }
}

impl Freshness {
    /// What follows from a response that was asked for at `requested_at` and arrived at `responded_at`. With an `age` it was as old as that then;
    /// else its fields and the time that it took say how old.
    #[must_use]
    pub fn of(
        status: StatusCode,
        headers: &HeaderMap,
        control: &Control,
        policy: &Policy,
        age: Option<Duration>,
        requested_at: Time,
        responded_at: Time,
    ) -> Self {
        let (lifetime, source) = lifetime(status, headers, control, policy, responded_at);
        // Where the operator says how long, that counts from the origin's answer, whatever its clock says.
        let by_date = !matches!(source, Source::Ttls | Source::Negative | Source::Rule | Source::Default);
        // RFC 9111 section 4.2.4: what the origin forbids, no window allows; `s-maxage` alone gives way to a window said outright.
        let forbidden = control.must_revalidate || control.proxy_revalidate || control.no_cache;
        // Section 5.2.2.10: `s-maxage` says `proxy-revalidate`.
        let silent = control.s_maxage.is_none();
        let window = |by_rule: Option<Duration>, by_origin: Option<u64>, by_default: Duration| {
            if forbidden {
                return Duration::ZERO;
            }
            by_rule.or(by_origin.map(Duration::from_secs)).unwrap_or(if silent { by_default } else { Duration::ZERO })
        };
        Self {
            lifetime,
            initial_age: age.unwrap_or_else(|| initial_age(headers, requested_at, responded_at, by_date)),
            responded_at,
            source,
            no_cache: control.no_cache,
            must_revalidate: forbidden || !silent,
            immutable: control.immutable,
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

    /// Whether a request with these directives may be answered without asking (RFC 9111 section 5.2.1). `max-stale` allows what is stale,
    /// unless the origin forbids it; a fresh `immutable` response satisfies `max-age=0` too, which is how clients reload (RFC 8246 section 2).
    #[must_use]
    pub fn satisfies(&self, asked: &Asked, now: Time) -> bool {
        if self.no_cache || asked.no_cache {
            return false;
        }
        let age = self.age(now);
        let fresh = self.lifetime > age;
        let young = asked.max_age.is_none_or(|greatest| age <= Duration::from_secs(greatest));
        let reload = asked.max_age == Some(0) && self.immutable && fresh;
        let left = asked.min_fresh.is_none_or(|least| self.lifetime >= age.saturating_add(Duration::from_secs(least)));
        let allowed = fresh
            || asked.max_stale.is_some_and(|greatest| {
                !self.must_revalidate && greatest.is_none_or(|greatest| age.saturating_sub(self.lifetime) <= Duration::from_secs(greatest))
            });
        (young || reload) && left && allowed
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
    let by_itself = is_heuristically_cacheable(status) && !status.is_server_error();
    if let Some(ttl) = by_answer(status, headers, policy, by_itself || by_origin.is_some()) {
        return (ttl, Source::Ttls);
    }
    // An error that the operator listed has its own lifetime, which is shorter than what the rule means for the thing itself.
    if by_origin.is_none() && is_negative(status, policy) {
        return if policy.negative.ttl.0.is_zero() { (Duration::ZERO, Source::Nothing) } else { (policy.negative.ttl.0, Source::Negative) };
    }
    if let Some(ttl) = policy.ttl
        && (by_itself || by_origin.is_some())
    {
        return (ttl.0, Source::Rule);
    }
    if let Some((lifetime, source)) = by_origin {
        return (seconds(lifetime), source);
    }
    if by_itself && !policy.default_ttl.0.is_zero() {
        return (policy.default_ttl.0, Source::Default);
    }
    if is_heuristically_cacheable(status) || control.public {
        let date = date_at(headers, header::DATE, responded_at).unwrap_or(responded_at.seconds());
        if let Some(modified) = date_at(headers, header::LAST_MODIFIED, responded_at) {
            let tenth = seconds(date.saturating_sub(modified) / 10).min(HEURISTIC_MAX);
            if !tenth.is_zero() {
                return (tenth, Source::Heuristic);
            }
        }
    }
    (Duration::ZERO, Source::Nothing)
}

/// The site's lifetime for such an answer. One that names the status is the operator's word that it may be stored; one that does not is
/// about what may be `stored` anyway.
fn by_answer(status: StatusCode, headers: &HeaderMap, policy: &Policy, stored: bool) -> Option<Duration> {
    if policy.ttls.is_empty() {
        return None;
    }
    let media_type = media_type(headers);
    // A part is judged as the answer that it is a part of.
    let status = if status == StatusCode::PARTIAL_CONTENT { StatusCode::OK } else { status };
    let answers = policy.ttls.iter().filter(|answer| if answer.status.is_empty() { stored } else { is_listed(&answer.status, status) });
    let mut matching = answers.filter(|answer| {
        answer.content_type.is_empty()
            || media_type.as_deref().is_some_and(|have| answer.content_type.iter().any(|want| is_type(want, have)))
    });
    matching.next().map(|answer| answer.ttl.0)
}

/// Whether a media type is the wanted one, or one of `image/*`.
fn is_type(wanted: &str, have: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(start) => have.get(..start.len()).is_some_and(|have| have.eq_ignore_ascii_case(start)),
        None => have.eq_ignore_ascii_case(wanted),
    }
}

/// The media type of a response without parameters, in lower case.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.as_bytes();
    // Its parameters may hold bytes that are no text; they do not hide what it is.
    let essence = value.split(|&byte| byte == b';').next().unwrap_or_default();
    Some(String::from_utf8_lossy(essence).trim().to_ascii_lowercase())
}

fn is_listed(list: &[StatusPattern], status: StatusCode) -> bool {
    list.iter().any(|pattern| pattern.matches(status.as_u16()))
}

/// Whether the operator keeps this error although the origin says nothing about it.
pub(crate) fn is_negative(status: StatusCode, policy: &Policy) -> bool {
    (status.is_client_error() || status.is_server_error()) && is_listed(&policy.negative.status, status)
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
    let expires = date_field(headers, header::EXPIRES, responded_at)?;
    let base = date_at(headers, header::DATE, responded_at).unwrap_or(responded_at.seconds());
    Some((expires.map_or(0, |expires| expires.saturating_sub(base)).min(SECONDS_MAX), Source::Expires))
}

/// RFC 9111 section 4.2.3. A `Date` in the future makes an apparent age of 0.
fn initial_age(headers: &HeaderMap, requested_at: Time, responded_at: Time, by_date: bool) -> Duration {
    let date = if by_date { date_at(headers, header::DATE, responded_at) } else { None };
    let apparent_age = Duration::from_secs(date.map_or(0, |date| responded_at.seconds().saturating_sub(date)));
    let corrected = Duration::from_secs(age_value(headers)).saturating_add(responded_at.since(requested_at));
    apparent_age.max(corrected)
}

/// RFC 9111 section 5.1: the first member; 0 when it is no number, as the field is ignored then.
fn age_value(headers: &HeaderMap) -> u64 {
    let first = headers.get_all(header::AGE).iter().flat_map(|line| crate::lists::members(line.as_bytes())).next();
    first.and_then(delta_seconds).unwrap_or(0)
}

/// A date field: `None` when absent, `Some(None)` when invalid or given twice with different values; seconds since the epoch.
fn date_field(headers: &HeaderMap, name: header::HeaderName, now: Time) -> Option<Option<u64>> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    if lines.any(|other| other != first) {
        return Some(None);
    }
    Some(first.to_str().ok().and_then(|text| http_date_at(text, now)))
}

fn date_at(headers: &HeaderMap, name: header::HeaderName, now: Time) -> Option<u64> {
    date_field(headers, name, now).flatten()
}

/// A valid date, else nothing. Years with two digits are read as [`http_date`] reads them.
pub(crate) fn date(headers: &HeaderMap, name: header::HeaderName) -> Option<u64> {
    date_at(headers, name, date::REFERENCE)
}

/// RFC 9110 section 15.1.
#[must_use]
pub fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

#[cfg(test)]
mod tests;
