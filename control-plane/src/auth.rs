//! Tokens: bearer tokens of the API, one-time tokens to join with. Only SHA-256 hashes of their 256-bit random secrets are kept.
//!
//! The lock covers the table of tokens; `writing` orders changes of it. Because a secret is found by its hash, the time a look-up takes says nothing
//! about it; the hashes themselves are compared in constant time.

mod elsewhere;
mod grant;
mod join;
mod logins;
pub(crate) mod purging;
mod secret;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use skerry_agent::disk;
use tokio::sync::watch;

use crate::clock;
use crate::refusal::Refusal;
use crate::store::{self, Change, Store, Transaction};

pub(crate) use elsewhere::follow;
pub(crate) use grant::{Grant, Rank};
use join::JoinRecord;
pub(crate) use join::{JOIN_TTL, JOIN_TTL_MAX, NAME_PREFIX};
pub(crate) use logins::Logins;
use secret::{Hash, for_api, of_api, same, unhex};
pub(crate) use secret::{hash, hex, random};

const PREFIX: &str = "token/";
const ADMIN: &str = "admin";
const ADMIN_FILE: &str = "admin.token";

/// Tokens at most; expired ones do not count.
const TOKENS_MAX: usize = 10_000;

/// What a token is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Token {
    /// The API.
    Api(ApiRecord),
    /// Joining.
    Join(JoinRecord),
}

/// An API token, as it is kept. Those of a time when there were no roles may do everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ApiRecord {
    /// The author of what is done with it.
    name: String,
    #[serde(default = "admin")]
    role: Rank,
    /// The sites it is for; without them all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sites: Option<BTreeSet<String>>,
    /// Until when, seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    made: Option<Made>,
}

fn admin() -> Rank {
    Rank::Admin
}

/// Who made a token, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Made {
    /// The name of the token it was made with.
    pub(crate) by: String,
    /// RFC 3339.
    pub(crate) at: String,
}

/// The API token wanted.
pub(crate) struct ApiWish {
    /// Its name; one is chosen when none is given.
    pub(crate) name: Option<String>,
    /// What it may do.
    pub(crate) rank: Rank,
    /// For which sites; all when none are named.
    pub(crate) sites: Option<BTreeSet<String>>,
    /// For how long; without it for ever.
    pub(crate) ttl: Option<Duration>,
}

/// A token as it is listed: everything but its secret.
pub(crate) struct Listed {
    /// What it is revoked by.
    pub(crate) name: String,
    /// Until when, seconds since 1970.
    pub(crate) expires: Option<u64>,
    /// Who made it; tokens of a time when that was not kept have none.
    pub(crate) made: Option<Made>,
    /// What it is for.
    pub(crate) is_for: For,
}

/// What a listed token is for.
pub(crate) enum For {
    /// The API.
    Api { rank: Rank, sites: Option<BTreeSet<String>> },
    /// Joining.
    Join { role: String, region: String, used_by: Option<String> },
}

/// The tokens.
pub(crate) struct Tokens {
    store: Arc<dyn Store>,
    table: RwLock<HashMap<Hash, Token>>,
    writing: tokio::sync::Mutex<()>,
    revoked: watch::Sender<u64>,
}

impl Tokens {
    /// Reads the tokens; in a store without a valid admin token makes one and writes it to `admin.token`. Blocks.
    pub(crate) fn load(store: Arc<dyn Store>, data: &Path) -> Result<Self, String> {
        let mut table = HashMap::new();
        for (key, value) in store.list(PREFIX)? {
            let (hash, token) = parse(&key, &value)?;
            table.insert(hash, token);
        }
        let tokens = Self { store, table: RwLock::new(table), writing: tokio::sync::Mutex::default(), revoked: watch::Sender::new(0) };
        if !tokens.has_admin_beside(None) {
            tokens.make_first(data)?;
        }
        Ok(tokens)
    }

