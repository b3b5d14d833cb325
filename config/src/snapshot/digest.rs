//! What tells one numbered configuration from another without sending it: a SHA-256 over its number and the digests of its parts.

use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN, digest};
use serde::Serialize;

use super::{Shield, Snapshot};
use crate::site;

/// Bytes of a digest.
pub const DIGEST_BYTES: usize = SHA256_OUTPUT_LEN;

/// The digest of one site's content, its name included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Site([u8; DIGEST_BYTES]);

/// The digest of a numbered configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest([u8; DIGEST_BYTES]);

impl Site {
    /// Of a site.
    #[must_use]
    pub fn of(site: &site::Site) -> Self {
        Self::of_json(&json(site))
    }

    /// Of a site in JSON as serde writes it.
    #[must_use]
    pub fn of_json(json: &[u8]) -> Self {
        Self(array(digest(&SHA256, json).as_ref()))
    }
}

impl Digest {
    /// Of a configuration. `sites` and `leads` come in the order of the names of the sites.
    pub fn of<'a>(
        version: u64,
        sites: impl Iterator<Item = &'a Site>,
        shields: &[Shield],
        leads: impl Iterator<Item = (&'a String, &'a String)>,
    ) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(&version.to_be_bytes());
        let mut count: u64 = 0;
        for site in sites {
            context.update(&site.0);
            count += 1;
        }
        // Where one part ends and the next begins is a part of what is told apart.
        context.update(&count.to_be_bytes());
        context.update(&json(&(shields, leads.collect::<Vec<_>>())));
        Self(array(context.finish().as_ref()))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Snapshot {
    /// What tells this configuration from another. Linear in all sites; what a site adds is kept with it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut sites: Vec<_> = self.sites.values().collect();
        sites.sort_unstable_by(|a, b| a.site.name.cmp(&b.site.name));
        let mut leads: Vec<_> = self.leads.iter().collect();
        leads.sort_unstable();
        Digest::of(self.version, sites.into_iter().map(|served| served.digest()), &self.shields, leads.into_iter())
    }
}

/// JSON of plain data. What cannot be written is told from nothing, and is written by nobody.
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

fn array(bytes: &[u8]) -> [u8; DIGEST_BYTES] {
    let mut array = [0; DIGEST_BYTES];
    array.copy_from_slice(bytes);
    array
}
