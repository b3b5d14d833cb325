//! What the values of a site's cache mean together. Judges typed values; never sees text.

use std::collections::HashMap;
use std::hash::Hash;

use super::fault::{Findings, quoted};
use super::names;
use crate::cookies::is_named;
use crate::fields::only_if_keyed;
use crate::limits::{
    ANSWERS_MAX, COOKIE_PATTERNS_MAX, FIELD_NAME_BYTES_MAX, HIT_FOR_MISS_MAX, KEY_COOKIES_MAX, KEY_HEADERS_MAX, PATTERN_BYTES_MAX,
    QUERY_NAMES_MAX, RULES_MAX, TTLS_MAX,
};
use crate::site::{AnswerTtl, Cache, Cookies, Key, Match, Negative, Query, Rule};
use crate::status::StatusPattern;
use crate::units::{Period, Size};

/// Everything that is wrong with a cache by itself; `hosts` are those of its site.
pub(crate) fn check(cache: &Cache, hosts: &[String], findings: &mut Findings) {
    ttls(&cache.ttls, "cache.ttls", findings);
    negative(&cache.negative, "cache.negative", findings);
    object_max(cache.object_max, "cache.object_max", findings);
    cookies(&cache.cookies, "cache.cookies", findings);
    if cache.hit_for_miss.0 > HIT_FOR_MISS_MAX {
        let says = format!(
            "\"{}\" is too long; write at most \"{}\", or \"0s\" to remember nothing",
            cache.hit_for_miss,
            Period(HIT_FOR_MISS_MAX)
        );
        findings.add("cache.hit_for_miss", says);
    }
    key(&cache.key, "cache.key", hosts, findings);
    key_and_cookies(&cache.key, ("cache.key", "cache.key.cookies"), &cache.cookies, "cache.cookies", findings);
    rules(cache, hosts, findings);
}

fn rules(cache: &Cache, hosts: &[String], findings: &mut Findings) {
    if cache.rules.len() > RULES_MAX {
        findings.add("cache.rules", format!("{} rules; a site has at most {RULES_MAX}", cache.rules.len()));
    }
    let mut before = None;
    for (index, each) in cache.rules.iter().enumerate().take(RULES_MAX) {
        let path = format!("cache.rules[{index}]");
        if let Some(all) = before {
            let other = format!("cache.rules[{all}]");
            let says = format!("this rule never applies, because {other} matches every request; move it before that one");
            findings.add_because(&path, &[&other], says);
        }
        rule(each, &path, hosts, findings);
        both_tiers_agree(each, &path, cache, findings);
        before = before.or(matches_all(&each.matches).then_some(index));
    }
}

/// No request has every header field or cookie, so a rule that asks for one leaves requests to later rules.
fn matches_all(matches: &Match) -> bool {
    matches.host.as_deref().is_none_or(|host| host == "*")
        && matches.path.as_deref().is_none_or(|path| path == "*")
        && matches.header.is_none()
        && matches.cookie.is_none()
}

fn rule(rule: &Rule, path: &str, hosts: &[String], findings: &mut Findings) {
    if let Some(pattern) = &rule.matches.path
        && let Err(why) = path_pattern(pattern)
    {
        findings.add(format!("{path}.match.path"), format!("{} {why}", quoted(pattern)));
    }
    if let Some(host) = &rule.matches.host {
        own_host(host, &format!("{path}.match.host"), "a rule names one exact host, or none for all hosts of the site", hosts, findings);
    }
    if let Some(name) = &rule.matches.header
        && let Err(why) = names::match_header(name)
    {
        findings.add(format!("{path}.match.header"), format!("{} {why}", quoted(name)));
    }
    if let Some(pattern) = &rule.matches.cookie
        && let Err(why) = names::cookie_pattern(pattern)
    {
        findings.add(format!("{path}.match.cookie"), format!("{} {why}", quoted(pattern)));
    }
    if rule.bypass {
        idle_beside_bypass(rule, path, findings);
    }
    if let Some(given) = &rule.ttls {
        ttls(given, &format!("{path}.ttls"), findings);
    }
    if let Some(given) = &rule.negative {
        negative(given, &format!("{path}.negative"), findings);
    }
    object_max(rule.object_max, &format!("{path}.object_max"), findings);
    if let Some(given) = &rule.cookies {
        cookies(given, &format!("{path}.cookies"), findings);
    }
    if let Some(given) = &rule.key {
        key(given, &format!("{path}.key"), hosts, findings);
    }
}

