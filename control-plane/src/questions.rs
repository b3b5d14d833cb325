//! Questions on their way to nodes, and who waits for the answers.
//!
//! Owns the bounds: how many wait for one node and how long. The lock covers the table of nodes and is never held over a wait.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use skerry_agent::question::Question;
use skerry_agent::wire::{ANSWER_BYTES_MAX, Answered, Ask, answered};
use tokio::sync::{mpsc, oneshot};

/// Questions that may wait for one node at once.
pub(crate) const WAITING_MAX: usize = 16;

/// Time that an answer may take.
pub(crate) const ANSWER_TIME_MAX: Duration = Duration::from_secs(2);

/// Characters of a node's refusal that are passed on.
const ERROR_CHARS_MAX: usize = 500;

/// See the module.
#[derive(Default)]
pub(crate) struct Questions {
    nodes: Mutex<HashMap<String, Node>>,
    /// Questions and lines so far: each has a number of its own.
    numbers: AtomicU64,
}

struct Node {
    line: u64,
    asks: mpsc::Sender<Ask>,
    waiting: HashMap<u64, oneshot::Sender<Told>>,
}

/// What a node says to a question.
type Told = Result<Value, Unanswered>;

/// The questions of one node's stream, as long as it stands. Dropping it tells everyone who waits that the node is gone.
pub(crate) struct Line {
    questions: Arc<Questions>,
    name: String,
    number: u64,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// The node is not connected, or left before it answered.
    Away,
    /// Too many wait for this node already.
    Full,
    /// It did not answer in time: too busy, or of a version that knows no questions.
    Late,
    /// It says so itself.
    Refused(String),
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away => write!(f, "not connected"),
            Self::Full => write!(f, "{WAITING_MAX} questions are waiting for it already; ask again later"),
            Self::Late => write!(f, "no answer within {} s", ANSWER_TIME_MAX.as_secs()),
            Self::Refused(why) => write!(f, "{why}"),
        }
    }
}

impl Questions {
    /// A node's stream begins; the questions for it come out of the receiver. One that stood before is forgotten.
    pub(crate) fn open(self: &Arc<Self>, name: &str) -> (Line, mpsc::Receiver<Ask>) {
        let (asks, receiver) = mpsc::channel(WAITING_MAX);
        let number = self.number();
        self.nodes.lock().insert(name.to_owned(), Node { line: number, asks, waiting: HashMap::new() });
        (Line { questions: Arc::clone(self), name: name.to_owned(), number }, receiver)
    }

    /// Asks a node and waits for its answer, at most [`ANSWER_TIME_MAX`].
    pub(crate) async fn ask(&self, name: &str, question: &Question) -> Told {
        let (waiting, answer) = self.send(name, question)?;
        let answered = tokio::time::timeout(ANSWER_TIME_MAX, answer).await;
        drop(waiting);
        match answered {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Unanswered::Away),
            Err(_) => Err(Unanswered::Late),
        }
    }

    fn send(&self, name: &str, question: &Question) -> Result<(Waiting<'_>, oneshot::Receiver<Told>), Unanswered> {
        let json = serde_json::to_vec(question).map_err(|error| Unanswered::Refused(format!("the question cannot be written: {error}")))?;
        let id = self.number();
        let mut nodes = self.nodes.lock();
        let node = nodes.get_mut(name).ok_or(Unanswered::Away)?;
        if node.waiting.len() >= WAITING_MAX {
            return Err(Unanswered::Full);
        }
        node.asks.try_send(Ask { id, json: json.into() }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Unanswered::Full,
            mpsc::error::TrySendError::Closed(_) => Unanswered::Away,
        })?;
        let (sender, answer) = oneshot::channel();
        node.waiting.insert(id, sender);
        drop(nodes);
        Ok((Waiting { questions: self, name: name.to_owned(), id }, answer))
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }
}

