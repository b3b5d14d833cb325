//! The readers, serde's derives and the JSON Schema say the same, and no text is too much for them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::*;
use crate::process::*;
use crate::secret::Secret;
use crate::site::*;
use crate::status::StatusPattern;
use crate::units::{BitRate, Period, Size};

/// The properties of every table of the schema of `T`, by the name of its type; those required in the second set.
type Tables = BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)>;

fn tables<T: schemars::JsonSchema>(found: &mut Tables) {
    let schema = schemars::schema_for!(T).to_value();
    let mut take = |name: &str, schema: &Value| {
        let Some(properties) = schema["properties"].as_object() else { return };
        assert_eq!(schema["additionalProperties"], false, "{name} lets unknown fields pass");
        let required = schema["required"].as_array().into_iter().flatten().map(|name| name.as_str().unwrap().to_owned());
        found.insert(name.to_owned(), (properties.keys().cloned().collect(), required.collect()));
    };
    take(&T::schema_name(), &schema);
    for (name, each) in schema["$defs"].as_object().into_iter().flatten() {
        take(name, each);
    }
}

fn agrees<T: Typed>(tables: &mut Tables, name: &str) {
    let (properties, required) = tables.remove(name).unwrap();
    assert_eq!(T::FIELDS.iter().map(|&field| field.to_owned()).collect::<BTreeSet<_>>(), properties, "fields of {name}");
    let mut reader = Reader::default();
    T::read(&Node { at: 0, kind: Kind::Table(Vec::new()) }, "", &mut reader);
    assert_eq!(reader.findings.into_iter().map(|finding| finding.path).collect::<BTreeSet<_>>(), required, "required of {name}");
}

#[test]
fn the_readers_know_the_fields_of_the_schema_and_no_other() {
    let mut site = Tables::new();
    tables::<Site>(&mut site);
    agrees::<Site>(&mut site, "Site");
    agrees::<Origin>(&mut site, "Origin");
    agrees::<OriginLimits>(&mut site, "OriginLimits");
    agrees::<OriginServer>(&mut site, "OriginServer");
    agrees::<Health>(&mut site, "Health");
    agrees::<Breaker>(&mut site, "Breaker");
    agrees::<Retries>(&mut site, "Retries");
    agrees::<Ejection>(&mut site, "Ejection");
    agrees::<Cache>(&mut site, "Cache");
    agrees::<AnswerTtl>(&mut site, "AnswerTtl");
    agrees::<Negative>(&mut site, "Negative");
    agrees::<Cookies>(&mut site, "Cookies");
    agrees::<Rule>(&mut site, "Rule");
    agrees::<Match>(&mut site, "Match");
    agrees::<Key>(&mut site, "Key");
    agrees::<Query>(&mut site, "Query");
    agrees::<Pass>(&mut site, "Pass");
    agrees::<RateLimit>(&mut site, "RateLimit");
    agrees::<Forwarding>(&mut site, "Forwarding");
    agrees::<Shields>(&mut site, "Shields");
    agrees::<Route>(&mut site, "Route");
    assert!(site.is_empty(), "no reader is compared with {:?}", site.keys());

    let mut process = Tables::new();
    tables::<Control>(&mut process);
    tables::<Shield>(&mut process);
    tables::<Edge>(&mut process);
    tables::<DnsNode>(&mut process);
    agrees::<DnsNode>(&mut process, "DnsNode");
    agrees::<DnsNodeListen>(&mut process, "DnsNodeListen");
    agrees::<Control>(&mut process, "Control");
    agrees::<ControlListen>(&mut process, "ControlListen");
    agrees::<ControlApi>(&mut process, "ControlApi");
    agrees::<ApiTls>(&mut process, "ApiTls");
    agrees::<Webhooks>(&mut process, "Webhooks");
    agrees::<Dns>(&mut process, "Dns");
    agrees::<DnsRecord>(&mut process, "DnsRecord");
    agrees::<DnsLimits>(&mut process, "DnsLimits");
    agrees::<DnsGeo>(&mut process, "DnsGeo");
    agrees::<Rollout>(&mut process, "Rollout");
    agrees::<Purges>(&mut process, "Purges");
    agrees::<Nameserver>(&mut process, "Nameserver");
    agrees::<Coverage>(&mut process, "Coverage");
    agrees::<Edge>(&mut process, "Edge");
    agrees::<EdgeListen>(&mut process, "EdgeListen");
    agrees::<Shield>(&mut process, "Shield");
    agrees::<ShieldListen>(&mut process, "ShieldListen");
    agrees::<ControlLink>(&mut process, "ControlLink");
    agrees::<Memory>(&mut process, "Memory");
    agrees::<Disk>(&mut process, "Disk");
    agrees::<Limits>(&mut process, "Limits");
    agrees::<Origins>(&mut process, "Origins");
    agrees::<Proxied>(&mut process, "Proxied");
    agrees::<Geo>(&mut process, "Geo");
    agrees::<Tls>(&mut process, "Tls");
    agrees::<Certificate>(&mut process, "Certificate");
    agrees::<Certificates>(&mut process, "Certificates");
    agrees::<Alarm>(&mut process, "Alarm");
    agrees::<Measuring>(&mut process, "Measuring");
    agrees::<Capacity>(&mut process, "Capacity");
    assert!(process.is_empty(), "no reader is compared with {:?}", process.keys());
}

