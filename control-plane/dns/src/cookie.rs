//! DNS cookies (RFC 7873) as servers agree on them (RFC 9018): a client that comes back with one is where it says it is.
//!
//! Owns what a secret is, and which of several is used. Pure but for drawing one: time is an argument. No secret is shown by `Debug`.

use std::fmt;
use std::hash::Hasher as _;
use std::net::IpAddr;

use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher24;

use crate::query::Cookie;

/// The octets of a server's cookie (RFC 9018 section 4).
pub const SERVER_COOKIE_OCTETS: usize = 16;
/// The octets of a secret (RFC 9018 section 4.4).
pub const SECRET_OCTETS: usize = 16;
/// The secrets that are known at a time: the one in use, the one before, and the one that comes next.
pub const SECRETS_MAX: usize = 3;
/// How long cookies are made by a secret, in seconds: 35 days (RFC 7873 section 7.1 has 36 at most). Those that were made until then are taken as long as
/// any.
const USED_MAX_S: u32 = 35 * 86_400;
/// How long a cookie is taken, in seconds, and how far ahead of our clock one may be (RFC 9018 section 4.3).
const AGE_MAX_S: u32 = 3600;
const AHEAD_MAX_S: u32 = 300;
/// The age at which a cookie is replaced, in seconds (RFC 9018 section 4.3).
const RENEWED_AFTER_S: u32 = 1800;
/// The only version there is, and three octets that are zero.
const VERSION: [u8; 4] = [1, 0, 0, 0];

/// What cookies are made by.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// When cookies begin to be made by it, in seconds since 1970 modulo 2^32.
    pub from_s: u32,
    /// The secret itself.
    pub octets: [u8; SECRET_OCTETS],
}

impl Secret {
    /// One that nobody knows.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn drawn(from_s: u32) -> Result<Self, String> {
        let mut octets = [0; SECRET_OCTETS];
        SystemRandom::new().fill(&mut octets).map_err(|_| "the system gives no random numbers for DNS cookies".to_owned())?;
        Ok(Self { from_s, octets })
    }

    /// Since how many seconds its time has come, in serial number arithmetic (RFC 1982); `None` when it has not.
    fn used_s(&self, now_s: u32) -> Option<u32> {
        Some(now_s.wrapping_sub(self.from_s)).filter(|used_s| *used_s < 1 << 31)
    }

    fn make(&self, client: &[u8; 8], address: IpAddr, now_s: u32) -> [u8; SERVER_COOKIE_OCTETS] {
        let mut server = [0; SERVER_COOKIE_OCTETS];
        server[..4].copy_from_slice(&VERSION);
        server[4..8].copy_from_slice(&now_s.to_be_bytes());
        let mut hasher = SipHasher24::new_with_key(&self.octets);
        hasher.write(client);
        hasher.write(&server[..8]);
        match address {
            IpAddr::V4(ipv4) => hasher.write(&ipv4.octets()),
            IpAddr::V6(ipv6) => hasher.write(&ipv6.octets()),
        }
        server[8..].copy_from_slice(&hasher.finish().to_le_bytes());
        server
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a secret from {} s on", self.from_s)
    }
}

/// The secrets that all name servers of a zone have (RFC 9018 section 5), in the order in which they come into use: cookies by each of them hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Secrets(Vec<Secret>);

impl Secrets {
    /// The last [`SECRETS_MAX`] of these.
    #[must_use]
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        let mut secrets: Vec<Secret> = secrets.into_iter().collect();
        secrets.drain(..secrets.len().saturating_sub(SECRETS_MAX));
        Self(secrets)
    }

    /// In their order.
    #[must_use]
    pub fn all(&self) -> &[Secret] {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Secrets {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::new)
    }
}

/// Makes and knows cookies: by the secrets of the zone, and by those of the process where there are none, or the last one was used for
/// 35 days, as at a name server that is cut off for so long.
#[derive(Clone, Debug)]
pub struct Cookies {
    /// Those of the zone.
    shared: Secrets,
    /// Those of the process: the one before, and the one in use.
    own: Secrets,
}

