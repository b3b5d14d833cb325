//! The reference pages, the schema file and the fully commented examples, made from the doc comments of the types.
//!
//! Compares what is in git with what would be made, and with `SKERRY_BLESS=1` in the environment writes it.

mod commented;
mod markdown;

use std::path::Path;

use schemars::JsonSchema;
use serde_json::{Value, json};

use crate::check::{self, Format};
use crate::process::*;
use crate::site::*;
use crate::typed::{self, Reader, Typed};

/// A table of a document.
struct Table {
    doc: String,
    fields: Vec<Field>,
}

/// A field of a table.
struct Field {
    name: &'static str,
    doc: String,
    required: bool,
    default: Option<Value>,
    shape: Shape,
}

/// What a field holds.
enum Shape {
    /// No table; in words.
    Plain(String),
    /// The table of this name; whether it may be left out as a whole.
    Table(String, bool),
    /// A list of tables of this name.
    Tables(String),
}

/// A kind of document.
struct Kind {
    schema: Value,
    root: &'static str,
}

impl Kind {
    fn of<T: JsonSchema>(root: &'static str) -> Self {
        Self { schema: schemars::schema_for!(T).to_value(), root }
    }

    fn table(&self, name: &str) -> Table {
        let schema = if name == self.root { &self.schema } else { &self.schema["$defs"][name] };
        let fields = order(name).iter().map(|&name| field(name, schema)).collect();
        Table { doc: text(schema), fields }
    }
}

fn field(name: &'static str, table: &Value) -> Field {
    let schema = &table["properties"][name];
    let required = table["required"].as_array().is_some_and(|required| required.iter().any(|other| other == name));
    Field { name, doc: text(schema), required, default: schema.get("default").cloned(), shape: shape(schema) }
}

fn text(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().replace('\n', " ")
}

fn reference(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str().and_then(|reference| reference.strip_prefix("#/$defs/"))
}

fn shape(schema: &Value) -> Shape {
    let nullable = schema["anyOf"].as_array().and_then(|any| any.first());
    let inner = nullable.unwrap_or(schema);
    match reference(inner) {
        Some("Period") => return Shape::Plain("duration".to_owned()),
        Some("BitRate") => return Shape::Plain("bandwidth".to_owned()),
        Some("Size") => return Shape::Plain("size".to_owned()),
        Some("StatusPattern") => return Shape::Plain("status or class".to_owned()),
        Some(
            "RequestDirectives" | "SetCookie" | "HttpVersion" | "RateBy" | "ForwardedAs" | "Lead" | "Fallback" | "RouteBy" | "RouteScheme",
        ) => {
            return Shape::Plain("text".to_owned());
        }
        Some(name) => return Shape::Table(name.to_owned(), nullable.is_some()),
        None => {}
    }
    let kind = inner["type"].as_str().or_else(|| inner["type"][0].as_str()).unwrap_or_default();
    match (kind, inner["format"].as_str()) {
        ("array", _) => match shape(&inner["items"]) {
            Shape::Table(name, _) | Shape::Tables(name) => Shape::Tables(name),
            Shape::Plain(words) => Shape::Plain(format!("list of {words}")),
        },
        ("boolean", _) => Shape::Plain("boolean".to_owned()),
        (_, Some("ip")) => Shape::Plain("IP address".to_owned()),
        ("integer" | "number", _) => Shape::Plain("number".to_owned()),
        _ => Shape::Plain("text".to_owned()),
    }
}