/// What a text is read as, or the faults.
fn read<T>(text: &str, format: Format, read: fn(&Node, &mut Reader) -> Option<T>) -> Result<T, String> {
    let tree = tree(text, format).map_err(|findings| format!("{findings:?}"))?;
    let mut reader = Reader::default();
    let value = read(&tree, &mut reader);
    match value {
        Some(value) if reader.findings.is_empty() => Ok(value),
        _ => Err(format!("{:?}", reader.findings)),
    }
}

fn read_site(node: &Node, reader: &mut Reader) -> Option<Site> {
    Some(Site::read(node, "", reader))
}

#[test]
fn the_examples_mean_to_the_readers_what_they_mean_to_serde() {
    fn both<T: DeserializeOwned + PartialEq + std::fmt::Debug>(text: &str, by: fn(&Node, &mut Reader) -> Option<T>) {
        assert_eq!(read(text, Format::Toml, by).unwrap(), toml_of::<T>(text));
    }
    fn toml_of<T: DeserializeOwned>(text: &str) -> T {
        ::toml::from_str(text).unwrap()
    }
    let mut count = 0;
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        count += 1;
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") if text.contains("\nrole = ") => both(&text, read_process),
            Some("toml") => both(&text, read_site),
            Some("json") => {
                assert_eq!(read(&text, Format::Json, read_site).unwrap(), serde_json::from_str::<Site>(&text).unwrap());
            }
            _ => {}
        }
    }
    assert!(count >= 10, "{count} examples");
}

fn period() -> impl Strategy<Value = Period> {
    (0u64..=100_000_000_000).prop_map(|millis| Period(std::time::Duration::from_millis(millis)))
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z*./:-]{0,12}", "\\PC{0,8}", Just("~".to_owned()), Just("\u{1}\t\"\\\n#".to_owned()), Just("0x1f".to_owned())]
}

fn key() -> impl Strategy<Value = Key> {
    let query = (of(vec(text(), 0..3)), of(vec(text(), 0..3)), any::<bool>()).prop_map(|(keep, drop, sort)| Query { keep, drop, sort });
    (any::<[bool; 3]>(), of(text()), of(query), vec(text(), 0..3), vec(text(), 0..3)).prop_map(
        |([scheme, device, country], host, query, headers, cookies)| Key { scheme, host, query, headers, cookies, device, country },
    )
}

fn status() -> impl Strategy<Value = StatusPattern> {
    prop_oneof![(200_u16..600).prop_map(StatusPattern::One), (2_u16..6).prop_map(StatusPattern::Class)]
}

fn ttls() -> impl Strategy<Value = Vec<AnswerTtl>> {
    let ttl =
        (vec(status(), 0..3), vec(text(), 0..3), period()).prop_map(|(status, content_type, ttl)| AnswerTtl { status, content_type, ttl });
    vec(ttl, 0..3)
}

fn negative() -> impl Strategy<Value = Negative> {
    (vec(status(), 0..3), period()).prop_map(|(status, ttl)| Negative { status, ttl })
}