    fn make_first(&self, data: &Path) -> Result<(), String> {
        let path = data.join(ADMIN_FILE);
        let (secret, text) = for_api()?;
        // The file first: a token nobody can read would lock the operator out.
        disk::write(&path, format!("{text}\n").as_bytes(), 0o600)
            .map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
        let mut name = ADMIN.to_owned();
        if self.named(&name).is_some() {
            name = format!("{ADMIN}-{}", &hex(&hash(&secret))[..8]);
        }
        let made = Some(Made { by: "skerry".to_owned(), at: clock::now() });
        let token = Token::Api(ApiRecord { name, role: Rank::Admin, sites: None, expires: None, made });
        let change = put(&hash(&secret), &token)?;
        self.store.transact(&Transaction { then: vec![change], ..Transaction::default() })?;
        self.table.write().insert(hash(&secret), token);
        Ok(())
    }

    /// What the bearer of an API token may do, when it is one that is valid.
    pub(crate) fn grant(&self, text: &str) -> Option<Grant> {
        let hash = of_api(text)?;
        let table = self.table.read();
        let (known, Token::Api(token)) = table.get_key_value(&hash)? else { return None };
        let valid = same(known, &hash) && token.expires.is_none_or(|expires| expires > clock::unix_seconds());
        valid.then(|| Grant { name: token.name.clone(), rank: token.role, sites: token.sites.clone(), expires: token.expires, hash })
    }

    /// Returns when a grant holds no longer: its token has expired or was revoked.
    pub(crate) async fn withdrawn(&self, grant: &Grant) {
        let mut revoked = self.revoked.subscribe();
        loop {
            revoked.mark_unchanged();
            let left = grant.expires.map(|expires| expires.saturating_sub(clock::unix_seconds()));
            if left == Some(0) || !self.table.read().contains_key(&grant.hash) {
                return;
            }
            // Without an end it is the change that is waited for.
            let left = Duration::from_secs(left.unwrap_or(u64::from(u32::MAX)));
            tokio::select! {
                changed = revoked.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(left) => {}
            }
        }
    }

    /// Makes an API token; its text and how it is listed.
    pub(crate) async fn make_api(&self, wish: ApiWish, by: &str) -> Result<(String, Listed), Refusal> {
        let (secret, text) = for_api().map_err(Refusal::Broken)?;
        let name = wish.name.unwrap_or_else(|| format!("api-{}", &hex(&hash(&secret))[..8]));
        let _writing = self.writing.lock().await;
        if self.named(&name).is_some() {
            return Err(Refusal::Conflict(format!("there is an API token {name:?} already; choose another name")));
        }
        let expires = wish.ttl.map(|ttl| clock::unix_seconds() + ttl.as_secs());
        let made = Some(Made { by: by.to_owned(), at: clock::now() });
        let token = Token::Api(ApiRecord { name, role: wish.rank, sites: wish.sites, expires, made });
        let listed = Listed::of(&hash(&secret), &token);
        self.add(hash(&secret), token).await?;
        Ok((text, listed))
    }

    /// All tokens that are valid, by name.
    pub(crate) fn list(&self) -> Vec<Listed> {
        let now = clock::unix_seconds();
        let table = self.table.read();
        let mut listed: Vec<_> =
            table.iter().filter(|(_, token)| !token.is_over(now)).map(|(hash, token)| Listed::of(hash, token)).collect();
        listed.sort_by(|one, other| one.name.cmp(&other.name));
        listed
    }

    /// Revokes a token. The last one with which tokens can be made stays.
    pub(crate) async fn revoke(&self, name: &str) -> Result<(), Refusal> {
        let _writing = self.writing.lock().await;
        let hash = self.named(name).ok_or_else(|| Refusal::Missing(format!("there is no token {name:?}; GET /v1/tokens lists them")))?;
        let is_admin = matches!(self.table.read().get(&hash), Some(Token::Api(token)) if token.role == Rank::Admin);
        if is_admin && !self.has_admin_beside(Some(&hash)) {
            return Err(Refusal::Conflict(format!("{name:?} is the last admin token that does not expire; make another one first")));
        }
        let transaction = Transaction { then: vec![Change::Delete(key(&hash))], ..Transaction::default() };
        store::blocking(&self.store, move |store| store.transact(&transaction)).await.map_err(Refusal::Broken)?;
        self.table.write().remove(&hash);
        self.tell();
        Ok(())
    }