/// The fields of a table in the order of its type, which the schema does not keep.
fn order(name: &str) -> &'static [&'static str] {
    match name {
        "Site" => Site::FIELDS,
        "Origin" => Origin::FIELDS,
        "Shields" => Shields::FIELDS,
        "OriginLimits" => OriginLimits::FIELDS,
        "OriginServer" => OriginServer::FIELDS,
        "Health" => Health::FIELDS,
        "Breaker" => Breaker::FIELDS,
        "Retries" => Retries::FIELDS,
        "Ejection" => Ejection::FIELDS,
        "Cache" => Cache::FIELDS,
        "Pass" => Pass::FIELDS,
        "RateLimit" => RateLimit::FIELDS,
        "Forwarding" => Forwarding::FIELDS,
        "Route" => Route::FIELDS,
        "AnswerTtl" => AnswerTtl::FIELDS,
        "Negative" => Negative::FIELDS,
        "Cookies" => Cookies::FIELDS,
        "Rule" => Rule::FIELDS,
        "Match" => Match::FIELDS,
        "Key" => Key::FIELDS,
        "Query" => Query::FIELDS,
        "Control" => Control::FIELDS,
        "ControlListen" => ControlListen::FIELDS,
        "ControlApi" => ControlApi::FIELDS,
        "ApiTls" => ApiTls::FIELDS,
        "Webhooks" => Webhooks::FIELDS,
        "Purges" => Purges::FIELDS,
        "Dns" => Dns::FIELDS,
        "DnsRecord" => DnsRecord::FIELDS,
        "DnsLimits" => DnsLimits::FIELDS,
        "DnsGeo" => DnsGeo::FIELDS,
        "Rollout" => Rollout::FIELDS,
        "Nameserver" => Nameserver::FIELDS,
        "Coverage" => Coverage::FIELDS,
        "Edge" => Edge::FIELDS,
        "EdgeListen" => EdgeListen::FIELDS,
        "Proxied" => Proxied::FIELDS,
        "Limits" => Limits::FIELDS,
        "Origins" => Origins::FIELDS,
        "Shield" => Shield::FIELDS,
        "ShieldListen" => ShieldListen::FIELDS,
        "DnsNode" => DnsNode::FIELDS,
        "DnsNodeListen" => DnsNodeListen::FIELDS,
        "ControlLink" => ControlLink::FIELDS,
        "Memory" => Memory::FIELDS,
        "Disk" => Disk::FIELDS,
        "Geo" => Geo::FIELDS,
        "Tls" => Tls::FIELDS,
        "Certificate" => Certificate::FIELDS,
        "Certificates" => Certificates::FIELDS,
        "Alarm" => Alarm::FIELDS,
        "Measuring" => Measuring::FIELDS,
        "Capacity" => Capacity::FIELDS,
        _ => panic!("no order is known for the fields of {name}"),
    }
}

/// Compares a file with what would be made, or writes it.
fn compare(path: &str, made: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    if std::env::var_os("SKERRY_BLESS").is_some_and(|bless| bless == "1") {
        std::fs::write(&file, made).unwrap();
        return;
    }
    let there = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(there == made, "{path} is not what the doc comments say; run SKERRY_BLESS=1 cargo test -p skerry-config and review the diff");
}

#[test]
fn the_schema_and_the_pages_are_what_the_types_say() {
    let site = Kind::of::<Site>("Site");
    compare("docs/reference/site.schema.json", &format!("{:#}\n", site.schema));
    compare("docs/reference/site.md", &markdown::site(&site));
    let processes =
        [Kind::of::<Control>("Control"), Kind::of::<Shield>("Shield"), Kind::of::<Edge>("Edge"), Kind::of::<DnsNode>("DnsNode")];
    compare("docs/reference/settings.md", &markdown::settings(&processes));
}

/// The commented example of a kind, compared, checked as it is, and read with every field that is commented out.
fn example(name: &str, kind: &Kind, sample: &Value, live: &[&str], opening: &str) {
    let made = commented::toml(kind, sample, live, opening);
    compare(&format!("config/examples/{name}"), &made);
    let settings = made.contains("\nrole = ");
    let faults = match settings {
        true => check::process_text(&made, Format::Toml, None).err(),
        false => check::site_text(&made, Format::Toml, None).err(),
    };
    assert_eq!(faults.map(|faults| faults.to_string()), None, "{name}");

    let whole: Vec<&str> = made
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(field) if !field.is_empty() && !field.starts_with(' ') => field,
            _ => line,
        })
        .collect();
    let tree = typed::tree(&whole.join("\n"), Format::Toml).unwrap();
    let mut reader = Reader::default();
    if settings {
        typed::read_process(&tree, &mut reader);
    } else {
        Site::read(&tree, "", &mut reader);
    }
    assert!(reader.findings.is_empty(), "{name}: {:?}", reader.findings);
}

