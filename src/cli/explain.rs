//! `skerry explain`: why the next GET of a URL will be a hit, or will not, on each node.

use clap::Args;
use serde_json::Value;

use super::api::{self, Call};
use super::{Fail, segment, show};

/// The options of `skerry explain`.
#[derive(Args)]
pub(crate) struct Options {
    /// The URL, http://HOST/PATH or https://HOST/PATH
    #[arg(value_name = "URL")]
    url: String,
    /// Ask this edge or shield alone
    #[arg(long, value_name = "NAME")]
    edge: Option<String>,
    /// A header field of the request; may be repeated
    #[arg(short = 'H', long = "header", value_name = "'NAME: VALUE'")]
    headers: Vec<String>,
    #[command(flatten)]
    api: api::Options,
}

/// Asks, and prints what each node says; fails when none says anything.
pub(crate) async fn run(options: Options) -> Result<(), Fail> {
    let api = options.api.api()?;
    let mut path = format!("/v1/explain?url={}", segment(&options.url));
    path.extend(options.edge.iter().map(|name| format!("&node={}", segment(name))));
    path.extend(options.headers.iter().map(|field| format!("&header={}", segment(field))));
    let answer = api.call(Call::get(&path)).await?;
    let nodes = show::list(&answer, "nodes");
    if options.api.json {
        show::json(&answer);
    } else {
        for (place, node) in nodes.iter().enumerate() {
            if place > 0 {
                show::line("");
            }
            for line in report(node) {
                show::line(&line);
            }
        }
    }
    match nodes {
        [] => Err(Fail::Refused("there is no node yet; skerry node token create lets one join".to_owned())),
        nodes if nodes.iter().all(|node| node.get("answer").is_none()) => Err(Fail::Refused("no node gave an answer".to_owned())),
        _ => Ok(()),
    }
}

/// What one node says: its name, and a line for each part.
fn report(node: &Value) -> Vec<String> {
    let mut lines = vec![format!("{}  {}, {}", show::text(node, "name"), show::text(node, "role"), show::text(node, "region"))];
    let Some(answer) = node.get("answer") else {
        lines.push(part("error", &show::text(node, "error")));
        return lines;
    };
    lines.push(part("request", &format!("GET {}", show::text(answer, "url"))));
    if let Some(why) = answer.get("unserved").and_then(Value::as_str) {
        lines.push(part("site", &format!("none: {why}")));
        return lines;
    }
    lines.push(part("site", &format!("{}, {}", show::text(answer, "site"), rule(answer))));
    let policy = policy(&answer["policy"]);
    lines.extend((!policy.is_empty()).then(|| part("policy", &policy)));
    lines.push(part("key", &format!("{}  ({})", show::text(&answer["key"], "text"), show::text(&answer["key"], "hash"))));
    lines.extend(answer.get("variant").map(|variant| part("variant", &fields(variant))));
    match answer.get("stored") {
        Some(stored) => lines.extend(about(stored)),
        None => lines.push(part("stored", "nothing")),
    }
    lines.push(part("purges", &purges(&answer["purges"])));
    if let Some(until) = answer.get("uncacheable_until") {
        lines.push(part("memory", &format!("an answer could not be stored; remembered until {}", show::text(until, "date"))));
    }
    let next = &answer["next"];
    lines.push(part("next", &format!("{}: {}", show::text(next, "outcome"), show::text(next, "why"))));
    lines.extend(forwarded(next, &show::text(answer, "upstream")).map(|line| part("", &line)));
    lines
}

/// What `Cache-Status` will say of a request that is no hit, and who is asked.
fn forwarded(next: &Value, upstream: &str) -> Option<String> {
    let mut said = format!("fwd={}", next.get("fwd")?.as_str()?);
    let outcome = next.get("outcome").and_then(Value::as_str);
    if outcome == Some("collapse") {
        said.push_str("; collapsed");
    }
    if let Some(detail) = next.get("detail").and_then(Value::as_str) {
        said.push_str(&format!("; detail={detail}"));
    }
    // Who wants only what is stored makes nobody ask.
    if outcome != Some("refuse") {
        said.push_str(&format!("; asks {upstream}"));
    }
    Some(said)
}

fn part(name: &str, text: &str) -> String {
    format!("  {name:<8}  {text}")
}

