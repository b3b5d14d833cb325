//! What the targets share: bytes become header fields as the network would bring them.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Header fields out of bytes: one line a field, of the names given; a line begins with the digit that chooses the name. What is no field value is left out.
#[must_use]
pub fn fields(data: &[u8], names: &[&'static str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in data.split(|&byte| byte == b'\n') {
        let Some((choice, value)) = line.split_first() else { continue };
        let name = HeaderName::from_static(names[usize::from(choice.wrapping_sub(b'0')) % names.len()]);
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    headers
}
