//! Bad input, each with the exact words an operator reads.

use super::*;

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
    for text in [EDGE, SHIELD, CONTROL] {
        assert_eq!(process_text(text, Format::Toml, None).map(drop), Ok(()));
    }
}
