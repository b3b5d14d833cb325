//! The names by which a purge can mean an answer, all but its tags.

use http::HeaderMap;
use skerry_config::site::Key as Rules;

use super::url::{hashed, host, without_port};
use crate::codec::{Reader, Writer};
use crate::key::{canonical, split};
use crate::object::ALLOCATION_COST;
use crate::request::Request;

/// The names of one answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(super) site: u128,
    /// The host, with its port if it has one, and then without too: a purge that names no port means all. Then the host in the key, when
    /// that is another: a purge of any host that shares the answer raises that one too.
    pub(super) hosts: Vec<(u128, Box<str>)>,
    /// The URL as it was asked for and as the key rules see it, under each host.
    pub(super) urls: Vec<u128>,
    /// The same of the one origin that the answer is of, as this node itself calls what it finds to be out of date.
    pub(super) resources: Vec<u128>,
    pub(super) path_and_query: Box<str>,
}

impl Identity {
    pub(crate) fn of(request: &Request, site: &str, rules: &Rules) -> Self {
        let full = host(&request.authority);
        let alias = rules.host.as_deref().map(host);
        let bare = Some(without_port(&full)).filter(|bare| *bare != full);
        let alias = alias.as_deref().filter(|alias| *alias != full && Some(*alias) != bare);
        let path_and_query = request.path_and_query.as_str();
        let canonical = canonical(path_and_query, rules);
        let names = |host: &str| {
            let other = (canonical != path_and_query).then(|| url_name(host, &canonical));
            std::iter::once(url_name(host, path_and_query)).chain(other)
        };
        let (mut hosts, mut urls) = (Vec::with_capacity(1), Vec::with_capacity(2));
        for host in [Some(full.as_str()), bare, alias].into_iter().flatten() {
            hosts.push((hashed("host", &[host.as_bytes()]), host.into()));
            urls.extend(names(host));
        }
        let resources = names(&origin(request, rules)).collect();
        Self { site: hashed("site", &[site.as_bytes()]), hosts, urls, resources, path_and_query: path_and_query.into() }
    }

    /// The same for an answer that URLs with other queries may share: it also has the name of all queries of its path.
    pub(crate) fn with_any_query(mut self, request: &Request, rules: &Rules) -> Self {
        let path = split(&self.path_and_query).0;
        self.urls.extend(self.hosts.iter().map(|(_, host)| any_query(host, path)));
        self.resources.push(any_query(&origin(request, rules), path));
        self
    }

    /// Writes it for the disk.
    pub(crate) fn write(&self, out: &mut Writer) {
        out.name(self.site);
        out.word(u32::try_from(self.hosts.len()).unwrap_or(u32::MAX));
        self.hosts.iter().for_each(|(_, host)| out.bytes(host.as_bytes()));
        out.names(self.urls.iter());
        out.names(self.resources.iter());
        out.bytes(self.path_and_query.as_bytes());
    }

    /// Reads it back.
    pub(crate) fn read(from: &mut Reader) -> Option<Self> {
        let site = from.name()?;
        let hosts = (0..from.word()?)
            .map(|_| from.text().map(|host| (hashed("host", &[host.as_bytes()]), host.into_boxed_str())))
            .collect::<Option<_>>()?;
        Some(Self { site, hosts, urls: from.names()?, resources: from.names()?, path_and_query: from.text()?.into() })
    }

    /// In bytes.
    pub(crate) fn weight(&self) -> u64 {
        let texts: u64 = self.hosts.iter().map(|(_, host)| host.len() as u64 + ALLOCATION_COST).sum();
        let hosts = texts + 32 * self.hosts.capacity() as u64;
        let names = 16 * (self.urls.capacity() + self.resources.capacity()) as u64;
        // Itself, counted, and four allocations more: the three lists and the path.
        size_of::<Self>() as u64 + 16 + 5 * ALLOCATION_COST + hosts + names + self.path_and_query.len() as u64
    }
}

/// The origin of an answer. Where hosts or schemes share their answers, they are one origin to the cache.
fn origin(request: &Request, rules: &Rules) -> String {
    let scheme = if rules.scheme { request.scheme } else { "" };
    let mut origin = [scheme, "://", rules.host.as_deref().unwrap_or(&request.authority)].concat();
    origin.make_ascii_lowercase();
    origin
}

/// The name of a cache group, which only answers of one origin share (RFC 9875 section 2).
pub(crate) fn group_name(request: &Request, rules: &Rules, group: &str) -> u128 {
    hashed("group", &[origin(request, rules).as_bytes(), b"\0", group.as_bytes()])
}

/// The name of a URL, without its scheme.
pub(super) fn url_name(host: &str, path_and_query: &str) -> u128 {
    hashed("url", &[host.as_bytes(), path_and_query.as_bytes()])
}

/// The name of a path with any query, which no URL has.
pub(super) fn any_query(host: &str, path: &str) -> u128 {
    hashed("path", &[host.as_bytes(), path.as_bytes()])
}

/// All values of a field.
pub(super) fn values<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).into_iter().map(http::HeaderValue::as_bytes)
}