    /// Tells that tokens may be gone.
    fn tell(&self) {
        self.revoked.send_modify(|count| *count += 1);
    }

    /// Keeps a token. The caller holds the write lock.
    async fn add(&self, hash: Hash, token: Token) -> Result<(), Refusal> {
        let mut then = self.expired().into_iter().map(|hash| Change::Delete(key(&hash))).collect::<Vec<_>>();
        if self.table.read().len() >= TOKENS_MAX {
            return Err(Refusal::Conflict(format!("there are {TOKENS_MAX} tokens already; revoke some, or wait until some expire")));
        }
        then.push(put(&hash, &token).map_err(Refusal::Broken)?);
        let transaction = Transaction { then, ..Transaction::default() };
        store::blocking(&self.store, move |store| store.transact(&transaction)).await.map_err(Refusal::Broken)?;
        self.table.write().insert(hash, token);
        Ok(())
    }

    /// Takes expired tokens out of the table.
    fn expired(&self) -> Vec<Hash> {
        let now = clock::unix_seconds();
        let mut gone = Vec::new();
        self.table.write().retain(|hash, token| {
            let is_over = token.is_over(now);
            if is_over {
                gone.push(*hash);
            }
            !is_over
        });
        gone
    }

    /// Whether there is a token, other than one, that always lets an operator in.
    fn has_admin_beside(&self, one: Option<&Hash>) -> bool {
        let lasts = |token: &Token| matches!(token, Token::Api(token) if token.role == Rank::Admin && token.expires.is_none());
        self.table.read().iter().any(|(hash, token)| Some(hash) != one && lasts(token))
    }

    fn named(&self, name: &str) -> Option<Hash> {
        let now = clock::unix_seconds();
        let table = self.table.read();
        table.iter().find(|(hash, token)| !token.is_over(now) && token.name(hash) == name).map(|(hash, _)| *hash)
    }
}

impl Token {
    /// What it is listed and revoked by.
    fn name(&self, hash: &Hash) -> String {
        match self {
            Self::Api(token) => token.name.clone(),
            Self::Join(_) => join::name(hash),
        }
    }

    fn expires(&self) -> Option<u64> {
        match self {
            Self::Api(token) => token.expires,
            Self::Join(token) => Some(token.expires),
        }
    }

    fn is_over(&self, now: u64) -> bool {
        self.expires().is_some_and(|expires| expires <= now)
    }
}

impl Listed {
    fn of(hash: &Hash, token: &Token) -> Self {
        let (made, is_for) = match token {
            Token::Api(token) => (token.made.clone(), For::Api { rank: token.role, sites: token.sites.clone() }),
            Token::Join(token) => {
                let used_by = token.used.as_ref().map(|used| used.node.clone());
                (token.made.clone(), For::Join { role: token.role.clone(), region: token.region.clone(), used_by })
            }
        };
        Self { name: token.name(hash), expires: token.expires(), made, is_for }
    }

    /// Until when it is valid, RFC 3339.
    pub(crate) fn expires_at(&self) -> Option<String> {
        self.expires.map(|expires| clock::text(UNIX_EPOCH + Duration::from_secs(expires)))
    }
}

/// The token at a key of the store.
fn parse(key: &str, value: &[u8]) -> Result<(Hash, Token), String> {
    let hash = hash_of(key).ok_or_else(|| format!("the store holds a token at {key}"))?;
    let token = serde_json::from_slice(value).map_err(|error| format!("the store holds something else than a token at {key}: {error}"))?;
    Ok((hash, token))
}

fn hash_of(key: &str) -> Option<Hash> {
    key.strip_prefix(PREFIX).and_then(unhex)
}

fn key(hash: &Hash) -> String {
    format!("{PREFIX}{}", hex(hash))
}

fn put(hash: &Hash, token: &Token) -> Result<Change, String> {
    Ok(Change::Put(key(hash), serde_json::to_vec(token).map_err(|error| error.to_string())?))
}