fn cookies() -> impl Strategy<Value = Cookies> {
    (vec(text(), 0..3), vec(text(), 0..3), 0..3_usize).prop_map(|(bypass, strip, set)| {
        let set_cookie = [SetCookie::Refuse, SetCookie::Store, SetCookie::Strip][set];
        Cookies { bypass, strip, set_cookie }
    })
}

fn directives() -> impl Strategy<Value = RequestDirectives> {
    prop_oneof![Just(RequestDirectives::Ignore), Just(RequestDirectives::Obey)]
}

fn rule() -> impl Strategy<Value = Rule> {
    let matches =
        (of(text()), of(text()), of(text()), of(text())).prop_map(|(path, host, header, cookie)| Match { path, host, header, cookie });
    let judged = (of(ttls()), of(negative()), of(any::<u64>().prop_map(Size)), of(cookies()), of(directives()));
    (matches, any::<bool>(), of(period()), of(period()), of(period()), of(key()), judged).prop_map(
        |(matches, bypass, ttl, stale_while_revalidate, stale_if_error, key, judged)| {
            let (ttls, negative, object_max, cookies, request_directives) = judged;
            Rule {
                matches,
                bypass,
                ttl,
                stale_while_revalidate,
                stale_if_error,
                ttls,
                negative,
                object_max,
                cookies,
                request_directives,
                key,
            }
        },
    )
}

/// Everything that is said of how an origin is spared.
type Guarding = (OriginLimits, Breaker, Retries, Ejection);

fn guarding() -> impl Strategy<Value = Guarding> {
    (any::<[u32; 8]>(), period(), period(), period(), period()).prop_map(|(numbers, queue_time, open, retry_after_max, time)| {
        let [concurrent, queue, errors, percent, floor, failing, share, _] = numbers;
        (
            OriginLimits { concurrent, queue, queue_time },
            Breaker { errors, open, retry_after_max },
            Retries { percent, floor },
            Ejection { errors: failing, percent: share, time },
        )
    })
}

fn servers() -> impl Strategy<Value = Vec<OriginServer>> {
    let server = (text(), any::<u32>(), any::<u32>(), of(text()), of(text()));
    vec(
        server.prop_map(|(url, weight, group, host_header, server_name)| OriginServer { url, weight, group, host_header, server_name }),
        0..3,
    )
}

fn health() -> impl Strategy<Value = Health> {
    let status = Just(vec![StatusPattern::One(204), StatusPattern::Class(3)]);
    (text(), period(), period(), status, any::<u32>(), any::<u32>()).prop_map(|(path, interval, timeout, status, rise, fall)| Health {
        path,
        interval,
        timeout,
        status,
        rise,
        fall,
    })
}

fn origin() -> impl Strategy<Value = Origin> {
    let version = prop_oneof![Just(HttpVersion::Auto), Just(HttpVersion::Http1), Just(HttpVersion::Http2)];
    let times = ([period(), period(), period(), period()], of(period()));
    (
        vec(text(), 0..3),
        of(text()),
        of(text()),
        (any::<bool>(), of(text()), version, of((text(), text()))),
        times,
        guarding(),
        (servers(), of(health())),
    )
        .prop_map(
            |(
                urls,
                host_header,
                server_name,
                (verify_tls, ca, http_version, client),
                times,
                (limits, breaker, retries, ejection),
                (servers, health),
            )| {
                let ([connect_timeout, tls_timeout, first_byte_timeout, between_bytes_timeout], total_timeout) = times;
                let (client_certificate, client_key) = client.unzip();
                Origin {
                    urls,
                    servers,
                    health,
                    host_header,
                    server_name,
                    verify_tls,
                    ca,
                    client_certificate,
                    client_key: client_key.map(Secret::new),
                    http_version,
                    connect_timeout,
                    tls_timeout,
                    first_byte_timeout,
                    between_bytes_timeout,
                    total_timeout,
                    limits,
                    breaker,
                    retries,
                    ejection,
                }
            },
        )
}

