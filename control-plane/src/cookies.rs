//! The secrets of DNS cookies, the same for all name servers of the zone (RFC 9018 section 5): drawn here, kept on disk, rolled over, and told in the feed.
//!
//! A client that asks two name servers behind one address is known to both. No secret is in a log or an answer of the API.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use skerry_agent::disk;
use skerry_dns::cookie::{Secret, Secrets};
use tokio::sync::watch;

use crate::clock;
use crate::feed::Feed;

/// How long a secret is used, in seconds: a day (RFC 7873 section 7.1 has 36 days at most).
const USED_S: u32 = 86_400;

/// How long before it is used a secret is told, in seconds: time for DNS nodes to hear of it.
const TOLD_BEFORE_S: u32 = 600;

/// How long cookies by a secret are taken after another one is used, in seconds: clients of DNS nodes that are away for a day are known to the others.
const TAKEN_AFTER_S: u32 = 86_400;

/// Time between two looks at whether it is time for another secret.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The file in the data directory.
const FILE: &str = "dns-cookies";

/// See the module.
pub(crate) struct CookieSecrets {
    file: PathBuf,
    secrets: Secrets,
}

impl CookieSecrets {
    /// Those that the data directory has, or the first one. What cannot be read is set aside: clients get other cookies.
    ///
    /// # Errors
    /// One sentence: the system has no random numbers, or the file cannot be written.
    pub(crate) fn open(data: &Path) -> Result<Self, String> {
        let file = data.join(FILE);
        let content = disk::read(&file).map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
        let secrets = content.and_then(|content| {
            let read = serde_json::from_slice::<Secrets>(&content).ok();
            if read.is_none() {
                // Why not could show some of it.
                disk::set_aside(&file, "it holds no secrets of DNS cookies");
            }
            read
        });
        let mut kept = Self { file, secrets: secrets.unwrap_or_default() };
        kept.renew(now_s())?;
        Ok(kept)
    }

    /// Those in force.
    pub(crate) fn secrets(&self) -> Secrets {
        self.secrets.clone()
    }

    /// Draws another one where it is time, and lets those go that are taken no more. Blocks.
    fn renew(&mut self, now_s: u32) -> Result<(), String> {
        let next = rolled(&self.secrets, now_s)?;
        if next != self.secrets {
            let content = serde_json::to_vec(&next).map_err(|_| "the secrets of DNS cookies cannot be written as JSON".to_owned())?;
            disk::write(&self.file, &content, 0o600).map_err(|error| format!("{} cannot be written: {error}", self.file.display()))?;
            self.secrets = next;
        }
        Ok(())
    }

    /// Keeps the feed's secrets new until `stop` says so.
    pub(crate) async fn keep(mut self, feed: Arc<Feed>, stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = skerry_agent::stopped(stop.clone()) => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let renewed = tokio::task::spawn_blocking(move || {
                let renewed = self.renew(now_s());
                (self, renewed)
            });
            match renewed.await {
                Ok((kept, renewed)) => {
                    self = kept;
                    if let Err(error) = renewed {
                        tracing::warn!(error, "no other secret of DNS cookies; the one in use stays, and it is tried again");
                    }
                    feed.cookies(self.secrets());
                }
                Err(error) => return tracing::error!(%error, "renewing the secrets of DNS cookies ended; those in use stay"),
            }
        }
    }
}

fn now_s() -> u32 {
    u32::try_from(clock::unix_seconds() & u64::from(u32::MAX)).unwrap_or_default()
}

/// By how many seconds a time is later than another, in serial number arithmetic (RFC 1982); negative when it is earlier.
fn later_by(one: u32, other: u32) -> i32 {
    one.wrapping_sub(other).cast_signed()
}

/// The secrets that there are to be.
fn rolled(secrets: &Secrets, now_s: u32) -> Result<Secrets, String> {
    let mut all = secrets.all().to_vec();
    // One that another took the place of is let go after its time.
    while let [_, next, ..] = all.as_slice()
        && later_by(now_s, next.from_s) >= i32::try_from(TAKEN_AFTER_S).unwrap_or(i32::MAX)
    {
        all.remove(0);
    }
    match all.last_mut() {
        None => all.push(Secret::drawn(now_s)?),
        // The clock was set back.
        Some(last) if later_by(last.from_s, now_s) > i32::try_from(TOLD_BEFORE_S).unwrap_or(i32::MAX) => {
            last.from_s = now_s.wrapping_add(TOLD_BEFORE_S);
        }
        Some(last) if later_by(now_s, last.from_s) >= i32::try_from(USED_S - TOLD_BEFORE_S).unwrap_or(i32::MAX) => {
            all.push(Secret::drawn(now_s.wrapping_add(TOLD_BEFORE_S))?);
        }
        Some(_) => {}
    }
    Ok(Secrets::new(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: u32 = 1_900_000_000;

    #[test]
    fn a_secret_is_told_before_it_is_used_and_taken_after_another_is() {
        let first = rolled(&Secrets::default(), NOW_S).unwrap();
        assert_eq!((first.all().len(), first.all()[0].from_s), (1, NOW_S), "the first is used at once");
        assert_eq!(rolled(&first, NOW_S + USED_S - TOLD_BEFORE_S - 1).unwrap(), first);
        let told = rolled(&first, NOW_S + USED_S - TOLD_BEFORE_S).unwrap();
        assert_eq!((told.all().len(), told.all()[0], told.all()[1].from_s), (2, first.all()[0], NOW_S + USED_S));
        let used = NOW_S + USED_S;
        assert_eq!(rolled(&told, used + TAKEN_AFTER_S - TOLD_BEFORE_S - 1).unwrap(), told, "the old one is taken");
        let third = rolled(&told, used + USED_S - TOLD_BEFORE_S).unwrap();
        assert_eq!(third.all()[..2], *told.all());
        let without = rolled(&third, used + TAKEN_AFTER_S).unwrap();
        assert_eq!(without.all(), &third.all()[1..], "and then no more");
    }

    #[test]
    fn a_clock_that_is_set_leaves_one_in_use() {
        let first = rolled(&Secrets::default(), NOW_S).unwrap();
        let back = rolled(&first, NOW_S - 10 * USED_S).unwrap();
        assert_eq!((back.all()[0].octets, back.all()[0].from_s), (first.all()[0].octets, NOW_S - 10 * USED_S + TOLD_BEFORE_S));
        let long_after = rolled(&first, NOW_S + 100 * USED_S).unwrap();
        assert_eq!(long_after.all()[0], first.all()[0], "after a long stop DNS nodes still have the old one");
        assert_eq!(long_after.all()[1].from_s, NOW_S + 100 * USED_S + TOLD_BEFORE_S);
    }

    #[test]
    fn they_are_kept_and_shown_to_nobody() {
        use std::os::unix::fs::PermissionsExt as _;
        let data = tempfile::tempdir().unwrap();
        let secrets = CookieSecrets::open(data.path()).unwrap().secrets();
        assert_eq!(CookieSecrets::open(data.path()).unwrap().secrets(), secrets);
        let file = data.path().join(FILE);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let octets = format!("{:?}", secrets.all()[0].octets);
        assert!(!format!("{secrets:?}").contains(octets.trim_matches(['[', ']'])), "{secrets:?}");
        std::fs::write(&file, "[{\"from_s\":7}]").unwrap();
        assert_ne!(CookieSecrets::open(data.path()).unwrap().secrets(), secrets);
        assert!(data.path().join("dns-cookies.damaged").exists());
    }
}
