//! Bad input, each with the exact words an operator reads.

use std::collections::BTreeSet;

use super::*;
use crate::site::Shields;

const SITE: &str = r#"name = "shop"
hosts = ["shop.example.com"]
origin.urls = ["https://a.example.net"]
"#;
const EDGE: &str = r#"role = "edge"
name = "north-1"
data = "/data"
control = { address = "control.example.net:8401" }
listen = { http = ["127.0.0.1:80"], admin = "127.0.0.1:9101" }
public_addresses = ["192.0.2.1"]
"#;
const SHIELD: &str = r#"role = "shield"
name = "shield-1"
data = "/data"
control = { address = "[2001:db8::1]:8401" }
listen = { tier = "127.0.0.1:8402", admin = "127.0.0.1:9102" }
"#;
const DNS: &str = r#"role = "dns"
name = "dns-1"
data = "/data"
control = { address = "control.example.net:8401" }
listen = { dns = "127.0.0.1:53", admin = "127.0.0.1:9103" }
"#;
const CONTROL: &str = r#"role = "control"
data = "/data"
listen = { api = "127.0.0.1:8400", nodes = "127.0.0.1:8401", dns = "127.0.0.1:53" }
dns = { zone = "cdn.test", nameservers = [{ name = "ns1.cdn.test", addresses = ["192.0.2.53"] }] }
"#;

/// A good text with one line added in front, in place of the line for the same field.
fn with(base: &str, line: &str) -> String {
    let field = |line: &str| line.split(" =").next().unwrap_or_default().to_owned();
    let rest = base.lines().filter(|old| field(old) != field(line));
    [line].into_iter().chain(rest).collect::<Vec<_>>().join("\n")
}

/// What is said of one row's text.
fn says(kind: &str, text: &str) -> String {
    let expanded = text.replace("\\n", "\n");
    let process = |text: &str| process_text(text, Format::Toml, None).err();
    let faults = match kind {
        "site" => site_text(&with(SITE, text), Format::Toml, None).err(),
        "edge" => process(&with(EDGE, text)),
        "shield" => process(&with(SHIELD, text)),
        "control" => process(&with(CONTROL, text)),
        "dns" => process(&with(DNS, text)),
        "settings" => process(&expanded),
        "toml" => site_text(&expanded, Format::Toml, None).err(),
        "yaml" => site_text(&expanded, Format::Yaml, None).err(),
        "json" => site_text(&expanded, Format::Json, None).err(),
        _ => panic!("{kind} is no kind of row"),
    };
    faults.map_or_else(String::new, |faults| faults.to_string())
}

#[test]
fn every_kind_of_bad_input_has_its_words() {
    let table = include_str!("bad_input.txt");
    let mut rows: Vec<(&str, &str, Vec<&str>)> = Vec::new();
    for line in table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_prefix("    ") {
            Some(expected) => rows.last_mut().unwrap().2.push(expected),
            None => {
                let (kind, text) = line.split_once(": ").unwrap();
                rows.push((kind, text, Vec::new()));
            }
        }
    }
    assert!(rows.len() >= 100, "{} rows", rows.len());
    let wrong: Vec<String> = rows
        .iter()
        .map(|(kind, text, expected)| (kind, text, says(kind, text), expected.join("\n")))
        .filter(|(_, _, said, expected)| said.is_empty() || said != expected)
        .map(|(kind, text, said, expected)| format!("{kind}: {text}\n  expected:\n{expected}\n  said:\n{said}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn the_good_texts_of_the_table_are_good() {
    assert!(site_text(SITE, Format::Toml, None).is_ok());
    for text in [EDGE, SHIELD, CONTROL, DNS] {
        assert_eq!(process_text(text, Format::Toml, None).map(drop), Ok(()));
    }
}

#[test]
fn every_example_passes_and_the_shops_are_one() {
    let directory = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples"));
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(file(&path).map(drop).map_err(|faults| faults.to_string()), Ok(()));
    }
    let shop = site_file(&directory.join("shop.toml")).unwrap();
    assert_eq!(shop, site_file(&directory.join("shop.yaml")).unwrap());
    assert_eq!(shop, site_file(&directory.join("shop.json")).unwrap());
}

