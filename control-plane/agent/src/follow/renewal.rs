//! Renewing the node's certificate: at two thirds of its life, with a new key, over the node's own stream.
//!
//! One request is under way at most. The locks cover the key that is waiting for its certificate, which never leaves the node, and when it was asked for
//! last, whichever stream that was: a stream that ends, and a certificate that is due as soon as it comes, ask no more often.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use skerry_transport::private::{self, Private};
use tokio::sync::mpsc;

use super::{End, blocking, say};
use crate::identity::{self, Identity};
use crate::wire::{Renew, Renewed, Report, renewed, report};
use crate::{Inner, Settings};

/// The longest sleep: a clock that was put right is noticed after so long.
const LOOK_EVERY: Duration = Duration::from_secs(3_600);

/// The time from one request to the next, whatever came of it, is a part of the certificate's life, and in these bounds.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(3_600);
const RETRY_PART: u32 = 30;

/// The request that is under way.
#[derive(Default)]
pub(super) struct Renewing {
    key: Mutex<Option<KeyPair>>,
    /// When the last one was made.
    asked: Mutex<Option<Instant>>,
}

/// Asks for another certificate when it is time.
pub(super) async fn ask(inner: &Arc<Inner>, renewing: &Renewing, reports: &mpsc::Sender<Report>) -> End {
    loop {
        let since = renewing.asked.lock().map(|asked| asked.elapsed());
        let wait = plan(&inner.identity.load().certificate, SystemTime::now(), since);
        if !wait.is_zero() {
            tokio::time::sleep(wait.min(LOOK_EVERY)).await;
            continue;
        }
        *renewing.asked.lock() = Some(Instant::now());
        match request() {
            Ok((key, csr)) => {
                *renewing.key.lock() = Some(key);
                if let Err(end) = say(reports, report::What::Renew(Renew { csr: csr.into() })).await {
                    return end;
                }
            }
            Err(why) => tracing::error!(why, "the node's certificate cannot be renewed, trying again"),
        }
    }
}

/// Takes the certificate that was asked for: on disk first, then in use.
pub(super) async fn take(inner: &Arc<Inner>, renewing: &Renewing, renewed: Renewed) -> Result<(), String> {
    let certificate = match renewed.outcome {
        Some(renewed::Outcome::Certificate(certificate)) => certificate.to_vec(),
        Some(renewed::Outcome::Refused(why)) => return Err(why),
        None => return Err("the control plane answered neither with a certificate nor with a reason".to_owned()),
    };
    let key = renewing.key.lock().as_ref().map(KeyPair::serialize_der).ok_or("no certificate was asked for")?;
    let identity = Identity { certificate, key, ca: inner.identity.load().ca.clone() };
    // A late answer to the request before does not fit the key of the one that is under way, which goes on waiting.
    check(&identity, &inner.settings)?;
    *renewing.key.lock() = None;
    let kept = identity.clone();
    blocking(inner, move |inner| identity::keep_renewed(&inner.settings.data, &kept)).await?;
    inner.private.show(&identity.certificate, &identity.key)?;
    inner.identity.store(Arc::new(identity));
    tracing::info!(name = inner.settings.name, "the node's certificate is renewed");
    Ok(())
}

fn check(identity: &Identity, settings: &Settings) -> Result<(), String> {
    if identity::owner(&identity.certificate) != Some((settings.role, settings.name.clone())) {
        return Err("the control plane issued a certificate for another node".to_owned());
    }
    Private::new(&identity.certificate, &identity.key, &identity.ca).map(drop)
}

fn request() -> Result<(KeyPair, Vec<u8>), String> {
    let key = KeyPair::generate().map_err(|error| format!("cannot make a key: {error}"))?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let csr = params.serialize_request(&key).map_err(|error| format!("cannot make a certificate request: {error}"))?;
    Ok((key, csr.der().to_vec()))
}

/// How long to wait until a certificate is to be renewed; `since` is how long ago the last request was made. One that cannot be read is renewed at once.
fn plan(certificate: &[u8], now: SystemTime, since: Option<Duration>) -> Duration {
    let (wait, retry) = match private::life(certificate) {
        None => (Duration::ZERO, RETRY_MAX),
        Some((begin, end)) => {
            let life = Duration::from_secs(end.saturating_sub(begin));
            let due = UNIX_EPOCH + Duration::from_secs(begin) + life * 2 / 3;
            (due.duration_since(now).unwrap_or_default(), (life / RETRY_PART).clamp(RETRY_MIN, RETRY_MAX))
        }
    };
    wait.max(since.map(|since| retry.saturating_sub(since)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_at_two_thirds_of_its_life() {
        let mut params = CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 4, 1);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let begin = UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        let day = Duration::from_secs(86_400);
        assert_eq!(plan(certificate.der(), begin, None), day * 60);
        assert_eq!(plan(certificate.der(), begin + day * 59, None), day);
        assert_eq!(plan(certificate.der(), begin + day * 400, None), Duration::ZERO);
        assert_eq!(plan(b"nothing", begin, None), Duration::ZERO);
        // Asked for lately: also when it was renewed since, and is due again at once.
        let minute = Duration::from_secs(60);
        assert_eq!(plan(certificate.der(), begin + day * 400, Some(minute)), RETRY_MAX - minute);
        assert_eq!(plan(certificate.der(), begin + day * 400, Some(RETRY_MAX)), Duration::ZERO);
        assert_eq!(plan(certificate.der(), begin, Some(minute)), day * 60);
        assert_eq!(plan(b"nothing", begin, Some(minute)), RETRY_MAX - minute);
    }
}