/// An authority whose key nobody has.
const CA: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBkzCCATmgAwIBAgIULPIlGG7Jv/Wj7ntsx+IUGYr8Hw0wCgYIKoZIzj0EAwIw\n\
HjEcMBoGA1UEAwwTRXhhbXBsZSBJbnRlcm5hbCBDQTAgFw0yNjExMjgwNzA1NTRa\n\
GA8yMTI2MTEwNDA3MDU1NFowHjEcMBoGA1UEAwwTRXhhbXBsZSBJbnRlcm5hbCBD\n\
QTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABMzps9FXS1g4eyf79gNBnsCMMK5F\n\
KIW61AYHFkBKKwNuYSxsCQMtJBoqWbKY1c63L8V6MioTKescQZiUe1r3wKmjUzBR\n\
MB0GA1UdDgQWBBTEykYqw2iO6k6DKaobVEFNT+bkSDAfBgNVHSMEGDAWgBTEykYq\n\
w2iO6k6DKaobVEFNT+bkSDAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gA\n\
MEUCIQDqhGxMlGLeQXbXTOcdhnzctsCBVqBYDfWil1Lu/L8UswIgFzPcC6CukC3u\n\
usrYLFXKCEEvonqMsvcC7LijJJIj1lw=\n\
-----END CERTIFICATE-----\n\
";

/// A certificate whose key nobody has.
const CLIENT: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBRDCB96ADAgECAhRGelS318Re9krCYAPq7JDoSruZ9DAFBgMrZXAwFzEVMBMG\n\
A1UEAwwMRXhhbXBsZSBFZGdlMCAXDTI2MTEyODA5MjA0NloYDzIxMjYxMTA0MDky\n\
MDQ2WjAXMRUwEwYDVQQDDAxFeGFtcGxlIEVkZ2UwKjAFBgMrZXADIQAbEITjZzWV\n\
FggCQooRfQD8o2eniHgz+csk4qYImkNAz6NTMFEwHQYDVR0OBBYEFE1Jcgsb+m1B\n\
cFhOcHNWcR7u2JAlMB8GA1UdIwQYMBaAFE1Jcgsb+m1BcFhOcHNWcR7u2JAlMA8G\n\
A1UdEwEB/wQFMAMBAf8wBQYDK2VwA0EAd39bNjcEJ6m4jomMzrNp1sp840yhQPr+\n\
LGEtcRIBEXXGIpF3Wbf+8aEseZt7xKWPUs7aFj3SJysJlJwoKwoqCQ==\n\
-----END CERTIFICATE-----\n\
";