/// The TOML in a page for operators; what is no whole file is the part of a site that comes after its name and hosts, or after
/// its origin, or of the settings of an edge.
#[test]
fn what_the_pages_for_operators_show_is_right() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let mut shown = 0;
    for page in [
        "README.md",
        "docs/operating/quickstart.md",
        "docs/operating/caching.md",
        "docs/operating/dns.md",
        "docs/operating/front-door.md",
        "docs/operating/origins.md",
    ] {
        let text = std::fs::read_to_string(root.join(page)).unwrap();
        for block in text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()) {
            shown += 1;
            let has = |field: &str| block.lines().any(|line| line.starts_with(field) && line[field.len()..].trim_start().starts_with('='));
            let faults = if has("role") || block.contains("[listen]") {
                process_text(block, Format::Toml, None).err()
            } else if block.starts_with("# In the settings of an edge") {
                process_text(&format!("{EDGE}{block}"), Format::Toml, None).err()
            } else {
                let named = SITE.split("origin.").next().unwrap();
                let whole = match block {
                    _ if has("name") => block.to_owned(),
                    _ if block.starts_with("[origin]") => format!("{named}{block}"),
                    _ => format!("{SITE}{block}"),
                };
                site_text(&whole, Format::Toml, None).err()
            };
            assert_eq!(faults.map(|faults| faults.to_string()), None, "{page}:\n{block}");
        }
    }
    assert!(shown >= 7, "{shown} snippets");
}

#[test]
fn a_file_that_cannot_be_read_is_one_fault() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("latin.toml"), b"name = \"b\xfccher\"").unwrap();
    std::fs::write(path("large.yaml"), vec![b' '; FILE_BYTES_MAX + 1]).unwrap();
    std::fs::write(path("site.ini"), "").unwrap();
    std::fs::create_dir(path("dir.json")).unwrap();
    for (name, expected) in [
        ("latin.toml", "byte 10 is not UTF-8; save the file as UTF-8"),
        ("large.yaml", "the file is larger than 1048576 bytes; nothing an operator writes is"),
        ("site.ini", "the name does not tell the format; let it end in .toml, .yaml, .yml or .json"),
        ("dir.json", "this is a directory; name a file in it"),
        ("none.json", "there is no such file"),
    ] {
        assert_eq!(file(&path(name)).unwrap_err().to_string(), format!("{}: {expected}", path(name).display()));
    }
}

#[test]
fn a_fault_is_told_with_its_file_and_as_json() {
    let faults = site_text(&with(SITE, "cache.default_ttl = 3"), Format::Toml, Some(Path::new("shop.toml"))).unwrap_err();
    let detail = "3 is a number, not a duration; write a whole number and a unit in quotes, such as \"30s\"";
    assert_eq!(faults.to_string(), format!("shop.toml:1:21: cache.default_ttl: {detail}"));
    let json = serde_json::json!([{ "file": "shop.toml", "path": "cache.default_ttl", "line": 1, "column": 21, "detail": detail }]);
    assert_eq!(serde_json::to_value(&faults).unwrap(), json);
}

#[test]
fn faults_are_bounded_and_the_rest_is_counted() {
    let hosts = vec!["\"_\""; 250].join(", ");
    let faults = site_text(&with(SITE, &format!("hosts = [{hosts}]")), Format::Toml, None).unwrap_err();
    assert_eq!(faults.0.len(), crate::limits::FAULTS_MAX + 1);
    assert_eq!(faults.0.last().unwrap().says, "150 more faults are not listed; mend these first");
}

