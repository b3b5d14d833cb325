//! Whether a response may be stored (RFC 9111 section 3), and the name of the reason when not.
//!
//! Pure. Request directives count only where the site says so: behind a shared cache any client could use them against the others.
//!
//! One rule is stricter than the RFC: a response with `Set-Cookie` is stored only when somebody says that it is for everyone.

use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode, header};
use skerry_config::site::SetCookie;
use skerry_config::snapshot::Policy;

use crate::control::{Asked, Control};
use crate::freshness::{Freshness, Source, is_heuristically_cacheable, is_negative};
use crate::range::{self, ContentRange};
use crate::time::Time;
use crate::vary;

mod deception;

/// Fields that belong to one connection and are no part of what is stored (section 3.1), besides those that `Connection` names, which the
/// transport takes out.
pub(crate) const OF_ONE_CONNECTION: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// What to keep of a response that may be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// How long.
    pub freshness: Freshness,
    /// The fields it varies on.
    pub fields: vary::Fields,
    /// The fields of it that are not to be stored, each once.
    pub omit: Vec<HeaderName>,
    /// The part of the whole that a 206 brings.
    pub part: Option<ContentRange>,
}

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The site's rule says so.
    Bypass,
    /// `no-store`.
    NoStore,
    /// `private`.
    Private,
    /// The request had `Authorization` and the response does not allow sharing (section 3.5).
    Authorization,
    /// It sets a cookie and nothing says it is for everyone.
    SetCookie,
    /// `Vary: *`.
    VaryStar,
    /// `Vary` with too many fields, or malformed.
    VaryFields,
    /// A partial response, a status that must be understood and is not, or one that is stored only with a lifetime it does not have.
    Status,
    /// Neither lifetime nor validator: it could never be used.
    Unusable,
    /// Larger than the largest body that is stored.
    TooLarge,
    /// The path names a static file and the body is a document: perhaps somebody's own page, asked for under a name that looks cacheable.
    Deception,
    /// The request says `no-store`, and the site obeys.
    RequestNoStore,
    /// A stream of events: it has no end, and one client's is not another's.
    Events,
}

impl Refusal {
    /// All reasons, in the order of [`Refusal::index`].
    pub const ALL: [Self; 13] = [
        Self::Bypass,
        Self::NoStore,
        Self::Private,
        Self::Authorization,
        Self::SetCookie,
        Self::VaryStar,
        Self::VaryFields,
        Self::Status,
        Self::Unusable,
        Self::TooLarge,
        Self::Deception,
        Self::RequestNoStore,
        Self::Events,
    ];

    /// The reason's place in [`Refusal::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// The reason as a token.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::Authorization => "authorization",
            Self::SetCookie => "set-cookie",
            Self::VaryStar => "vary-star",
            Self::VaryFields => "vary-fields",
            Self::Status => "status",
            Self::Unusable => "no-freshness",
            Self::TooLarge => "too-large",
            Self::Deception => "deception",
            Self::RequestNoStore => "request-no-store",
            Self::Events => "event-stream",
        }
    }
}

/// A response as the rules see it.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: &'a HeaderMap,
    /// How old it was when it arrived, where that is known outright.
    pub age: Option<Duration>,
    /// `request_time`.
    pub requested_at: Time,
    /// `response_time`.
    pub responded_at: Time,
}

/// The GET request that a response answers, as the rules see it.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Its path as sent, without query.
    pub path: &'a str,
    /// Its header fields.
    pub headers: &'a HeaderMap,
    /// It asked upstream for one range, whatever the fields above say.
    pub ranged: bool,
}

/// Whether a response is a stream of events (the HTML standard, section 9.2).
fn is_events(headers: &HeaderMap) -> bool {
    const NAME: &[u8] = b"text/event-stream";
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.as_bytes().get(..NAME.len()));
    value.is_some_and(|start| start.eq_ignore_ascii_case(NAME))
}

