//! The move of secrets out of versions: an earlier version of this program kept them there.

use serde::Serialize;
use serde_json::Value;
use skerry_config::secret::Secret;

use super::super::parse;
use super::VALUES;
use crate::store::{Change, Store, Transaction};

/// There once no version holds a secret any more.
const APART_KEY: &str = "meta/secrets";

/// What may hold versions.
const VERSIONED: &[&str] = &["site/", "version/", "settled/", "rolling/", "lingering/"];

/// Changes in one transaction.
const MOVED_AT_ONCE_MAX: usize = 256;

/// Moves the secrets out of versions into their own part of the store, a few at a time: cut off in the middle it goes on at the next start.
pub(super) fn moved(store: &dyn Store) -> Result<(), String> {
    if store.get(APART_KEY)?.is_some() {
        return Ok(());
    }
    for prefix in VERSIONED {
        let mut then = Vec::new();
        for (key, value) in store.list(prefix)? {
            let mut version: Value = parse(&key, &value)?;
            let mut found = Vec::new();
            take_out(&mut version, &mut found);
            if found.is_empty() {
                continue;
            }
            for secret in found {
                then.push(Change::Put(format!("{VALUES}{}", secret.fingerprint()), bytes(&secret)?));
            }
            then.push(Change::Put(key, bytes(&version)?));
            if then.len() >= MOVED_AT_ONCE_MAX {
                store.transact(&Transaction { then: std::mem::take(&mut then), ..Transaction::default() })?;
            }
        }
        store.transact(&Transaction { then, ..Transaction::default() })?;
    }
    store.transact(&Transaction { then: vec![Change::Put(APART_KEY.to_owned(), b"true".to_vec())], ..Transaction::default() })?;
    Ok(())
}

/// Puts marks in place of the keys in what is stored of sites.
fn take_out(value: &mut Value, found: &mut Vec<Secret>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                match field {
                    Value::String(text) if name == "client_key" => {
                        let secret = Secret::new(std::mem::take(text));
                        *text = secret.mark().reveal().to_owned();
                        if secret.reference().is_none() {
                            found.push(secret);
                        }
                    }
                    other => take_out(other, found),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| take_out(item, found)),
        _ => {}
    }
}

fn bytes(value: &impl Serialize) -> Result<Vec<u8>, String> {
    serde_json::to_vec(value).map_err(|error| error.to_string())
}