impl Cookies {
    /// With a secret that no other process has.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new() -> Result<Self, String> {
        Ok(Self { shared: Secrets::default(), own: Secrets::new([Secret::drawn(0)?]) })
    }

    /// With a given secret.
    #[must_use]
    pub fn with(octets: [u8; SECRET_OCTETS]) -> Self {
        Self { shared: Secrets::default(), own: Secrets::new([Secret { from_s: 0, octets }]) }
    }

    /// The same with the secrets of a zone.
    #[must_use]
    pub fn sharing(&self, secrets: &Secrets) -> Self {
        Self { shared: secrets.clone(), own: self.own.clone() }
    }

    /// The same with another secret that no other process has; cookies by the one before are still known.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn renewed(&self) -> Result<Self, String> {
        let own = self.own.all().last().copied().into_iter().chain([Secret::drawn(0)?]);
        Ok(Self { shared: self.shared.clone(), own: Secrets::new(own) })
    }

    /// Whether the client at `address` has a cookie of ours that holds at `now_s`, seconds since 1970 modulo 2^32.
    #[must_use]
    pub fn knows(&self, cookie: &Cookie, address: IpAddr, now_s: u32) -> bool {
        let Ok(server) = <&[u8; SERVER_COOKIE_OCTETS]>::try_from(cookie.server()) else { return false };
        let made = made_at(server);
        // Serial number arithmetic (RFC 1982), as the RFC wants it.
        let age = now_s.wrapping_sub(made);
        if server[..4] != VERSION || (age > AGE_MAX_S && made.wrapping_sub(now_s) > AHEAD_MAX_S) {
            return false;
        }
        let shared = self.shared.all().iter().filter(|secret| secret.used_s(now_s).is_none_or(|used_s| used_s <= USED_MAX_S + AGE_MAX_S));
        let own = if self.shared_in_use(now_s).is_some() { &[] } else { self.own.all() };
        shared.chain(own).any(|secret| {
            let wanted = secret.make(&cookie.client, address, made);
            // Every octet is looked at, so that the time tells nothing of how many were right.
            wanted.iter().zip(server).fold(0, |unlike, (wanted, had)| unlike | (wanted ^ had)) == 0
        })
    }

    /// Whether a client that is known by a cookie gets another one: it is old (RFC 9018 section 4.3), or by a secret that is not the one in use.
    #[must_use]
    pub fn replaces(&self, cookie: &Cookie, address: IpAddr, now_s: u32) -> bool {
        let Ok(server) = <&[u8; SERVER_COOKIE_OCTETS]>::try_from(cookie.server()) else { return true };
        let made = made_at(server);
        let age = now_s.wrapping_sub(made);
        let is_old = age > RENEWED_AFTER_S && age <= AGE_MAX_S;
        is_old || self.in_use(now_s).is_none_or(|secret| secret.make(&cookie.client, address, made) != *server)
    }

    /// The cookie that the client at `address` gets.
    #[must_use]
    pub fn make(&self, client: &[u8; 8], address: IpAddr, now_s: u32) -> [u8; SERVER_COOKIE_OCTETS] {
        self.in_use(now_s).map_or([0; SERVER_COOKIE_OCTETS], |secret| secret.make(client, address, now_s))
    }

    fn in_use(&self, now_s: u32) -> Option<&Secret> {
        self.shared_in_use(now_s).or(self.own.all().last())
    }

    /// Of the zone's secrets the last whose time has come, or the first; none where that was used for too long.
    fn shared_in_use(&self, now_s: u32) -> Option<&Secret> {
        let secrets = self.shared.all();
        match secrets.iter().rev().find_map(|secret| Some((secret, secret.used_s(now_s)?))) {
            Some((secret, used_s)) => (used_s <= USED_MAX_S).then_some(secret),
            None => secrets.first(),
        }
    }
}