#[test]
fn the_commented_examples_are_what_the_doc_comments_say() {
    let key = json!({
        "scheme": true, "host": "shop.example.com", "query": { "keep": ["page", "q"], "drop": ["utm_source"], "sort": false },
        "headers": ["accept-language"], "cookies": ["currency"], "device": false, "country": false,
    });
    let ttls = json!([{ "status": [301, "4xx"], "content_type": ["image/*", "text/css"], "ttl": "10m" }]);
    let negative = json!({ "status": [404, "5xx"], "ttl": "10s" });
    let cookies = json!({ "bypass": ["session*"], "strip": ["_ga*", "utm_source"], "set_cookie": "refuse" });
    let site = json!({
        "name": "shop",
        "hosts": ["shop.example.com", "*.img.example.com"],
        "regions": ["north"],
        "origin": {
            "urls": ["https://a.example.net", "https://b.example.net:8443"],
            "host_header": "shop.example.com",
            "server_name": "a.example.net",
            "servers": [{ "url": "https://a.example.net", "weight": 2, "group": 0, "host_header": "shop.example.com", "server_name": "a.example.net" }],
            "health": { "path": "/healthz" },
            "ca": CA,
            "client_certificate": CLIENT,
            "client_key": "redacted:6f0c2f4f5f3ab1d2",
            "total_timeout": "10m",
        },
        "shields": { "names": ["shield-1", "shield-2"], "regions": ["north"] },
        "cache": {
            "ttls": ttls, "negative": negative, "object_max": "10MiB", "cookies": cookies, "key": key,
            "rules": [{
                "match": { "path": "/api/*", "host": "shop.example.com", "header": "x-preview", "cookie": "session*" },
                "bypass": false, "ttl": "1s", "stale_while_revalidate": "10s", "stale_if_error": "1h", "ttls": ttls, "negative": negative,
                "object_max": "10MiB", "cookies": cookies, "request_directives": "obey", "key": key,
            }],
        },
        "rate_limits": [{ "path": "/api/*", "by": "header:x-api-key", "requests": 100, "period": "1m", "burst": 20 }],
        "forwarding": { "trust": ["10.0.0.0/8", "2001:db8::/32"] },
    });
    let opening = "Every field of a site.";
    let live = ["origin.urls", "cache.rules", "cache.rules.match.path", "cache.rules.ttl"];
    example("site-reference.toml", &Kind::of::<Site>("Site"), &site, &live, opening);

    let link = json!({ "address": "control.example.net:8401", "join_token": "skj1.TOKEN" });
    let certificate = json!({ "cert": "/etc/skerry/tls/example.com.pem", "key": "/etc/skerry/tls/example.com.key" });
    let edge = json!({
        "role": "edge", "name": "north-1", "data": "/var/lib/skerry/north-1", "control": link, "public_addresses": ["192.0.2.1"],
        "listen": { "http": ["0.0.0.0:80"], "https": ["0.0.0.0:443"], "h3": ["0.0.0.0:443"], "admin": "127.0.0.1:9101",
            "proxied": [{ "address": "10.0.0.5:8080", "tls": false, "from": ["10.0.0.0/24"] }] },
        "tls": { "certificates": [certificate], "issuer": certificate },
        "geo": { "database": "/var/lib/skerry/country.mmdb" },
        "disk": { "path": "/var/cache/skerry", "size": "100GiB", "second_hit_above": "64MiB" }, "memory_limit": "4GiB",
        "location": [52.52, 13.41], "capacity": { "bandwidth": "10Gbit" },
    });
    let live = ["listen.http", "listen.https", "listen.h3", "tls.certificates"];
    example("edge-reference.toml", &Kind::of::<Edge>("Edge"), &edge, &live, "Every setting of an edge.");

    let shield = json!({
        "role": "shield", "name": "shield-1", "data": "/var/lib/skerry/shield-1", "control": link, "advertise": "192.0.2.20:8402",
        "listen": { "tier": "0.0.0.0:8402", "admin": "127.0.0.1:9102" },
        "disk": { "path": "/var/cache/skerry", "size": "100GiB", "second_hit_above": "64MiB" }, "memory_limit": "4GiB",
    });
    example("shield-reference.toml", &Kind::of::<Shield>("Shield"), &shield, &["advertise"], "Every setting of a shield.");
}

#[test]
fn the_commented_examples_of_what_answers_dns_are_what_the_doc_comments_say() {
    let link = json!({ "address": "control.example.net:8401", "join_token": "skj1.TOKEN" });
    let dns = json!({
        "role": "dns", "name": "dns-1", "data": "/var/lib/skerry/dns-1", "control": link,
        "listen": { "dns": "0.0.0.0:53", "route": "0.0.0.0:80", "admin": "127.0.0.1:9103" },
    });
    example("dns-reference.toml", &Kind::of::<DnsNode>("DnsNode"), &dns, &[], "Every setting of a DNS node.");

    let control = json!({
        "role": "control", "data": "/var/lib/skerry/control", "names": ["control.example.net"],
        "listen": { "api": "127.0.0.1:8400", "nodes": "0.0.0.0:8401", "dns": "0.0.0.0:53", "route": "0.0.0.0:80" },
        "dns": {
            "zone": "cdn.example.net", "region_order": ["north", "south"],
            "nameservers": [{ "name": "ns1.cdn.example.net", "addresses": ["192.0.2.10"] }],
            "coverage": [{ "region": "north", "node": "north-1", "prefixes": ["198.51.100.0/24", "2001:db8::/32"] }],
            "geo": { "city": "/var/lib/skerry/city.mmdb", "asn": "/var/lib/skerry/asn.mmdb" },
            "records": [{ "name": "cdn.example.net", "type": "CAA", "values": ["0 issue \"ca.example.net\""] }],
            "limits": {},
        },
        "api": { "tls": { "cert": "/etc/skerry/tls/api.pem", "key": "/etc/skerry/tls/api.key" } },
        "webhooks": { "allow": ["10.20.0.0/16"] },
        "purges": {},
    });
    let live = ["names", "dns.nameservers.addresses", "dns.coverage", "dns.coverage.region"];
    example("control-reference.toml", &Kind::of::<Control>("Control"), &control, &live, "Every setting of the control plane.");
}