fn idle_beside_bypass(rule: &Rule, path: &str, findings: &mut Findings) {
    let idle = [
        ("ttl", rule.ttl.is_some()),
        ("stale_while_revalidate", rule.stale_while_revalidate.is_some()),
        ("stale_if_error", rule.stale_if_error.is_some()),
        ("ttls", rule.ttls.is_some()),
        ("negative", rule.negative.is_some()),
        ("object_max", rule.object_max.is_some()),
        ("cookies", rule.cookies.is_some()),
        ("request_directives", rule.request_directives.is_some()),
        ("key", rule.key.is_some()),
    ];
    for (field, _) in idle.into_iter().filter(|(_, given)| *given) {
        let because = format!("{path}.bypass");
        findings.add_because(format!("{path}.{field}"), &[&because], "nothing is stored when bypass is true; remove one of the two");
    }
}

/// What the edge takes out of a request is not there when the shield looks for the rule: both must find the same one.
fn both_tiers_agree(rule: &Rule, path: &str, cache: &Cache, findings: &mut Findings) {
    let (key, key_path) = match &rule.key {
        Some(key) => (key, format!("{path}.key")),
        None => (&cache.key, "cache.key".to_owned()),
    };
    let (cookies, cookies_path) = match &rule.cookies {
        Some(cookies) => (cookies, format!("{path}.cookies")),
        None => (&cache.cookies, "cache.cookies".to_owned()),
    };
    if let Some(name) = rule.matches.header.as_ref().filter(|name| only_if_keyed(name) && names::match_header(name).is_ok())
        && !key.headers.contains(name)
    {
        let says = format!("{} is taken out of requests that are not told apart by it; add it to {key_path}.headers", quoted(name));
        findings.add_because(format!("{path}.match.header"), &[&key_path], says);
    }
    if rule.bypass {
        return;
    }
    if let Some(pattern) = &rule.matches.cookie
        && let Some(strip) = cookies.strip.iter().find(|strip| names::cookie_patterns_meet(strip, pattern))
    {
        let says = format!(
            "{} may be taken out by {} in {cookies_path}.strip before the shield looks for the rule; strip others",
            quoted(pattern),
            quoted(strip)
        );
        findings.add_because(format!("{path}.match.cookie"), &[&cookies_path], says);
    }
    if rule.key.is_some() || rule.cookies.is_some() {
        let at = if rule.key.is_some() { format!("{key_path}.cookies") } else { format!("{cookies_path}.strip") };
        key_and_cookies(key, (&key_path, &at), cookies, &cookies_path, findings);
    }
}

/// A cookie that is taken out cannot count in the key. `at` is the path of the key, and where the fault is told.
fn key_and_cookies(key: &Key, at: (&str, &str), cookies: &Cookies, cookies_path: &str, findings: &mut Findings) {
    for name in key.cookies.iter().take(KEY_COOKIES_MAX) {
        if let Some(strip) = cookies.strip.iter().find(|strip| is_named(strip, name.as_bytes())) {
            let says = format!(
                "{} counts in {}, and {} in {cookies_path}.strip takes it out; remove one of the two",
                quoted(name),
                at.0,
                quoted(strip)
            );
            findings.add_because(at.1, &[at.0, cookies_path], says);
        }
    }
}

