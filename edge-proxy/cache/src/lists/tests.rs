//! Tables, by section of the RFC.

use super::{Quotes, entity_tags, members, split};

fn texts<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Vec<&'a str> {
    parts.map(|part| std::str::from_utf8(part).unwrap()).collect()
}

#[test]
fn rfc9110_5_6_1_lists() {
    for (line, expected) in [
        ("", vec![]),
        (" , ,", vec![]),
        ("a", vec!["a"]),
        ("a ,\tb", vec!["a", "b"]),
        ("a=\"b,c\",d", vec!["a=\"b,c\"", "d"]),
        ("a=\"b\\\",c\",d", vec!["a=\"b\\\",c\"", "d"]),
        ("a=\"b,c", vec!["a=\"b", "c"]),
        ("\"a\",\"b,c", vec!["\"a\"", "\"b", "c"]),
        ("\"a\\", vec!["\"a\\"]),
    ] {
        assert_eq!(texts(members(line.as_bytes())), expected, "{line}");
    }
}

#[test]
fn rfc9110_8_8_3_a_backslash_in_an_entity_tag_hides_nothing() {
    assert_eq!(texts(entity_tags(b"\"a\\\", \"b\"")), ["\"a\\\"", "\"b\""]);
    assert_eq!(texts(entity_tags(b"W/\"a,b\",*")), ["W/\"a,b\"", "*"]);
}

#[test]
fn a_line_of_quotes_is_read_in_one_go() {
    let line = "\"\\".repeat(100_000);
    assert_eq!(split(line.as_bytes(), b',', Quotes::Escaped).count(), 1);
}