fn pass() -> impl Strategy<Value = Pass> {
    [period(), period(), period(), period(), period(), period(), period(), period()].prop_map(
        |[
            request_idle_timeout,
            request_timeout,
            websocket_idle_timeout,
            websocket_timeout,
            grpc_idle_timeout,
            grpc_timeout,
            events_idle_timeout,
            events_timeout,
        ]| Pass {
            request_idle_timeout,
            request_timeout,
            websocket_idle_timeout,
            websocket_timeout,
            grpc_idle_timeout,
            grpc_timeout,
            events_idle_timeout,
            events_timeout,
        },
    )
}

fn rate_limit() -> impl Strategy<Value = RateLimit> {
    let by = prop_oneof![Just(RateBy::Address), Just(RateBy::Header(http::HeaderName::from_static("x-api-key")))];
    (of(text()), by, any::<u32>(), period(), of(any::<u32>())).prop_map(|(path, by, requests, period, burst)| RateLimit {
        path,
        by,
        requests,
        period,
        burst,
    })
}

fn shields() -> impl Strategy<Value = Shields> {
    let lead = prop_oneof![Just(Lead::Key), Just(Lead::Auto)];
    let fallback = prop_oneof![Just(Fallback::Origin), Just(Fallback::Fail)];
    (vec(text(), 0..3), vec(text(), 0..3), lead, fallback).prop_map(|(names, regions, lead, fallback)| Shields {
        names,
        regions,
        lead,
        fallback,
    })
}

fn forwarding() -> impl Strategy<Value = Forwarding> {
    let send = prop_oneof![Just(vec![]), Just(vec![ForwardedAs::Forwarded, ForwardedAs::XForwarded])];
    (send, vec(Just("10.0.0.0/8".parse().unwrap()), 0..2)).prop_map(|(send, trust)| Forwarding { send, trust })
}

fn steered() -> impl Strategy<Value = (Vec<String>, Route)> {
    let by = prop_oneof![Just(RouteBy::Latency), Just(RouteBy::Path)];
    let scheme = prop_oneof![Just(RouteScheme::Https), Just(RouteScheme::Http)];
    (vec(text(), 0..3), (by, scheme).prop_map(|(by, scheme)| Route { by, scheme }))
}

fn site() -> impl Strategy<Value = Site> {
    let judged = (ttls(), negative(), of(any::<u64>().prop_map(Size)), cookies(), directives(), any::<[bool; 3]>(), period());
    let cache = (period(), period(), period(), key(), vec(rule(), 0..3), judged).prop_map(
        |(default_ttl, stale_while_revalidate, stale_if_error, key, rules, judged)| {
            let (ttls, negative, object_max, cookies, request_directives, switches, hit_for_miss) = judged;
            let [no_vary_search, deception_guard, show_key] = switches;
            Cache {
                default_ttl,
                stale_while_revalidate,
                stale_if_error,
                ttls,
                negative,
                object_max,
                cookies,
                request_directives,
                no_vary_search,
                deception_guard,
                show_key,
                hit_for_miss,
                key,
                rules,
            }
        },
    );
    (text(), vec(text(), 0..3), origin(), (shields(), cache), (pass(), vec(rate_limit(), 0..3), forwarding()), steered()).prop_map(
        |(name, hosts, origin, (shields, cache), (pass, rate_limits, forwarding), (regions, route))| Site {
            name,
            hosts,
            regions,
            origin,
            shields,
            cache,
            pass,
            rate_limits,
            forwarding,
            route,
        },
    )
}