fn rule(answer: &Value) -> String {
    let Some(rule) = answer.get("rule") else { return "no rule: its defaults".to_owned() };
    let conditions = rule.get("match").and_then(Value::as_object).into_iter().flatten();
    let conditions: Vec<String> = conditions.map(|(name, _)| format!("{name} {}", show::text(&rule["match"], name))).collect();
    let conditions = if conditions.is_empty() { "every request".to_owned() } else { conditions.join(", ") };
    format!("cache.rules[{}]: {conditions}", show::text(rule, "index"))
}

/// What the site says about such requests, where it says anything, in the words of its file.
fn policy(policy: &Value) -> String {
    const SAID: [&str; 15] = [
        "bypass",
        "ttl",
        "default_ttl",
        "stale_while_revalidate",
        "default_stale_while_revalidate",
        "stale_if_error",
        "default_stale_if_error",
        "ttls",
        "negative",
        "object_max",
        "cookies",
        "obey_request",
        "deception_guard",
        "no_vary_search",
        "key",
    ];
    let windows = ["stale_while_revalidate", "stale_if_error"];
    let by_rule = |window: &str| policy.get(window).is_some_and(|value| !value.is_null());
    let unsaid = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text == "0s",
        Value::Array(items) => items.is_empty(),
        // A lifetime for no status, and what becomes of `Set-Cookie` by default.
        Value::Object(fields) => fields.iter().all(|(_, value)| value == "0s" || value == "refuse"),
        _ => false,
    };
    let said = SAID.iter().filter_map(|name| {
        let value = policy.get(*name)?;
        match (*name, value) {
            ("deception_guard", Value::Bool(on)) => (!on).then(|| "deception_guard false".to_owned()),
            (_, value) if unsaid(value) => None,
            ("obey_request", _) => Some("request_directives obey".to_owned()),
            ("object_max", value) => value.as_u64().map(|bytes| format!("object_max {}", show::bytes(bytes))),
            (name, Value::String(text)) => match name.strip_prefix("default_").filter(|window| windows.contains(window)) {
                // A rule's window stands in its place.
                Some(window) => (!by_rule(window)).then(|| format!("{window} {text} where the origin says nothing")),
                None => Some(format!("{name} {text}")),
            },
            (name, Value::Bool(_)) => Some(name.to_owned()),
            (name, other) => Some(format!("{name} {other}")),
        }
    });
    said.collect::<Vec<_>>().join(", ")
}

fn fields(variant: &Value) -> String {
    let field = |field: &Value| match field.get("value").and_then(Value::as_str) {
        Some(value) => format!("{}: {value}", show::text(field, "name")),
        None => format!("no {}", show::text(field, "name")),
    };
    let fields: Vec<String> = show::list(variant, "fields").iter().map(field).collect();
    format!("{}  ({})", fields.join("; "), show::text(variant, "hash"))
}

/// The stored response, with its arithmetic written out.
fn about(stored: &Value) -> Vec<String> {
    let mut what = vec![format!("status {}", show::text(stored, "status"))];
    what.extend((stored.get("tier").and_then(Value::as_str) == Some("disk")).then(|| "on disk".to_owned()));
    what.extend(stored.get("length").and_then(Value::as_u64).map(show::bytes));
    what.push(show::text(&stored["stored_at"], "date"));
    what.extend(stored.get("etag").map(|_| format!("ETag {}", show::text(stored, "etag"))));
    what.extend(stored.get("last_modified").map(|_| format!("Last-Modified {}", show::text(stored, "last_modified"))));
    let runs: Vec<String> = show::list(stored, "parts").iter().map(bytes_of).collect();
    what.extend((!runs.is_empty()).then(|| format!("only bytes {} of it", runs.join(", "))));
    let tags = usize::try_from(show::number(stored, "tags")).unwrap_or(usize::MAX);
    what.extend((tags > 0).then(|| show::count(tags, "tag")));
    let (age, lifetime) = (&stored["age"], &stored["lifetime"]);
    let of = |value: &Value, field: &str| spoken(value.get(field).and_then(Value::as_i64).unwrap_or(0));
    let left = match lifetime.get("remaining_ms").and_then(Value::as_i64).unwrap_or(0) {
        left if left > 0 => format!("fresh for {} more", spoken(left)),
        over => format!("stale for {}", spoken(-over)),
    };
    let source = match lifetime.get("source").and_then(Value::as_str).unwrap_or_default() {
        "rule" => "by the rule".to_owned(),
        "default" => "by the site's default".to_owned(),
        "Last-Modified" => "by the time since Last-Modified".to_owned(),
        "nothing" => "as nothing says how long".to_owned(),
        field => format!("by {field}"),
    };
    let validated = if lifetime.get("no_cache").and_then(Value::as_bool) == Some(true) { ", and no-cache" } else { "" };
    let mut lines = vec![
        part("stored", &what.join(", ")),
        part("age", &format!("{} = {} at arrival + {} here", of(age, "current_ms"), of(age, "initial_ms"), of(age, "resident_ms"))),
        part("lifetime", &format!("{} {source}{validated}: {left}", of(lifetime, "lifetime_ms"))),
    ];
    let windows = [("stale_while_revalidate", "stale-while-revalidate"), ("stale_if_error", "stale-if-error")];
    let windows = windows.iter().filter(|(field, _)| show::number(&stored[*field], "window_ms") > 0).map(|(field, name)| {
        let window = &stored[*field];
        let open = window.get("open").and_then(Value::as_bool) == Some(true);
        let until = if open { format!("open for {} more", of(window, "remaining_ms")) } else { "closed".to_owned() };
        format!("{name} {}, {until}", of(window, "window_ms"))
    });
    let windows: Vec<String> = windows.collect();
    lines.extend((!windows.is_empty()).then(|| part("stale", &windows.join("; "))));
    lines.extend(stored.get("upstream_status").map(|_| part("came by", &show::text(stored, "upstream_status"))));
    lines
}

