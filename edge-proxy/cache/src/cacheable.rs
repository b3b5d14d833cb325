//! Whether a response may be stored (RFC 9111 section 3), and the name of the reason when not.
//!
//! Pure. A qualified `private` or `no-cache` counts as the plain one, which sections 5.2.2.4 and 5.2.2.7 allow. Request directives are not
//! obeyed: behind a shared cache any client could use them against the others.

use http::{HeaderMap, StatusCode, header};
use skerry_config::snapshot::Policy;

use crate::control::Control;
use crate::freshness::{Freshness, Source, is_heuristically_cacheable};
use crate::time::Time;
use crate::vary;

/// What to keep of a response that may be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// How long.
    pub freshness: Freshness,
    /// The fields it varies on.
    pub fields: vary::Fields,
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
}

impl Refusal {
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
    /// `request_time`.
    pub requested_at: Time,
    /// `response_time`.
    pub responded_at: Time,
}

/// Judges the response to a GET request with these header fields.
///
/// # Errors
/// The first reason not to store it.
pub fn judge(request: &HeaderMap, response: Response<'_>, policy: &Policy) -> Result<Kept, Refusal> {
    let Response { status, headers, requested_at, responded_at } = response;
    if policy.bypass {
        return Err(Refusal::Bypass);
    }
    let control = Control::of(headers);
    // Section 3: any final status may be stored, but one that must be understood only if it is. A 206 and a 416 answer a range, a 304
    // and a 412 a condition, a 417 an expectation; none was asked for.
    if matches!(status.as_u16(), 206 | 304 | 412 | 416 | 417) || (control.must_understand && !is_understood(status)) {
        return Err(Refusal::Status);
    }
    // Section 5.2.2.3: a cache that understands the status ignores no-store beside must-understand.
    if control.no_store && !control.must_understand {
        return Err(Refusal::NoStore);
    }
    if control.private {
        return Err(Refusal::Private);
    }
    let shared = control.public || control.s_maxage.is_some();
    if request.contains_key(header::AUTHORIZATION) && !shared && !control.must_revalidate {
        return Err(Refusal::Authorization);
    }
    // A cookie handed to everyone may be somebody's session: a lifetime from a rule is no word about that, only the origin's is.
    if headers.contains_key(header::SET_COOKIE) && !shared {
        return Err(Refusal::SetCookie);
    }
    let fields = vary::fields(headers).map_err(|refused| match refused {
        vary::Refused::Star => Refusal::VaryStar,
        vary::Refused::Fields => Refusal::VaryFields,
    })?;
    let freshness = Freshness::of(status, headers, &control, policy, requested_at, responded_at);
    if freshness.source == Source::Nothing && !control.public && !is_heuristically_cacheable(status) {
        return Err(Refusal::Status);
    }
    let has_validator = headers.contains_key(header::ETAG) || headers.contains_key(header::LAST_MODIFIED);
    let served_stale = !freshness.stale_while_revalidate.is_zero() || !freshness.stale_if_error.is_zero();
    let usable = (!freshness.lifetime.is_zero() && !freshness.no_cache) || served_stale;
    if !usable && !has_validator {
        return Err(Refusal::Unusable);
    }
    Ok(Kept { freshness, fields })
}

/// The final statuses whose caching requirements this cache knows.
#[must_use]
pub fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 201 | 202 | 203 | 204 | 205 | 300..=303 | 305..=308 | 400..=411 | 413..=415 | 421..=426 | 428 | 429 | 431 | 451 | 500..=508 | 511
    )
}

#[cfg(test)]
mod tests;