fn own_host(host: &str, at: &str, exact: &str, hosts: &[String], findings: &mut Findings) {
    if host.contains('*') {
        findings.add(at, format!("{} has a star; {exact}", quoted(host)));
    } else if let Err(why) = names::host(host) {
        findings.add(at, format!("{} {why}", quoted(host)));
    } else if !hosts.iter().any(|owned| names::covers(&owned.to_ascii_lowercase(), &host.to_ascii_lowercase())) {
        findings.add_because(at, &["hosts"], format!("{} is not a host of this site; add it to hosts, or name one of them", quoted(host)));
    }
}

fn ttls(ttls: &[AnswerTtl], path: &str, findings: &mut Findings) {
    if ttls.len() > TTLS_MAX {
        findings.add(path, format!("{} lifetimes; write at most {TTLS_MAX}", ttls.len()));
    }
    for (index, each) in ttls.iter().enumerate().take(TTLS_MAX) {
        let path = format!("{path}[{index}]");
        if each.status.is_empty() && each.content_type.is_empty() {
            let says = "neither status nor content_type is there; write at least one, or the ttl of a rule for every answer";
            findings.add_because(&path, &[&format!("{path}.status"), &format!("{path}.content_type")], says);
        }
        statuses(&each.status, &path, findings, is_stored);
        list(&each.content_type, &format!("{path}.content_type"), "content_type", (ANSWERS_MAX, "media types"), findings, |text| {
            names::media_type(text).map_err(|why| format!("{} {why}", quoted(text)))
        });
    }
}

fn negative(negative: &Negative, path: &str, findings: &mut Findings) {
    statuses(&negative.status, path, findings, |status| {
        if status.first() < 400 {
            return Err(format!("{} is no error; write statuses of 400 and above, and others in ttls", status.written()));
        }
        is_stored(status)
    });
    let (status, ttl) = (format!("{path}.status"), format!("{path}.ttl"));
    if !negative.status.is_empty() && negative.ttl.0.is_zero() {
        findings.add_because(&ttl, &[&status], "\"0s\" keeps none of the statuses; write how long they are kept, such as \"10s\"");
    }
    if negative.status.is_empty() && !negative.ttl.0.is_zero() {
        let says = format!("\"{}\" is for no status; write status too, such as [404, \"5xx\"]", negative.ttl);
        findings.add_because(&ttl, &[&status], says);
    }
}

fn statuses(statuses: &[StatusPattern], path: &str, findings: &mut Findings, good: impl Fn(&StatusPattern) -> Result<(), String>) {
    list(statuses, &format!("{path}.status"), "status", (ANSWERS_MAX, "statuses"), findings, good);
}

/// Whether the cache stores any answer with such a status as one of its own.
fn is_stored(status: &StatusPattern) -> Result<(), String> {
    match status {
        StatusPattern::One(206) => Err("206 is stored as a part of a 200; write 200".to_owned()),
        StatusPattern::One(one @ (304 | 412 | 416 | 417)) => Err(format!("{one} is about one request and never stored; leave it out")),
        _ => Ok(()),
    }
}

fn object_max(size: Option<Size>, path: &str, findings: &mut Findings) {
    if size.is_some_and(|size| size.0 == 0) {
        findings.add(path, "\"0B\" would store nothing; write the size of the largest body to store, or a rule with bypass = true");
    }
}

fn cookies(cookies: &Cookies, path: &str, findings: &mut Findings) {
    for (field, patterns) in [("bypass", &cookies.bypass), ("strip", &cookies.strip)] {
        list(patterns, &format!("{path}.{field}"), field, (COOKIE_PATTERNS_MAX, "cookies"), findings, |pattern| {
            names::cookie_pattern(pattern).map_err(|why| format!("{} {why}", quoted(pattern)))
        });
    }
}

