//! Tokens to join with: each lets one node in, once.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use skerry_agent::Role;
use skerry_agent::token::JoinToken;

use super::secret::{Hash, hash, hex, random, same};
use super::{Listed, Made, Token, Tokens, put};
use crate::clock;
use crate::refusal::Refusal;
use crate::store::{Change, Condition, Transaction};

/// How long a join token is valid unless its maker says otherwise.
pub(crate) const JOIN_TTL: Duration = Duration::from_secs(3_600);

/// The longest a join token may be valid.
pub(crate) const JOIN_TTL_MAX: Duration = Duration::from_secs(30 * 86_400);

/// What the names begin with that join tokens are listed by. API tokens have other names.
pub(crate) const NAME_PREFIX: &str = "join-";

/// A join token, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JoinRecord {
    /// What may join.
    pub(super) role: String,
    /// Where.
    pub(super) region: String,
    /// Until when, seconds since 1970.
    pub(super) expires: u64,
    /// Who did.
    pub(super) used: Option<Use>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) made: Option<Made>,
}

/// Who used a join token. The same node may ask again with the same key: its first answer may have been lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Use {
    pub(super) node: String,
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

impl Tokens {
    /// Makes a join token; its text and how it is listed.
    pub(crate) async fn make_join(
        &self,
        role: Role,
        region: String,
        ttl: Duration,
        ca: &[u8],
        by: &str,
    ) -> Result<(String, Listed), Refusal> {
        let secret = random().map_err(Refusal::Broken)?;
        let expires = clock::unix_seconds() + ttl.as_secs();
        let made = Some(Made { by: by.to_owned(), at: clock::now() });
        let token = Token::Join(JoinRecord { role: role.word().to_owned(), region, expires, used: None, made });
        let listed = Listed::of(&hash(&secret), &token);
        let _writing = self.writing.lock().await;
        self.add(hash(&secret), token).await?;
        Ok((JoinToken { secret, ca_digest: hash(ca) }.encode(), listed))
    }

    /// Whether a node may join with a token. Nothing is used up until [`Tokens::used`].
    pub(crate) fn admit(&self, text: &str, role: Role, node: &str, key: &[u8]) -> Result<Admission, Refusal> {
        let unknown =
            || Refusal::Malformed("the join token is not known here or has expired; make one with \"skerry node token create\"".to_owned());
        let token = JoinToken::decode(text).map_err(Refusal::Malformed)?;
        let hash = hash(&token.secret);
        let wanted = Use { node: node.to_owned(), key: hex(&super::hash(key)) };
        let table = self.table.read();
        let Some((known, Token::Join(record))) = table.get_key_value(&hash) else { return Err(unknown()) };
        if !same(known, &hash) || record.expires <= clock::unix_seconds() {
            return Err(unknown());
        }
        if record.role != role.word() {
            return Err(Refusal::Malformed(format!("the join token is for a {}, not for a {}", record.role, role.word())));
        }
        if record.used.as_ref().is_some_and(|used| *used != wanted) {
            return Err(Refusal::Malformed(
                "the join token was used already; make another one with \"skerry node token create\"".to_owned(),
            ));
        }
        let again = record.used.is_some();
        let Change::Put(at, before) = put(&hash, &table[&hash]).map_err(Refusal::Broken)? else { return Err(unknown()) };
        let used = Token::Join(JoinRecord { used: Some(wanted), ..record.clone() });
        let mark = Transaction {
            when: vec![Condition { key: at, holds: Some(before) }],
            then: vec![put(&hash, &used).map_err(Refusal::Broken)?],
            may_be_lost: false,
        };
        Ok(Admission { region: record.region.clone(), token: hex(&hash), mark, again, hash, used })
    }

    /// The node was let in.
    pub(crate) fn used(&self, admission: Admission) {
        self.table.write().insert(admission.hash, admission.used);
    }
}

/// What a join token is listed and revoked by.
pub(super) fn name(hash: &Hash) -> String {
    format!("{NAME_PREFIX}{}", &hex(hash)[..16])
}
