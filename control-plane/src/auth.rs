//! Tokens: bearer tokens of the API, one-time tokens to join with. Only SHA-256 hashes of their 256-bit random secrets are kept.
//!
//! The lock covers the table of tokens. Because a secret is found by its hash, the time a look-up takes says nothing about it;
//! the hashes themselves are compared in constant time.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::RwLock;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use skerry_agent::token::{DIGEST_BYTES, JoinToken, SECRET_BYTES};
use skerry_agent::{Role, disk};

use crate::clock;
use crate::refusal::Refusal;
use crate::store::{self, Change, Condition, Store, Transaction};

const PREFIX: &str = "token/";
const API_PREFIX: &str = "ska1.";
const ADMIN: &str = "admin";
const ADMIN_FILE: &str = "admin.token";

/// Tokens at most; expired ones do not count.
const TOKENS_MAX: usize = 10_000;

/// How long a join token is valid unless its maker says otherwise.
pub(crate) const JOIN_TTL: Duration = Duration::from_secs(3_600);

/// The longest a join token may be valid.
pub(crate) const JOIN_TTL_MAX: Duration = Duration::from_secs(30 * 86_400);

type Hash = [u8; DIGEST_BYTES];

/// What a token is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Token {
    /// The API.
    Api {
        /// The author of what is done with it.
        name: String,
    },
    /// Joining.
    Join {
        /// What may join.
        role: String,
        /// Where.
        region: String,
        /// Until when, seconds since 1970.
        expires: u64,
        /// Who did.
        used: Option<Use>,
    },
}

/// Who used a join token. The same node may ask again with the same key: its first answer may have been lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Use {
    node: String,
    /// The SHA-256 of its public key, in hexadecimal.
    key: String,
}

/// A node that may join.
pub(crate) struct Admission {
    /// Its region.
    pub(crate) region: String,
    /// What its record knows the token by.
    pub(crate) token: String,
    /// Marks the token used, if it still is as it was looked at.
    pub(crate) mark: Transaction,
    /// Whether the node has used the token before: it was let in and asks again.
    pub(crate) again: bool,
    hash: Hash,
    used: Token,
}

/// The tokens.
pub(crate) struct Tokens {
    store: Arc<dyn Store>,
    table: RwLock<HashMap<Hash, Token>>,
}

impl Tokens {
    /// Reads the tokens; in a store without an admin token makes one and writes it to `admin.token`. Blocks.
    pub(crate) fn load(store: Arc<dyn Store>, data: &Path) -> Result<Self, String> {
        let mut table = HashMap::new();
        for (key, value) in store.list(PREFIX)? {
            let hash = key.strip_prefix(PREFIX).and_then(unhex).ok_or_else(|| format!("the store holds a token at {key}"))?;
            let token =
                serde_json::from_slice(&value).map_err(|error| format!("the store holds something else than a token at {key}: {error}"))?;
            table.insert(hash, token);
        }
        let has_admin = table.values().any(|token| matches!(token, Token::Api { name } if name == ADMIN));
        let tokens = Self { store, table: RwLock::new(table) };
        if !has_admin {
            let path = data.join(ADMIN_FILE);
            let (secret, text) = api_secret()?;
            // The file first: a token nobody can read would lock the operator out.
            disk::write(&path, format!("{text}\n").as_bytes(), 0o600)
                .map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
            let token = Token::Api { name: ADMIN.to_owned() };
            let change = put(&hash(&secret), &token)?;
            tokens.store.transact(&Transaction { then: vec![change], ..Transaction::default() })?;
            tokens.table.write().insert(hash(&secret), token);
        }
        Ok(tokens)
    }

    /// The name of the API token, when it is one.
    pub(crate) fn author(&self, text: &str) -> Option<String> {
        let secret = URL_SAFE_NO_PAD.decode(text.strip_prefix(API_PREFIX)?).ok()?;
        let hash = hash(&secret);
        let table = self.table.read();
        let (known, token) = table.get_key_value(&hash)?;
        match token {
            Token::Api { name } if same(known, &hash) => Some(name.clone()),
            _ => None,
        }
    }

    /// Makes an API token; its text and its name.
    pub(crate) async fn make_api(&self, name: Option<String>) -> Result<(String, String), Refusal> {
        let (secret, text) = api_secret().map_err(Refusal::Broken)?;
        let name = name.unwrap_or_else(|| format!("api-{}", &hex(&hash(&secret))[..8]));
        if self.table.read().values().any(|token| matches!(token, Token::Api { name: known } if *known == name)) {
            return Err(Refusal::Conflict(format!("there is an API token {name:?} already; choose another name")));
        }
        self.add(hash(&secret), Token::Api { name: name.clone() }).await?;
        Ok((text, name))
    }