fn edge() -> impl Strategy<Value = Process> {
    let size = any::<u64>().prop_map(Size);
    let memory =
        (size.clone(), size.clone(), size).prop_map(|(memory, object_max, filling_max)| Memory { memory, object_max, filling_max });
    let certificate = || (text(), text()).prop_map(|(cert, key)| Certificate { cert: cert.into(), key: key.into() });
    let tls = (vec(certificate(), 0..2), of(certificate())).prop_map(|(certificates, issuer)| Tls { certificates, issuer });
    let proxied = |address: &std::net::SocketAddrV4| Proxied {
        address: (*address).into(),
        tls: address.port().is_multiple_of(2),
        from: vec![std::net::IpAddr::from(*address.ip()).into()],
    };
    let listen = (vec(any::<std::net::SocketAddrV4>(), 0..2), any::<std::net::SocketAddrV4>()).prop_map(move |(http, admin)| EdgeListen {
        https: http.iter().map(|&address| address.into()).collect(),
        h3: http.iter().map(|&address| address.into()).collect(),
        proxied: http.iter().map(proxied).collect(),
        http: http.into_iter().map(Into::into).collect(),
        admin: admin.into(),
    });
    let limits = (any::<u32>(), any::<u64>()).prop_map(|(streams, head)| Limits { streams, head: Size(head), ..Limits::default() });
    let link = (text(), of(text())).prop_map(|(address, join_token)| ControlLink { address, join_token });
    let geo = of(text()).prop_map(|path| Geo { database: path.map(Into::into) });
    let sizes = (any::<u64>(), any::<u64>(), any::<u64>(), of(any::<u64>().prop_map(Size)));
    let disk = (text(), sizes).prop_map(|(path, (size, slice, second, above))| Disk {
        path: path.into(),
        size: Size(size),
        slice: Size(slice),
        second_hit_below: Size(second),
        second_hit_above: above,
    });
    let origins = (vec(any::<std::net::IpAddr>(), 0..3), vec(any::<std::net::SocketAddrV4>(), 0..2)).prop_map(|(allow, resolvers)| {
        Origins { allow: allow.into_iter().map(Into::into).collect(), resolvers: resolvers.into_iter().map(Into::into).collect() }
    });
    let memory = (memory, of(disk), of(any::<u64>().prop_map(Size)));
    let degrees = |most: i32| (-most * 100..=most * 100).prop_map(|hundredths| f64::from(hundredths) / 100.0);
    let location = of((degrees(90), degrees(180)).prop_map(|(latitude, longitude)| Location { latitude, longitude }));
    let measuring = (period(), any::<bool>()).prop_map(|(keep, beacon)| Measuring { keep, beacon });
    let capacity = of(any::<u64>().prop_map(BitRate)).prop_map(|bandwidth| Capacity { bandwidth });
    let clients = (vec(any::<std::net::IpAddr>(), 0..3), location, measuring, capacity);
    (text(), text(), link, listen, clients, memory, tls, geo, (limits, origins)).prop_map(
        |(name, data, control, listen, clients, (cache, disk, memory_limit), tls, geo, (limits, origins))| {
            let (data, (public_addresses, location, measuring, capacity)) = (data.into(), clients);
            Process::Edge(Edge {
                name,
                data,
                control,
                listen,
                public_addresses,
                location,
                cache,
                disk,
                memory_limit,
                tls,
                geo,
                limits,
                origins,
                measuring,
                capacity,
            })
        },
    )
}

proptest! {
    #[test]
    fn a_site_written_by_serde_is_read_as_itself(site in site()) {
        let json = serde_json::to_string(&site).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Site>(&json).unwrap(), &site);
        prop_assert_eq!(read(&json, Format::Json, read_site), Ok(site.clone()));
        prop_assert_eq!(read(&serde_json::to_string_pretty(&site).unwrap(), Format::Json, read_site), Ok(site.clone()));
        prop_assert_eq!(read(&::toml::to_string(&site).unwrap(), Format::Toml, read_site), Ok(site.clone()));
        // YAML is a superset of JSON, but for the limit on the length of a key.
        prop_assert_eq!(read(&json, Format::Yaml, read_site), Ok(site.clone()));
    }

    #[test]
    fn a_typed_site_and_its_text_have_the_same_faults(site in site()) {
        let typed = crate::check::site(&site).map_err(|faults| faults.0.into_iter().map(|fault| (fault.path, fault.says)).collect::<BTreeSet<_>>());
        let text = crate::check::site_text(&serde_json::to_string(&site).unwrap(), Format::Json, None);
        let text = text.map(drop).map_err(|faults| faults.0.into_iter().map(|fault| (fault.path, fault.says)).collect::<BTreeSet<_>>());
        prop_assert_eq!(typed, text);
    }

    #[test]
    fn settings_written_by_serde_are_read_as_themselves(process in edge()) {
        let json = serde_json::to_string(&process).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Process>(&json).unwrap(), &process);
        prop_assert_eq!(read(&json, Format::Json, read_process), Ok(process.clone()));
        prop_assert_eq!(read(&::toml::to_string(&process).unwrap(), Format::Toml, read_process), Ok(process.clone()));
    }

    #[test]
    fn json_is_read_where_serde_json_reads_it(text in "[\\[\\]{}:,\"a0-9.eE+\\-\\\\un tfl]{0,12}") {
        let ours = tree(&text, Format::Json);
        let theirs = serde_json::from_str::<Value>(&text);
        // serde_json takes a key twice; and a number beyond the range of a float ends it, so that it does not say what it makes of the rest.
        let beyond = theirs.as_ref().is_err_and(|error| error.to_string().starts_with("number out of range"));
        let twice = ours.as_ref().is_err_and(|findings| findings[0].says.contains("is there twice"));
        prop_assert!(twice || beyond || ours.is_ok() == theirs.is_ok(), "{:?} {:?}", text, ours);
    }

    #[test]
    fn no_text_makes_a_reader_panic(text in "[\\PC\n\t]{0,40}", line in "(name|hosts|\\[origin\\]|- |: |= |\\{|\\}|\\[|\\]|&a |\\*a|\n|\"|'|x){0,30}") {
        for format in [Format::Toml, Format::Yaml, Format::Json] {
            for text in [&text, &line] {
                drop(crate::check::site_text(text, format, None).map_err(|faults| faults.to_string()));
                drop(crate::check::process_text(text, format, None).map_err(|faults| faults.to_string()));
            }
        }
    }
}