#[test]
fn too_many_of_anything_is_a_fault() {
    let hosts = |count: usize| format!("hosts = [{}]", (0..count).map(|n| format!("\"h{n}\"")).collect::<Vec<_>>().join(", "));
    assert_eq!(says("site", &hosts(256)), "");
    assert_eq!(says("site", &hosts(257)), "1:9: hosts: 257 hosts; a site has at most 256");
    let rules = |count: usize| format!("cache.rules = [{}]", vec!["{ match = { path = \"/a\" } }"; count].join(", "));
    assert_eq!(says("site", &rules(256)), "");
    assert_eq!(says("site", &rules(257)), "1:15: cache.rules: 257 rules; a site has at most 256");
    let urls = (0..17).map(|n| format!("\"http://h{n}\"")).collect::<Vec<_>>().join(", ");
    assert_eq!(says("site", &format!("origin.urls = [{urls}]")), "1:15: origin.urls: 17 origins; a site has at most 16");
    let ttls = |count: usize| format!("cache.ttls = [{}]", vec!["{ status = [404], ttl = \"1s\" }"; count].join(", "));
    assert_eq!(says("site", &ttls(64)), "");
    assert_eq!(says("site", &ttls(65)), "1:14: cache.ttls: 65 lifetimes; write at most 64");
    let names = |count: usize| (0..count).map(|n| format!("\"c{n}\"")).collect::<Vec<_>>().join(", ");
    assert_eq!(says("site", &format!("cache.cookies.strip = [{}]", names(64))), "");
    let many = format!("cache.cookies.strip = [{}]", names(65));
    assert_eq!(says("site", &many), "1:23: cache.cookies.strip: 65 cookies; write at most 64");
    let long = format!("cache.cookies.bypass = [\"{}\"]", "a".repeat(257));
    assert!(says("site", &long).ends_with(" is longer than 256 bytes"), "{}", says("site", &long));
    assert_eq!(says("site", &format!("cache.key.cookies = [{}]", names(16))), "");
    assert_eq!(says("site", &format!("cache.key.cookies = [{}]", names(17))), "1:21: cache.key.cookies: 17 cookies; a key has at most 16");
}

#[test]
fn what_is_allowed_is_allowed() {
    for good in [
        "origin.breaker = { errors = 0, retry_after_max = \"0s\" }",
        "origin.retries = { percent = 0, floor = 0 }",
        "origin.ejection = { errors = 0, percent = 0 }",
        "origin.limits = { queue = 0 }",
        "cache.hit_for_miss = \"0s\"",
        "cache.key.headers = [\"x-forwarded-host\", \"forwarded\"]",
        "cache = { key.headers = [\"x-original-url\"], rules = [{ match.header = \"x-original-url\", ttl = \"1s\" }] }",
        "cache = { cookies.strip = [\"*\"], rules = [{ match.cookie = \"session*\", bypass = true }] }",
        "cache = { cookies.strip = [\"_ga*\"], key.cookies = [\"lang\"], rules = [{ match.cookie = \"*\", cookies = {}, ttl = \"1s\" }] }",
        "cache.rules = [{ match.header = \"authorization\", bypass = true }, { ttl = \"1s\", negative = {}, ttls = [] }]",
        "cache.ttls = [{ status = [301, \"4xx\"], content_type = [\"image/svg+xml\", \"font/*\"], ttl = \"0s\" }]",
    ] {
        assert_eq!(says("site", good), "", "{good}");
    }
}

#[test]
fn names_come_out_as_they_are_compared() {
    let site = site_text(&with(SITE, "hosts = [\"SHOP.Example.com\"]"), Format::Toml, None).unwrap();
    assert_eq!(site.hosts, ["shop.example.com"]);
    let keyed = "cache = { key.host = \"SHOP.example.com\", rules = [{ match.path = \"/a\", key.host = \"Shop.Example.COM\" }] }";
    let site = site_text(&with(SITE, keyed), Format::Toml, None).unwrap();
    let of_rule = site.cache.rules[0].key.as_ref().and_then(|key| key.host.as_deref());
    assert_eq!((site.cache.key.host.as_deref(), of_rule), (Some("shop.example.com"), Some("shop.example.com")));
    let dns = "dns = { zone = \"CDN.test.\", nameservers = [{ name = \"NS1.cdn.test.\", addresses = [\"192.0.2.53\"] }] }";
    let Process::Control(control) = process_text(&with(CONTROL, dns), Format::Toml, None).unwrap() else { panic!("another role") };
    assert_eq!((control.dns.zone.as_str(), control.dns.nameservers[0].name.as_str()), ("cdn.test", "ns1.cdn.test"));
}