/// Some bytes, as a `Content-Range` counts them.
fn bytes_of(part: &Value) -> String {
    format!("{}-{}", show::number(part, "first"), show::number(part, "last"))
}

/// The numbers that were compared.
fn purges(purges: &Value) -> String {
    let in_force = show::text(purges, "in_force");
    if purges.get("stamp").is_none() {
        return format!("{in_force} in force here");
    }
    let number =
        |one: &Value, field: &str, kind: &str| Some(show::number(one, field)).filter(|seq| *seq > 0).map(|seq| format!("{seq}{kind}"));
    let named = |one: &Value| {
        let name = one.get("name").and_then(Value::as_str).map_or_else(String::new, |name| format!(" {name}"));
        let numbers: Vec<String> = [number(one, "hard", ""), number(one, "soft", " (soft)")].into_iter().flatten().collect();
        format!("{}{name} at {}", show::text(one, "kind"), numbers.join(" and "))
    };
    let mut compared: Vec<String> = show::list(purges, "compared").iter().map(named).collect();
    if purges.get("invalidated").and_then(Value::as_bool) == Some(true) {
        compared.push("invalidated here by an unsafe request or a cache group".to_owned());
    }
    let compared = if compared.is_empty() { "none names it".to_owned() } else { compared.join(", ") };
    let verdict = match purges.get("verdict").and_then(Value::as_str) {
        Some("gone") => ": gone",
        Some("stale") => ": stale",
        _ => ": untouched",
    };
    format!("fetched at {}, {in_force} in force here; {compared}{verdict}", show::text(purges, "stamp"))
}