/// When a cookie was made.
fn made_at(server: &[u8; SERVER_COOKIE_OCTETS]) -> u32 {
    u32::from_be_bytes([server[4], server[5], server[6], server[7]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Query;

    /// RFC 9018 appendix A.
    const SECRET: [u8; 16] = [0xe5, 0xe9, 0x73, 0xe5, 0xa6, 0xb2, 0xa4, 0x3f, 0x48, 0xe7, 0xdc, 0x84, 0x9e, 0x37, 0xbf, 0xcf];
    const CLIENT: [u8; 8] = [0x24, 0x64, 0xc4, 0xab, 0xcf, 0x10, 0xc9, 0x57];
    const SERVER: [u8; 16] = [1, 0, 0, 0, 0x5c, 0xf7, 0x9f, 0x11, 0x1f, 0x81, 0x30, 0xc3, 0xee, 0xe2, 0x94, 0x80];
    const MADE_S: u32 = 1_559_731_985;

    fn cookie(server: &[u8]) -> Cookie {
        let mut raw = b"\0\0\0\0\0\x01\0\0\0\0\0\x01\0\0\x01\0\x01\0\0\x29\x04\xd0\0\0\0\0".to_vec();
        let length = u8::try_from(CLIENT.len() + server.len()).expect("short");
        raw.extend([0, length + 4, 0, 10, 0, length]);
        raw.extend_from_slice(&CLIENT);
        raw.extend_from_slice(server);
        Query::read(&raw).expect("a query").expect("well-formed").edns.and_then(|edns| edns.cookie).expect("a cookie")
    }

    #[test]
    fn a_cookie_is_as_the_rfc_has_it_and_holds_for_its_client_and_an_hour() {
        let cookies = Cookies::with(SECRET);
        let client: IpAddr = "198.51.100.100".parse().expect("an address");
        assert_eq!(cookies.make(&CLIENT, client, MADE_S), SERVER);
        let knows = |server: &[u8], address, now_s| cookies.knows(&cookie(server), address, now_s);
        assert!(knows(&SERVER, client, MADE_S) && knows(&SERVER, client, MADE_S + 3600) && knows(&SERVER, client, MADE_S - 300));
        assert!(!knows(&SERVER, client, MADE_S + 3601) && !knows(&SERVER, client, MADE_S - 301));
        assert!(!knows(&SERVER, "198.51.100.101".parse().expect("an address"), MADE_S));
        for at in 0..SERVER.len() {
            let mut server = SERVER;
            server[at] ^= 1;
            assert!(!knows(&server, client, MADE_S), "octet {at}");
        }
        assert!(!knows(&[], client, MADE_S) && !knows(&SERVER[..8], client, MADE_S) && !knows(&[0; 32], client, MADE_S));
        assert!(!Cookies::new().expect("random").knows(&cookie(&SERVER), client, MADE_S));
    }

    #[test]
    fn a_secret_of_the_zone_is_used_for_35_days_and_then_one_of_the_process() {
        let client: IpAddr = "198.51.100.100".parse().expect("an address");
        let shared = |from_s| Secrets::new([Secret { from_s, octets: [3; 16] }]);
        let cookies = Cookies::with(SECRET).sharing(&shared(MADE_S));
        let end_s = MADE_S + USED_MAX_S;
        let last = cookies.make(&CLIENT, client, end_s);
        assert_eq!(last, Cookies::with([3; 16]).make(&CLIENT, client, end_s));
        let own = cookies.make(&CLIENT, client, end_s + 1);
        assert_eq!(own, Cookies::with(SECRET).make(&CLIENT, client, end_s + 1));
        assert!(cookies.replaces(&cookie(&last), client, end_s + 1) && !cookies.replaces(&cookie(&own), client, end_s + 1));
        let knows = |server: &[u8], now_s| cookies.knows(&cookie(server), client, now_s);
        assert!(knows(&last, end_s + 3600) && !knows(&last, end_s + 3601));
        // From a clock that was ahead: in time by itself, but not by its secret.
        assert!(!knows(&Cookies::with([3; 16]).make(&CLIENT, client, end_s + 3601), end_s + 3601));
        assert!(knows(&own, end_s + 1));
        assert!(!cookies.sharing(&shared(end_s)).knows(&cookie(&own), client, end_s + 1), "the zone has one again");
    }

    #[test]
    fn the_secret_of_a_process_makes_room_for_another_and_is_known_until_the_one_after() {
        let client: IpAddr = "198.51.100.100".parse().expect("an address");
        let first = Cookies::with(SECRET);
        let second = first.renewed().expect("random");
        assert_ne!(second.make(&CLIENT, client, MADE_S), SERVER);
        let knows = |cookies: &Cookies| cookies.knows(&cookie(&SERVER), client, MADE_S);
        assert!(knows(&second) && second.replaces(&cookie(&SERVER), client, MADE_S));
        assert!(!knows(&second.renewed().expect("random")));
    }

    #[test]
    fn a_client_of_ipv6_gets_the_cookie_of_the_rfc() {
        let client = [0x22, 0x68, 0x1a, 0xb9, 0x7d, 0x52, 0xc2, 0x98];
        let address = "2001:db8:220:1:59de:d0f4:8769:82b8".parse().expect("an address");
        let secret = [0x44, 0x55, 0x36, 0xbc, 0xd2, 0x51, 0x32, 0x98, 0x07, 0x5a, 0x5d, 0x37, 0x96, 0x63, 0xc9, 0x62];
        let made = Cookies::with(secret).make(&client, address, 1_559_741_961);
        assert_eq!(made, [1, 0, 0, 0, 0x5c, 0xf7, 0xc6, 0x09, 0xa6, 0xbb, 0x79, 0xd1, 0x66, 0x25, 0x50, 0x7a]);
    }
}