#[test]
fn a_file_tells_by_itself_what_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let checked = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        file(&path).map_err(|faults| faults.0[0].says.clone())
    };
    assert!(matches!(checked("site.toml", SITE), Ok(Checked::Site(_))));
    assert!(matches!(checked("edge.toml", EDGE), Ok(Checked::Process(_))));
    let roleless = EDGE.replace("role = \"edge\"\n", "");
    assert_eq!(checked("edge.toml", &roleless), Err("missing; write \"control\", \"shield\", \"edge\" or \"dns\"".to_owned()));
}

#[test]
fn a_document_is_checked_as_a_whole() {
    let site = |name: &str, host: &str| {
        let text = with(&with(SITE, &format!("name = \"{name}\"")), &format!("hosts = [\"{host}\"]"));
        site_text(&text, Format::Toml, None).unwrap()
    };
    let shield = |name: &str, address: &str| crate::snapshot::Shield {
        name: name.to_owned(),
        region: "north".to_owned(),
        address: address.parse().unwrap(),
    };
    let good = Document {
        version: 1,
        sites: vec![site("a", "a.example.com"), site("b", "*.example.com"), site("c", "*")],
        shields: vec![shield("s1", "192.0.2.1:1")],
        ..Document::default()
    };
    assert_eq!(document(&good), Ok(()));
    let bad = Document {
        version: 1,
        sites: vec![site("a", "*"), site("a", "*")],
        shields: vec![shield("s1", "192.0.2.1:1"), shield("s1", "0.0.0.0:1")],
        ..Document::default()
    };
    assert_eq!(
        document(&bad).unwrap_err().to_string(),
        "sites[1].name: \"a\" is sites[0] already; a name belongs to one site\n\
         sites[1].hosts[0]: \"*\" of site \"a\" belongs to site \"a\" already; a host belongs to one site\n\
         shields[1].name: \"s1\" is shields[0] already; a name belongs to one node\n\
         shields[1].address: \"0.0.0.0:1\" cannot be connected to; write the address and port of its tier listener"
    );
    let mut asking = site("a", "a.example.com");
    asking.shields.names = vec!["s1".to_owned(), "s2".to_owned(), "s3".to_owned()];
    let no_edge = BTreeSet::new();
    let said = |known: &[(&str, &str)]| site_among(&asking, known, &no_edge).map_err(|faults| faults.to_string());
    assert_eq!(said(&[("s1", "north"), ("s2", "south"), ("s3", "south")]), Ok(()));
    assert_eq!(
        said(&[("s1", "north"), ("t", "south")]).unwrap_err(),
        "shields.names[1]: no shield is called \"s2\"; join it first, or write s1, t\n\
         shields.names[2]: no shield is called \"s3\"; join it first, or write s1, t"
    );
    asking.shields = Shields { regions: vec!["west".to_owned()], ..Shields::default() };
    let said = |known: &[(&str, &str)]| site_among(&asking, known, &no_edge).map_err(|faults| faults.to_string());
    assert_eq!(said(&[]).unwrap_err(), "shields.regions[0]: no shield is in region \"west\"; no shield has joined yet, so join one first");
    let known: Vec<String> = (0..20).map(|number| format!("region-{number:02}")).collect();
    let known: Vec<(&str, &str)> = known.iter().map(|region| ("s", region.as_str())).collect();
    assert!(said(&known).unwrap_err().ends_with("region-06, region-07 or another"));
    let fenced = Site { regions: vec!["eu-1".to_owned(), "eu-9".to_owned()], ..site("a", "a") };
    let said = |regions: &[&str]| site_among(&fenced, &[], &regions.iter().copied().collect()).map_err(|faults| faults.to_string());
    assert_eq!(said(&["eu-1", "eu-9", "us-1"]), Ok(()));
    assert_eq!(said(&["eu-1", "us-1"]).unwrap_err(), "regions[1]: no edge is in region \"eu-9\"; join it first, or write eu-1, us-1");
    let many = Document { sites: vec![site("a", "a"); SITES_MAX + 1], ..Document::default() };
    assert_eq!(document(&many).unwrap_err().0[0].says, "10001 sites; a configuration has at most 10000");
}
