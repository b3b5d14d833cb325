//! What the control plane can ask a node about itself. A question changes nothing.

use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Duties;
use crate::wire::{ANSWER_BYTES_MAX, Answered, Ask, answered};

/// A question, by its kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// What is stored for a request, and what the next one would get.
    Explain(Explain),
    /// Its metrics.
    Figures(Figures),
    /// The last requests that it answered with an error or cut off.
    Errors {},
}

/// Which metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// How their names begin; all where there are none.
    pub names: Vec<String>,
}

/// A GET request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explain {
    /// Its URL, absolute.
    pub url: String,
    /// Its header fields, in order.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
}

/// An answer that is being made; one sentence where there is none.
pub type Answer = Pin<Box<dyn Future<Output = Result<Value, String>> + Send>>;

/// Answers a question, if only by saying that there is no answer.
pub(crate) async fn answer(duties: Arc<dyn Duties>, ask: Ask) -> Answered {
    let outcome = match answer_of(duties, &ask.json).await {
        Ok(json) if json.len() <= ANSWER_BYTES_MAX => answered::Outcome::Json(json.into()),
        Ok(json) => answered::Outcome::Error(format!("the answer has {} bytes, and at most {ANSWER_BYTES_MAX} are sent", json.len())),
        Err(error) => answered::Outcome::Error(error),
    };
    Answered { id: ask.id, outcome: Some(outcome) }
}

async fn answer_of(duties: Arc<dyn Duties>, json: &[u8]) -> Result<Vec<u8>, String> {
    let question: Question = serde_json::from_slice(json).map_err(|error| {
        let version = env!("CARGO_PKG_VERSION");
        format!("the node's version, {version}, does not know the question: {error}")
    })?;
    let answer: Value = match question {
        Question::Explain(request) => duties.explain(request).await?,
        Question::Figures(Figures { names }) => duties.metrics(&names)?,
        Question::Errors {} => duties.failures(),
    };
    serde_json::to_vec(&answer).map_err(|error| format!("the answer cannot be written: {error}"))
}

#[cfg(test)]
mod tests {
    use skerry_config::purge::Purge;
    use skerry_config::snapshot::Snapshot;

    use super::*;
    use crate::Load;

    /// Answers with as many bytes as the URL says.
    struct Talkative;

    impl Duties for Talkative {
        fn adopt(&self, _: Arc<Snapshot>) -> Result<(), String> {
            Ok(())
        }

        fn purge(&self, _: &[Purge]) {}

        fn purge_all_through(&self, _: u64) {}

        fn load(&self) -> Load {
            Load::default()
        }

        fn explain(self: Arc<Self>, request: Explain) -> Answer {
            Box::pin(async move {
                let bytes = request.url.parse().map_err(|_| "no number".to_owned())?;
                Ok(Value::String("a".repeat(bytes)))
            })
        }
    }

    async fn ask(json: &str) -> Result<usize, String> {
        let answered = answer(Arc::new(Talkative), Ask { id: 7, json: json.to_owned().into() }).await;
        assert_eq!(answered.id, 7);
        match answered.outcome.unwrap() {
            answered::Outcome::Json(json) => Ok(json.len()),
            answered::Outcome::Error(error) => Err(error),
        }
    }

    #[tokio::test]
    async fn every_question_has_an_answer_within_the_bound() {
        assert_eq!(ask(r#"{"explain": {"url": "5"}}"#).await, Ok(7));
        assert_eq!(ask(r#"{"explain": {"url": "65534", "headers": [["a", "b"]]}}"#).await, Ok(ANSWER_BYTES_MAX));
        assert!(ask(r#"{"explain": {"url": "65535"}}"#).await.unwrap_err().contains("at most 65536"));
        assert_eq!(ask(r#"{"explain": {"url": "x"}}"#).await, Err("no number".to_owned()));
        assert!(ask(r#"{"sing": {}}"#).await.unwrap_err().contains("does not know the question"));
        assert!(ask("").await.unwrap_err().contains("does not know the question"));
    }
}