/// The first thing said of a text.
fn first(text: &str, format: Format) -> String {
    tree(text, format).unwrap_err()[0].says.clone()
}

#[test]
fn depth_is_bounded_in_every_format() {
    let deep = "tables and lists are nested more than 32 deep; nothing here needs that";
    for levels in [33, 60, 100_000] {
        assert_eq!(first(&format!("a={}{}", "[".repeat(levels), "]".repeat(levels)), Format::Toml), deep);
        assert_eq!(first(&format!("{}a=1", "a.".repeat(levels)), Format::Toml), deep);
        assert_eq!(first(&format!("[{}a]", "a.".repeat(levels)), Format::Toml), deep);
        assert_eq!(first(&"[".repeat(levels), Format::Json), deep);
        assert_eq!(first(&"{\"a\":".repeat(levels), Format::Json), deep);
        assert_eq!(first(&"- ".repeat(levels), Format::Yaml), deep);
    }
    assert_eq!(first(&format!("{}{}", "[".repeat(60), "]".repeat(60)), Format::Yaml), deep);
    let fits = format!("{}{}", "[".repeat(32), "]".repeat(32));
    assert!(tree(&fits, Format::Json).is_ok() && tree(&fits, Format::Yaml).is_ok());
}

#[test]
fn aliases_do_not_explode() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let list = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{list}]\n"));
    }
    assert!(first(&bomb, Format::Yaml).contains("of this file stand for more than 8388608 bytes"));
    let long = format!("a: &a \"{}\"\nb: [{}]", "x".repeat(500_000), "*a, ".repeat(1_000));
    assert!(first(&long, Format::Yaml).contains("of this file stand for more than 8388608 bytes"));
    let nested = format!("a: &a {}{}\nb: {}*a{}", "[".repeat(20), "]".repeat(20), "[".repeat(20), "]".repeat(20));
    assert!(first(&nested, Format::Yaml).contains("more than 32 deep"));
}

#[test]
fn size_and_keys_are_bounded() {
    let long = " ".repeat(FILE_BYTES_MAX + 1);
    assert_eq!(first(&long, Format::Json), "the text is 1048577 bytes long; at most 1048576 are read");
    let keys: Vec<String> = (0..300).map(|key| format!("\"k{key}\": 1")).collect();
    assert_eq!(first(&format!("{{{}}}", keys.join(", ")), Format::Json), "a table has more than 256 keys; nothing here needs that");
    assert_eq!(first(&keys.join("\n"), Format::Yaml), "a table has more than 256 keys; nothing here needs that");
}

#[test]
fn a_byte_order_mark_moves_no_place() {
    let text = "\u{feff}name = 1";
    let node = tree(text, Format::Toml).unwrap();
    assert_eq!(&text[node.get("name").unwrap().value.at..], "1");
}