    /// Makes a join token; its text and when it expires, in seconds since 1970.
    pub(crate) async fn make_join(&self, role: Role, region: String, ttl: Duration, ca: &[u8]) -> Result<(String, u64), Refusal> {
        let secret = random().map_err(Refusal::Broken)?;
        let expires = clock::unix_seconds() + ttl.as_secs();
        self.add(hash(&secret), Token::Join { role: role.word().to_owned(), region, expires, used: None }).await?;
        Ok((JoinToken { secret, ca_digest: hash(ca) }.encode(), expires))
    }

    /// Whether a node may join with a token. Nothing is used up until [`Tokens::used`].
    pub(crate) fn admit(&self, text: &str, role: Role, node: &str, key: &[u8]) -> Result<Admission, Refusal> {
        let unknown =
            || Refusal::Malformed("the join token is not known here or has expired; make one with \"skerry node token create\"".to_owned());
        let token = JoinToken::decode(text).map_err(Refusal::Malformed)?;
        let hash = hash(&token.secret);
        let wanted = Use { node: node.to_owned(), key: hex(&self::hash(key)) };
        let table = self.table.read();
        let Some((known, Token::Join { role: allowed, region, expires, used })) = table.get_key_value(&hash) else { return Err(unknown()) };
        if !same(known, &hash) || *expires <= clock::unix_seconds() {
            return Err(unknown());
        }
        if allowed != role.word() {
            return Err(Refusal::Malformed(format!("the join token is for a {allowed}, not for a {}", role.word())));
        }
        if used.as_ref().is_some_and(|used| *used != wanted) {
            return Err(Refusal::Malformed(
                "the join token was used already; make another one with \"skerry node token create\"".to_owned(),
            ));
        }
        let again = used.is_some();
        let Change::Put(at, before) = put(&hash, &table[&hash]).map_err(Refusal::Broken)? else { return Err(unknown()) };
        let used = Token::Join { role: allowed.clone(), region: region.clone(), expires: *expires, used: Some(wanted) };
        let mark = Transaction {
            when: vec![Condition { key: at, holds: Some(before) }],
            then: vec![put(&hash, &used).map_err(Refusal::Broken)?],
            may_be_lost: false,
        };
        Ok(Admission { region: region.clone(), token: hex(&hash), mark, again, hash, used })
    }

    /// The node was let in.
    pub(crate) fn used(&self, admission: Admission) {
        self.table.write().insert(admission.hash, admission.used);
    }

    async fn add(&self, hash: Hash, token: Token) -> Result<(), Refusal> {
        let mut then = self.expired().into_iter().map(|hash| Change::Delete(key(&hash))).collect::<Vec<_>>();
        if self.table.read().len() >= TOKENS_MAX {
            return Err(Refusal::Conflict(format!("there are {TOKENS_MAX} tokens already; wait until join tokens expire")));
        }
        then.push(put(&hash, &token).map_err(Refusal::Broken)?);
        let transaction = Transaction { then, ..Transaction::default() };
        store::blocking(&self.store, move |store| store.transact(&transaction)).await.map_err(Refusal::Broken)?;
        self.table.write().insert(hash, token);
        Ok(())
    }

    /// Takes expired join tokens out of the table.
    fn expired(&self) -> Vec<Hash> {
        let now = clock::unix_seconds();
        let mut gone = Vec::new();
        self.table.write().retain(|hash, token| {
            let stays = !matches!(token, Token::Join { expires, .. } if *expires <= now);
            if !stays {
                gone.push(*hash);
            }
            stays
        });
        gone
    }
}

/// The SHA-256 of something.
pub(crate) fn hash(bytes: &[u8]) -> Hash {
    let mut hash = [0; DIGEST_BYTES];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 256 random bits.
pub(crate) fn random() -> Result<[u8; SECRET_BYTES], String> {
    let mut secret = [0; SECRET_BYTES];
    SystemRandom::new().fill(&mut secret).map_err(|_| "the system has no random numbers".to_owned())?;
    Ok(secret)
}

fn unhex(text: &str) -> Option<Hash> {
    let mut hash = [0; DIGEST_BYTES];
    if text.len() != 2 * DIGEST_BYTES || !text.is_ascii() {
        return None;
    }
    for (index, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(hash)
}

fn api_secret() -> Result<([u8; SECRET_BYTES], String), String> {
    let secret = random()?;
    Ok((secret, format!("{API_PREFIX}{}", URL_SAFE_NO_PAD.encode(secret))))
}

/// Compares without telling by its time where a difference is.
fn same(one: &Hash, other: &Hash) -> bool {
    one.iter().zip(other).fold(0, |differences, (one, other)| differences | (one ^ other)) == 0
}

fn key(hash: &Hash) -> String {
    format!("{PREFIX}{}", hex(hash))
}

fn put(hash: &Hash, token: &Token) -> Result<Change, String> {
    Ok(Change::Put(key(hash), serde_json::to_vec(token).map_err(|error| error.to_string())?))
}
