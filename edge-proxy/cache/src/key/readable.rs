//! Keys for people to read: `https://shop.example/list?page=2 accept-language=de`.

use super::{ABSENT, HEAD, Key, SEARCH, UNDER, VARIANT};

impl Key {
    /// The key as one line: scheme, host, path and query as a URL, then what else tells answers apart as `name=value`. A part that does not
    /// count is left out; the parts of a variant are not shown.
    #[must_use]
    pub fn readable(&self) -> String {
        let mut parts = Parts(&self.text);
        // The site, which is told beside it.
        let _ = parts.next();
        let (scheme, host) = (parts.next().flatten(), parts.next().flatten());
        let (path, query) = (parts.next().flatten(), parts.next().flatten());
        let mut line = scheme.map_or_else(String::new, |scheme| format!("{}://", shown(scheme)));
        line.extend([host, path].into_iter().flatten().map(shown));
        line.extend(query.map(|query| format!("?{}", shown(query))));
        let mut group: Vec<String> = Vec::new();
        for part in parts {
            match part {
                Some(part) => group.push(shown(part)),
                None => {
                    let mut members = group.drain(..);
                    let name = members.next().unwrap_or_default();
                    let values: Vec<String> = members.collect();
                    line.push_str(&if values.is_empty() { format!(" {name}") } else { format!(" {name}={}", values.join(",")) });
                }
            }
        }
        line.extend(group.drain(..).map(|part| format!(" {part}")));
        line
    }
}

/// The parts before those of a variant; `None` for one that is absent.
struct Parts<'a>(&'a [u8]);

impl<'a> Iterator for Parts<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        if [VARIANT, HEAD, SEARCH, UNDER].contains(&length.as_slice()) {
            return None;
        }
        if length == ABSENT {
            self.0 = rest;
            return Some(None);
        }
        let (part, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        self.0 = rest;
        Some(Some(part))
    }
}

fn shown(part: &[u8]) -> String {
    String::from_utf8_lossy(part).into_owned()
}

#[cfg(test)]
mod tests {
    use skerry_config::site::{Key as Rules, Query};

    use crate::exchange::tests::house::{get_with, keyed_by};

    #[test]
    fn a_key_reads_as_what_it_is_made_of() {
        let rules = Rules {
            query: Some(Query { keep: Some(vec!["page".to_owned()]), ..Query::default() }),
            headers: vec!["x-lang".to_owned(), "x-none".to_owned()],
            ..Rules::default()
        };
        let request = get_with("/list?utm=1&page=2", &[("x-lang", "de"), ("x-lang", "fr")]);
        let key = keyed_by(&request, &rules);
        assert_eq!(key.readable(), "https://shop.example/list?page=2 x-lang=de,fr x-none");
        assert_eq!(key.variant([None]).readable(), key.readable());
        assert_eq!(keyed_by(&get_with("/", &[]), &Rules::default()).readable(), "https://shop.example/");
    }
}
