//! Tokens that others change in the same store: one that was revoked there lets nobody in here.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::{Hash, PREFIX, Token, Tokens, parse};
use crate::store::{self, Follow, Heard, Subject};

/// Follows the tokens of the store until `stop` says so.
pub(crate) async fn follow(tokens: Arc<Tokens>, stop: watch::Receiver<bool>) {
    let followed = async {
        while let Err(why) = tokens.follow().await {
            tracing::warn!(why, "tokens that others change are not seen, trying again");
            tokio::time::sleep(store::FOLLOW_RETRY).await;
        }
    };
    tokio::select! {
        () = skerry_agent::stopped(stop) => {}
        () = followed => {}
    }
}

impl Tokens {
    /// Follows the tokens of the store until it is closed.
    async fn follow(&self) -> Result<(), String> {
        let mut changes = Follow::new(&self.store, Subject::Keys(PREFIX.to_owned()));
        while let Some(heard) = changes.next().await? {
            // What is in the store now, rather than what was told: own changes come by here too, and may be older than the table.
            let _writing = self.writing.lock().await;
            match heard {
                Heard::ReadAnew => {
                    let read = store::blocking(&self.store, |store| store.list(PREFIX)).await?;
                    let table = read.iter().map(|(key, value)| parse(key, value)).collect::<Result<HashMap<_, _>, _>>()?;
                    *self.table.write() = table;
                    self.tell();
                }
                Heard::Step(step) => {
                    for change in step.keys.iter().filter(|change| change.key().starts_with(PREFIX)) {
                        let key = change.key().to_owned();
                        self.take(store::blocking(&self.store, move |store| Ok((store.get(&key)?, key))).await?)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes what the store has at a key.
    fn take(&self, (value, key): (Option<Vec<u8>>, String)) -> Result<(), String> {
        let Some(value) = value else {
            let Some(hash) = super::hash_of(&key) else { return Ok(()) };
            let gone = self.table.write().remove(&hash);
            gone.into_iter().for_each(|_| self.tell());
            return Ok(());
        };
        let (hash, token): (Hash, Token) = parse(&key, &value)?;
        self.table.write().insert(hash, token);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::auth::{ApiWish, Rank};
    use crate::store::{Redb, Store};

    #[tokio::test]
    async fn a_token_that_was_revoked_elsewhere_lets_nobody_in() {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(Redb::open(&directory.path().join("store")).unwrap());
        let open = || Arc::new(Tokens::load(Arc::clone(&store), directory.path()).unwrap());
        let (here, there) = (open(), open());
        let (_stop, stopped) = watch::channel(false);
        tokio::spawn(follow(Arc::clone(&here), stopped));
        let wish = ApiWish { name: Some("ci".to_owned()), rank: Rank::Purger, sites: None, ttl: None };
        let (text, _) = there.make_api(wish, "admin").await.unwrap();
        let mut look = tokio::time::interval(Duration::from_millis(2));
        let grant = tokio::time::timeout(Duration::from_secs(20), async {
            loop {
                look.tick().await;
                if let Some(grant) = here.grant(&text) {
                    return grant;
                }
            }
        });
        let grant = grant.await.expect("what was made there counts here");
        there.revoke("ci").await.unwrap();
        tokio::time::timeout(Duration::from_secs(20), here.withdrawn(&grant)).await.expect("it is withdrawn here");
        assert!(here.grant(&text).is_none());
        store.close();
    }
}
