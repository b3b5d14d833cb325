//! The secret of a webhook, and what a receiver verifies with it, as Standard Webhooks has it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

/// What the text of a secret begins with; its bytes in base64 follow.
const PREFIX: &str = "whsec_";

/// Bytes of a secret.
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The key in the text of a secret, or what is wrong with it.
pub(super) fn key(text: &str) -> Result<hmac::Key, &'static str> {
    const WRONG: &str =
        "this is not the secret of a webhook; write whsec_ and 24 to 64 random bytes in base64, as in \"whsec_$(openssl rand -base64 32)\"";
    let bytes = text.strip_prefix(PREFIX).and_then(|text| STANDARD.decode(text).ok());
    let bytes = bytes.filter(|bytes| BYTES.contains(&bytes.len())).ok_or(WRONG)?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

/// The `webhook-signature` of a message.
pub(super) fn signature(key: &hmac::Key, id: &str, timestamp: u64, body: &str) -> String {
    let tag = hmac::sign(key, format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification, from its reference libraries.
    #[test]
    fn the_signature_is_the_one_of_the_specification() {
        let key = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, "{\"test\": 2432232314}");
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_has_its_form() {
        for wrong in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2hvcnQ=", "whsec_!!!", &format!("whsec_{}", "A".repeat(88))]
        {
            assert!(key(wrong).is_err(), "{wrong}");
        }
    }
}
