//! What the edge makes of a request's header fields before the cache sees them.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use skerry_cache::key::{COUNTRY, DEVICE};
use skerry_config::site::Key;
use skerry_transport::hygiene;

use crate::device;

/// Takes out what could poison the cache, and tells what the key asks for: the class of the device, the country.
///
/// The tiers' own fields are out of the client's request already.
pub(crate) fn prepare(headers: &mut HeaderMap, key: &Key, country: impl FnOnce() -> HeaderValue) {
    hygiene::strip_unkeyed(headers, &key.headers);
    if key.device {
        headers.insert(HeaderName::from_static(DEVICE), HeaderValue::from_static(device::class(headers)));
    }
    if key.country {
        headers.insert(HeaderName::from_static(COUNTRY), country());
    }
}