impl Line {
    /// The node answered. Nobody waits for a late answer, and it is dropped.
    pub(crate) fn answered(&self, answered: Answered) {
        let told = match answered.outcome {
            Some(answered::Outcome::Json(json)) if json.len() > ANSWER_BYTES_MAX => {
                Err(Unanswered::Refused(format!("its answer has {} bytes, at most {ANSWER_BYTES_MAX} are taken", json.len())))
            }
            Some(answered::Outcome::Json(json)) => {
                serde_json::from_slice(&json).map_err(|error| Unanswered::Refused(format!("its answer cannot be read: {error}")))
            }
            Some(answered::Outcome::Error(why)) => Err(Unanswered::Refused(why.chars().take(ERROR_CHARS_MAX).collect())),
            None => Err(Unanswered::Refused("its answer is empty".to_owned())),
        };
        let mut nodes = self.questions.nodes.lock();
        let node = nodes.get_mut(&self.name).filter(|node| node.line == self.number);
        if let Some(waiting) = node.and_then(|node| node.waiting.remove(&answered.id)) {
            // Who asked may have left.
            let _ = waiting.send(told);
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let mut nodes = self.questions.nodes.lock();
        if nodes.get(&self.name).is_some_and(|node| node.line == self.number) {
            nodes.remove(&self.name);
        }
    }
}

/// Somebody who waits; the place is free again when it is dropped, however that comes.
struct Waiting<'a> {
    questions: &'a Questions,
    name: String,
    id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(node) = self.questions.nodes.lock().get_mut(&self.name) {
            node.waiting.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use skerry_agent::question::Explain;

    use super::*;

    fn question() -> Question {
        Question::Explain(Explain { url: "http://a/".to_owned(), headers: Vec::new() })
    }

    async fn ask(questions: &Questions) -> Told {
        questions.ask("a", &question()).await
    }

    fn json(id: u64, text: &str) -> Answered {
        Answered { id, outcome: Some(answered::Outcome::Json(text.to_owned().into())) }
    }

    #[tokio::test]
    async fn an_answer_finds_who_asked_and_a_late_one_nobody() {
        let questions = Arc::new(Questions::default());
        assert_eq!(ask(&questions).await, Err(Unanswered::Away));
        let (line, mut asks) = questions.open("a");
        let node = async {
            let ask = asks.recv().await.unwrap();
            assert_eq!(serde_json::from_slice::<Question>(&ask.json).unwrap(), question());
            line.answered(json(ask.id + 1, "0"));
            line.answered(json(ask.id, "1"));
            line.answered(json(ask.id, "2"));
        };
        assert_eq!(tokio::join!(ask(&questions), node).0, Ok(Value::from(1)));
        let node = async {
            let ask = asks.recv().await.unwrap();
            line.answered(json(ask.id, &format!("\"{}\"", "a".repeat(ANSWER_BYTES_MAX))));
        };
        let (answer, ()) = tokio::join!(ask(&questions), node);
        assert!(matches!(answer, Err(Unanswered::Refused(why)) if why.contains("at most 65536")));
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_answer_is_not_waited_for_and_keeps_no_more_than_the_bound_waiting() {
        let questions = Arc::new(Questions::default());
        let (line, asks) = questions.open("a");
        let all = futures_util::future::join_all((0..=WAITING_MAX).map(|_| async { ask(&questions).await })).await;
        assert_eq!(all.iter().filter(|answer| **answer == Err(Unanswered::Late)).count(), WAITING_MAX);
        assert_eq!(all.last(), Some(&Err(Unanswered::Full)));
        assert!(questions.nodes.lock()["a"].waiting.is_empty());
        drop((line, asks));
        assert_eq!(ask(&questions).await, Err(Unanswered::Away));
    }

    #[tokio::test]
    async fn a_line_that_ends_late_leaves_the_next_one_alone() {
        let questions = Arc::new(Questions::default());
        let (first, _) = questions.open("a");
        let (second, mut asks) = questions.open("a");
        drop(first);
        let node = async {
            assert!(asks.recv().await.is_some());
            drop(second);
        };
        assert_eq!(tokio::join!(ask(&questions), node).0, Err(Unanswered::Away));
    }
}
