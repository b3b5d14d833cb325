//! The metrics of a node as text, cut to what fits into an answer.

use prometheus::{Registry, TextEncoder};
use serde_json::{Value, json};

use crate::wire::ANSWER_BYTES_MAX;

/// Room of an answer for what is around the text, in bytes.
const ANSWER_REST_BYTES: usize = 1_024;

/// The metrics whose names begin with one of `names`, all where there are none; whole lines, as many as an answer has room for.
///
/// # Errors
/// One sentence, when they cannot be written.
pub fn metrics(registry: &Registry, names: &[String]) -> Result<Value, String> {
    let families =
        registry.gather().into_iter().filter(|family| names.is_empty() || names.iter().any(|name| family.name().starts_with(&**name)));
    let whole = TextEncoder::new().encode_to_string(&families.collect::<Vec<_>>()).map_err(|error| format!("no metrics: {error}"))?;
    let mut rest = ANSWER_BYTES_MAX - ANSWER_REST_BYTES;
    let mut end = 0;
    for line in whole.split_inclusive('\n') {
        // As many bytes as it has in JSON.
        let bytes: usize = line.bytes().map(|byte| if matches!(byte, b'"' | b'\\' | b'\n') { 2 } else { 1 }).sum();
        if bytes > rest {
            break;
        }
        rest -= bytes;
        end += line.len();
    }
    Ok(json!({ "text": &whole[..end], "cut": end < whole.len() }))
}

#[cfg(test)]
mod tests {
    use prometheus::{IntCounterVec, Opts};

    use super::*;

    #[test]
    fn the_text_has_the_metrics_asked_for_and_ends_with_a_whole_line_within_the_bound() {
        let registry = Registry::new();
        for name in ["skerry_a_total", "skerry_b_total"] {
            let counter = IntCounterVec::new(Opts::new(name, "Help."), &["label"]).unwrap();
            registry.register(Box::new(counter.clone())).unwrap();
            (0..2_000).for_each(|number| counter.with_label_values(&[format!("\"{number}\\")]).inc());
        }
        let all = metrics(&registry, &[]).unwrap();
        assert_eq!(all["cut"], true);
        assert!(all.to_string().len() <= ANSWER_BYTES_MAX, "{}", all.to_string().len());
        assert!(all["text"].as_str().unwrap().ends_with(" 1\n"));
        let one = metrics(&registry, &["skerry_b".to_owned(), "nothing".to_owned()]).unwrap();
        assert!(one["text"].as_str().unwrap().starts_with("# HELP skerry_b_total"), "{one}");
        assert_eq!(metrics(&registry, &["nothing".to_owned()]).unwrap(), json!({"text": "", "cut": false}));
    }
}
