//! What the edge makes of a request's header fields before the cache sees them.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use skerry_cache::key::{COUNTRY, DEVICE};
use skerry_config::site::Key;
use skerry_transport::hygiene;

use crate::device;

/// Puts in the class of the device and the country that somebody `said` a client has, where the key asks for them.
pub(crate) fn imagine(headers: &mut HeaderMap, said: &HeaderMap) {
    for name in [DEVICE, COUNTRY] {
        if let (Some(told), Some(value)) = (headers.get_mut(name), said.get(name)) {
            *told = value.clone();
        }
    }
}

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