pub(super) fn path_pattern(pattern: &str) -> Result<(), &'static str> {
    if !pattern.starts_with(['/', '*']) {
        return Err("begins with neither / nor *; write a path such as /api/* or *.jpg");
    }
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err("is longer than 1024 bytes");
    }
    if pattern.contains(['?', '#']) {
        return Err("has a query or fragment; rules match the path alone, and the query belongs in key");
    }
    if !pattern.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("has a space or a character that no path is sent with; write it percent-encoded");
    }
    Ok(())
}

fn key(key: &Key, path: &str, hosts: &[String], findings: &mut Findings) {
    if let Some(host) = &key.host {
        own_host(host, &format!("{path}.host"), "a key has one exact host", hosts, findings);
    }
    if let Some(given) = &key.query {
        query(given, &format!("{path}.query"), findings);
    }
    if key.headers.len() > KEY_HEADERS_MAX {
        findings.add(format!("{path}.headers"), format!("{} header fields; a key has at most {KEY_HEADERS_MAX}", key.headers.len()));
    }
    each_once(&key.headers, &format!("{path}.headers"), "headers", KEY_HEADERS_MAX, findings, |name| {
        names::key_header(name).map_err(|why| format!("{} {why}", quoted(name)))
    });
    if key.cookies.len() > KEY_COOKIES_MAX {
        findings.add(format!("{path}.cookies"), format!("{} cookies; a key has at most {KEY_COOKIES_MAX}", key.cookies.len()));
    }
    each_once(&key.cookies, &format!("{path}.cookies"), "cookies", KEY_COOKIES_MAX, findings, |name| {
        names::cookie(name).map_err(|why| format!("{} {why}", quoted(name)))
    });
}

fn query(query: &Query, path: &str, findings: &mut Findings) {
    if query.keep.is_some() && query.drop.is_some() {
        findings.add(path, "keep and drop are both there; write one of them");
    }
    for (field, names) in [("keep", &query.keep), ("drop", &query.drop)] {
        let names = names.as_deref().unwrap_or_default();
        list(names, &format!("{path}.{field}"), field, (QUERY_NAMES_MAX, "names"), findings, |name| {
            if name.is_empty() || name.len() > FIELD_NAME_BYTES_MAX {
                Err(format!("{} is not the name of a parameter; write 1 to {FIELD_NAME_BYTES_MAX} bytes", quoted(name)))
            } else if name.contains(['&', '=', '#']) {
                Err(format!("{} is more than a name; leave out &, = and the value", quoted(name)))
            } else {
                Ok(())
            }
        });
    }
}

/// A list at `path` with at most `max` items, each good and there once.
fn list<T: Eq + Hash + Listed>(
    items: &[T],
    path: &str,
    field: &str,
    (max, what): (usize, &str),
    findings: &mut Findings,
    check: impl Fn(&T) -> Result<(), String>,
) {
    if items.len() > max {
        findings.add(path, format!("{} {what}; write at most {max}", items.len()));
    }
    each_once(items, path, field, max, findings, check);
}

fn each_once<T: Eq + Hash + Listed>(
    items: &[T],
    path: &str,
    field: &str,
    max: usize,
    findings: &mut Findings,
    check: impl Fn(&T) -> Result<(), String>,
) {
    let mut seen = HashMap::new();
    for (index, item) in items.iter().enumerate().take(max) {
        let at = format!("{path}[{index}]");
        if let Err(says) = check(item) {
            findings.add(at, says);
        } else if let Some(first) = seen.insert(item, index) {
            findings.add(at, format!("{} is {field}[{first}] already; keep one of them", item.written()));
        }
    }
}

/// An item of a list as a file has it.
trait Listed {
    fn written(&self) -> String;
}

impl Listed for String {
    fn written(&self) -> String {
        quoted(self)
    }
}

impl Listed for StatusPattern {
    fn written(&self) -> String {
        match self {
            Self::One(one) => one.to_string(),
            Self::Class(_) => quoted(&self.to_string()),
        }
    }
}
