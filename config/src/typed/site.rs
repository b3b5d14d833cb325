//! How the tables of a site are read.

use super::read::record;
use crate::site::{Cache, Key, Match, Origin, Query, Rule, Site, between_bytes_timeout, connect_timeout, first_byte_timeout, yes};

record!(Site {
    name = "name": required("the name of the site, such as \"shop\""),
    hosts = "hosts": required("the host names of the site, such as [\"shop.example.com\"]"),
    origin = "origin": required("the table of the origin, with its urls"),
    cache = "cache": or(Cache::default()),
} else Self { name: String::new(), hosts: Vec::new(), origin: Origin::stand_in(), cache: Cache::default() });

record!(Origin {
    urls = "urls": required("the origin servers, such as [\"https://origin.example.net\"]"),
    host_header = "host_header": optional,
    server_name = "server_name": optional,
    verify_tls = "verify_tls": or(yes()),
    connect_timeout = "connect_timeout": or(connect_timeout()),
    first_byte_timeout = "first_byte_timeout": or(first_byte_timeout()),
    between_bytes_timeout = "between_bytes_timeout": or(between_bytes_timeout()),
} else Self {
    urls: Vec::new(),
    host_header: None,
    server_name: None,
    verify_tls: yes(),
    connect_timeout: connect_timeout(),
    first_byte_timeout: first_byte_timeout(),
    between_bytes_timeout: between_bytes_timeout(),
});

record!(Cache {
    default_ttl = "default_ttl": or(Self::default().default_ttl),
    stale_while_revalidate = "stale_while_revalidate": or(Self::default().stale_while_revalidate),
    stale_if_error = "stale_if_error": or(Self::default().stale_if_error),
    key = "key": or(Key::default()),
    rules = "rules": or(Vec::<Rule>::new()),
} else Self::default());

record!(Rule {
    matches = "match": or(Match::default()),
    bypass = "bypass": or(false),
    ttl = "ttl": optional,
    stale_while_revalidate = "stale_while_revalidate": optional,
    stale_if_error = "stale_if_error": optional,
    key = "key": optional,
} else Self::default());

record!(Match {
    path = "path": optional,
    host = "host": optional,
} else Self::default());

record!(Key {
    query = "query": optional,
    headers = "headers": or(Vec::new()),
} else Self::default());

record!(Query {
    keep = "keep": optional,
    drop = "drop": optional,
    sort = "sort": or(false),
} else Self::default());