/// Milliseconds as seconds, to the millisecond where they are not whole, so that sums come out.
fn spoken(millis: i64) -> String {
    let (seconds, rest) = (millis / 1_000, millis % 1_000);
    if rest == 0 { format!("{seconds} s") } else { format!("{seconds}.{:03} s", rest.abs()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hit_is_written_with_its_arithmetic() {
        let node = serde_json::json!({
            "name": "edge-1", "role": "edge", "region": "north",
            "answer": {
                "url": "http://shop.test/a", "snapshot": 3, "site": "shop", "rule": {"index": 1, "match": {"path": "/*", "header": "x-a"}},
                "key": {"text": "http://shop.test/a", "hash": "00ff"},
                "policy": {"bypass": false, "ttl": null, "default_ttl": "0s", "stale_if_error": "1h", "negative": {"ttl": "0s"}, "ttls": [],
                    "obey_request": true, "key": {"headers": ["x-a"]}, "cookies": {}},
                "variant": {"fields": [{"name": "accept-encoding", "value": "gzip"}, {"name": "x-b"}], "hash": "11ee"},
                "stored": {
                    "tier": "disk", "status": 200, "length": 2048, "tags": 2, "etag": "\"1\"", "stored_at": {"unix_ms": 0, "date": "D"},
                    "age": {"initial_ms": 500, "resident_ms": 12_000, "current_ms": 12_500},
                    "lifetime": {"lifetime_ms": 60_000, "source": "s-maxage", "remaining_ms": 47_500, "no_cache": false},
                    "stale_while_revalidate": {"window_ms": 10_000, "remaining_ms": 57_500, "open": true},
                    "stale_if_error": {"window_ms": 0, "remaining_ms": 47_500, "open": false},
                },
                "purges": {"in_force": 5, "stamp": 4, "verdict": "untouched",
                    "compared": [{"kind": "tag", "name": "red", "hard": 2, "soft": 3, "verdict": "untouched"}]},
                "fetching": false, "upstream": ["shield-1"], "next": {"outcome": "hit", "why": "fresh for 47.5 s more"},
            },
        });
        let expected = [
            "edge-1  edge, north",
            "  request   GET http://shop.test/a",
            "  site      shop, cache.rules[1]: header x-a, path /*",
            "  policy    stale_if_error 1h, request_directives obey, key {\"headers\":[\"x-a\"]}",
            "  key       http://shop.test/a  (00ff)",
            "  variant   accept-encoding: gzip; no x-b  (11ee)",
            "  stored    status 200, on disk, 2.0 KiB, D, ETag \"1\", 2 tags",
            "  age       12.500 s = 0.500 s at arrival + 12 s here",
            "  lifetime  60 s by s-maxage: fresh for 47.500 s more",
            "  stale     stale-while-revalidate 10 s, open for 57.500 s more",
            "  purges    fetched at 4, 5 in force here; tag red at 2 and 3 (soft): untouched",
            "  next      hit: fresh for 47.5 s more",
        ];
        assert_eq!(report(&node), expected);
    }

    #[test]
    fn what_is_not_there_is_said() {
        let away = serde_json::json!({"name": "edge-2", "role": "edge", "region": "south", "error": "not connected"});
        assert_eq!(report(&away), ["edge-2  edge, south", "  error     not connected"]);
        let stranger = serde_json::json!({"name": "a", "role": "edge", "region": "b",
            "answer": {"url": "http://x/", "snapshot": 1, "unserved": "no site owns x", "upstream": []}});
        assert_eq!(report(&stranger)[2], "  site      none: no site owns x");
        let missing = serde_json::json!({"name": "a", "role": "edge", "region": "b", "answer": {
            "url": "http://x/", "site": "s", "key": {"text": "k", "hash": "h"}, "purges": {"in_force": 0, "compared": []},
            "upstream": ["shield-1", "http://o:1"], "next": {"outcome": "miss", "fwd": "uri-miss", "why": "nothing is stored for this key"}}});
        let lines = report(&missing);
        assert_eq!(lines[2], "  site      s, no rule: its defaults");
        assert_eq!(lines[4..6], ["  stored    nothing", "  purges    0 in force here"]);
        assert_eq!(lines[6..], ["  next      miss: nothing is stored for this key", "            fwd=uri-miss; asks shield-1, http://o:1"]);
    }

    #[test]
    fn the_policy_is_told_in_the_words_of_the_site_file() {
        let said = serde_json::json!({"default_ttl": "20s", "stale_while_revalidate": null, "default_stale_while_revalidate": "5s",
            "stale_if_error": "0s", "default_stale_if_error": "1h", "cookies": {"set_cookie": "refuse"}, "negative": {"ttl": "0s"}, "object_max": 10_485_760, "obey_request": false, "deception_guard": false});
        let expected =
            "default_ttl 20s, stale_while_revalidate 5s where the origin says nothing, object_max 10.0 MiB, deception_guard false";
        assert_eq!(policy(&said), expected);
    }

    #[test]
    fn who_is_asked_is_said_where_somebody_is() {
        let next = |outcome: &str, detail: Option<&str>| serde_json::json!({"outcome": outcome, "fwd": "uri-miss", "detail": detail});
        let said = |next: &Value| forwarded(next, "shield-1");
        assert_eq!(said(&next("collapse", None)).as_deref(), Some("fwd=uri-miss; collapsed; asks shield-1"));
        assert_eq!(said(&next("refuse", Some("only-if-cached"))).as_deref(), Some("fwd=uri-miss; detail=only-if-cached"));
        assert_eq!(said(&serde_json::json!({"outcome": "hit", "detail": "max-stale"})), None);
    }
}