/// Judges the response to a GET request.
///
/// # Errors
/// The first reason not to store it.
pub fn judge(request: Question<'_>, response: Response<'_>, policy: &Policy) -> Result<Kept, Refusal> {
    let Response { status, headers, age, requested_at, responded_at } = response;
    if policy.bypass {
        return Err(Refusal::Bypass);
    }
    if is_events(headers) {
        return Err(Refusal::Events);
    }
    let control = Control::of(headers);
    let part = understood_part(request, response, &control)?;
    if policy.obey_request && Asked::of(request.headers).no_store {
        return Err(Refusal::RequestNoStore);
    }
    // Section 5.2.2.3: a cache that understands the status ignores no-store beside must-understand.
    if control.no_store && !control.must_understand {
        return Err(Refusal::NoStore);
    }
    if control.private {
        return Err(Refusal::Private);
    }
    let shared = control.public || control.s_maxage.is_some();
    if request.headers.contains_key(header::AUTHORIZATION) && !shared && !control.must_revalidate {
        return Err(Refusal::Authorization);
    }
    let omit = omitted(&control, policy);
    // A cookie handed to everyone may be somebody's session: a lifetime from a rule is no word about that, only the origin's is.
    let freshness = Freshness::of(status, headers, &control, policy, age, requested_at, responded_at);
    let is_given = shared || (policy.cookies.set_cookie == SetCookie::Store && freshness.source.is_origins());
    if headers.contains_key(header::SET_COOKIE) && !is_given && !omit.contains(&header::SET_COOKIE) {
        return Err(Refusal::SetCookie);
    }
    if policy.deception_guard && deception::is_likely(request.path, response, &control, policy) {
        return Err(Refusal::Deception);
    }
    let fields = vary::fields(headers).map_err(|refused| match refused {
        vary::Refused::Star => Refusal::VaryStar,
        vary::Refused::Fields => Refusal::VaryFields,
    })?;
    let by_itself = is_heuristically_cacheable(status) || is_negative(status, policy);
    if freshness.source == Source::Nothing && !control.public && !by_itself {
        return Err(Refusal::Status);
    }
    let has_validator = [header::ETAG, header::LAST_MODIFIED].iter().any(|name| headers.contains_key(name) && !omit.contains(name));
    let served_stale = !freshness.stale_while_revalidate.is_zero() || !freshness.stale_if_error.is_zero();
    let usable = (!freshness.lifetime.is_zero() && !freshness.no_cache) || served_stale;
    if !usable && !has_validator {
        return Err(Refusal::Unusable);
    }
    Ok(Kept { freshness, fields, omit, part })
}

/// Section 3: any final status may be stored, but 206, 304 and one that must be understood only if it is. A 206 is understood as one part
/// of what was asked for (section 3.3). A 416 answers a range, a 304 and a 412 a condition, a 417 an expectation; none was asked for.
fn understood_part(request: Question<'_>, response: Response<'_>, control: &Control) -> Result<Option<ContentRange>, Refusal> {
    let status = response.status;
    if status == StatusCode::PARTIAL_CONTENT {
        let part = range::content_range(response.headers).ok().filter(|_| request.ranged);
        return part.map(Some).ok_or(Refusal::Status);
    }
    let answers_one = matches!(status.as_u16(), 304 | 412 | 416 | 417);
    if answers_one || status.is_informational() || (control.must_understand && !is_understood(status)) {
        return Err(Refusal::Status);
    }
    Ok(None)
}

/// The fields that are not stored: those that `private` names (section 5.2.2.7); those that `no-cache` names (section 5.2.2.4), because what
/// is not stored is never sent without validation; and cookies, where the site takes them out of answers.
fn omitted(control: &Control, policy: &Policy) -> Vec<HeaderName> {
    let mut omit: Vec<HeaderName> = control.private_fields.iter().chain(&control.no_cache_fields).cloned().collect();
    if policy.cookies.set_cookie == SetCookie::Strip {
        omit.push(header::SET_COOKIE);
    }
    omit.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    omit.dedup();
    omit
}

/// The final statuses whose caching requirements this cache knows.
#[must_use]
pub fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..=206 | 300..=303 | 305..=308 | 400..=411 | 413..=415 | 421..=426 | 428 | 429 | 431 | 451 | 500..=508 | 511
    )
}

#[cfg(test)]
mod tests;
