//! Webhooks against real receivers: what arrives, what is tried again, what is given up, what outlives a restart.

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::store::Redb;
use crate::tests::eventually;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

const QUICK: Patience = Patience { first: Duration::from_millis(2), longest: Duration::from_millis(20), tries: 3, failures: 100 };

/// A receiver that answers what it is told and keeps what came.
struct Place {
    listener: TcpListener,
}

impl Place {
    async fn new() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    fn url(&self) -> String {
        format!("http://{}/hook?a=b", self.listener.local_addr().unwrap())
    }

    /// Takes one message and answers with this status line and these fields.
    async fn take(&self, answer: &str) -> String {
        let (mut stream, _) = tokio::time::timeout(Duration::from_secs(20), self.listener.accept()).await.expect("a message").unwrap();
        let mut text = Vec::new();
        loop {
            let mut chunk = [0; 4096];
            let read = stream.read(&mut chunk).await.unwrap();
            text.extend_from_slice(&chunk[..read]);
            let said = String::from_utf8_lossy(&text);
            let Some((head, body)) = said.split_once("\r\n\r\n") else { continue };
            let length: usize = field(head, "content-length").parse().unwrap();
            if body.len() >= length {
                break;
            }
        }
        stream.write_all(format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await.unwrap();
        String::from_utf8(text).unwrap()
    }

    /// The number of the next message, which is taken with this answer.
    async fn number(&self, answer: &str) -> u64 {
        let message = self.take(answer).await;
        field(&message, "webhook-id").strip_prefix("evt_").unwrap().parse().unwrap()
    }
}

fn field<'a>(head: &'a str, name: &str) -> &'a str {
    let found = head.lines().find_map(|line| line.split_once(": ").filter(|(field, _)| field.eq_ignore_ascii_case(name)));
    found.unwrap_or_else(|| panic!("no {name} in {head}")).1
}

struct Sender {
    store: Arc<dyn Store>,
    events: Arc<Events>,
    hooks: Arc<Webhooks>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Sender {
    fn start(place: &Path, patience: Patience) -> Self {
        let store = Arc::new(Redb::open(&place.join("store")).unwrap()) as Arc<dyn Store>;
        let events = Arc::new(Events::open(Arc::clone(&store), 0).unwrap());
        let figures = Figures::new(&prometheus::Registry::new()).unwrap();
        let allow = ["127.0.0.0/8".parse().unwrap()];
        let hooks = Arc::new(Webhooks::load(Arc::clone(&store), &allow, patience, Arc::clone(&events), figures).unwrap());
        let (stop, stopped) = watch::channel(false);
        let tasks = vec![tokio::spawn(Arc::clone(&hooks).dispatch(stopped.clone())), tokio::spawn(Arc::clone(&events).reserve(stopped))];
        Self { store, events, hooks, stop, tasks }
    }

    async fn put(&self, url: &str, kinds: Option<&[&str]>) {
        let kinds = kinds.map(|kinds| kinds.iter().map(|&kind| kind.to_owned()).collect());
        let wish = Wish { name: "ops".to_owned(), url: url.to_owned(), kinds, secret: Some(SECRET.to_owned()) };
        self.hooks.put(wish).await.unwrap();
    }

    /// Ends without a word to anyone, as far as one process can.
    async fn end(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            task.await.unwrap();
        }
        drop(self.hooks);
        self.store.close();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_in_order_and_are_tried_again_with_the_same_number() {
    let (place, receiver) = (tempfile::tempdir().unwrap(), Place::new().await);
    let sender = Sender::start(place.path(), QUICK);
    sender.put(&receiver.url(), Some(&["node"])).await;
    sender.events.tell(Event::Purge { seq: 1 });
    sender.events.node("edge-1", "drained");
    sender.events.node("edge-1", "resumed");
    let first = receiver.take("503 Busy").await;
    assert!(first.starts_with("POST /hook?a=b HTTP/1.1\r\n"), "{first}");
    let body: serde_json::Value = serde_json::from_str(first.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!((&body["type"], &body["data"]["name"], &body["data"]["what"]), (&"node".into(), &"edge-1".into(), &"drained".into()));
    let again = receiver.take("204 Taken").await;
    assert_eq!(field(&first, "webhook-id"), field(&again, "webhook-id"));
    let timestamp = field(&again, "webhook-timestamp").parse().unwrap();
    let text = again.split_once("\r\n\r\n").unwrap().1;
    let signature = sign::signature(&sign::key(SECRET).unwrap(), field(&again, "webhook-id"), timestamp, text);
    assert_eq!(field(&again, "webhook-signature"), signature);
    let next = receiver.take("200 OK").await;
    assert!(next.contains("\"resumed\""), "{next}");
    let shown = eventually("both are counted", async || Some(sender.hooks.get("ops").unwrap()).filter(|shown| shown.delivered == 2)).await;
    assert_eq!((shown.failed, shown.dropped, shown.waiting), (1, 0, 0));
    assert!(shown.secret.starts_with("redacted:"));
    sender.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_outlives_a_restart_and_numbers_are_not_used_twice() {
    let (place, receiver) = (tempfile::tempdir().unwrap(), Place::new().await);
    let patience = Patience { first: Duration::from_secs(3_600), longest: Duration::from_secs(3_600), ..QUICK };
    let sender = Sender::start(place.path(), patience);
    sender.put(&receiver.url(), None).await;
    sender.events.node("edge-1", "drained");
    let first = receiver.number("500 Wrong").await;
    // The end comes before anybody has looked at it.
    sender.events.node("edge-1", "resumed");
    sender.end().await;
    let sender = Sender::start(place.path(), patience);
    assert_eq!(receiver.number("200 OK").await, first);
    assert_eq!(receiver.number("200 OK").await, first + 1);
    sender.events.node("edge-1", "removed");
    assert!(receiver.number("200 OK").await > first + 1);
    sender.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_never_arrives_is_given_up_and_a_redirect_is_not_followed() {
    let (place, receiver, elsewhere) = (tempfile::tempdir().unwrap(), Place::new().await, Place::new().await);
    let sender = Sender::start(place.path(), QUICK);
    sender.put(&receiver.url(), None).await;
    sender.events.node("edge-1", "drained");
    sender.events.node("edge-2", "drained");
    let moved = format!("307 Moved\r\nlocation: {}", elsewhere.url());
    let first = receiver.number(&moved).await;
    for _ in 1..QUICK.tries {
        assert_eq!(receiver.number(&moved).await, first);
    }
    assert_eq!(receiver.number("200 OK").await, first + 1);
    let shown = eventually("it is counted", async || Some(sender.hooks.get("ops").unwrap()).filter(|shown| shown.delivered == 1)).await;
    assert_eq!((shown.failed, shown.dropped), (3, 1));
    assert!(shown.last_error.unwrap().contains("redirects are not followed"));
    assert!(tokio::time::timeout(Duration::from_millis(50), elsewhere.listener.accept()).await.is_err());
    sender.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_too_often_or_is_gone_is_sent_no_more() {
    for (answer, tries, says) in [("500 Wrong", 5, "5 tries in a row failed"), ("410 Gone", 1, "is gone")] {
        let (place, receiver) = (tempfile::tempdir().unwrap(), Place::new().await);
        let sender = Sender::start(place.path(), Patience { failures: 5, ..QUICK });
        let mut reader = sender.events.read(None);
        sender.put(&receiver.url(), Some(&["node"])).await;
        for number in 0..5 {
            sender.events.node(&format!("edge-{number}"), "drained");
        }
        for _ in 0..tries {
            receiver.take(answer).await;
        }
        let reason = eventually("it is disabled", async || sender.hooks.get("ops").unwrap().disabled).await;
        assert!(reason.contains(says), "{reason}");
        let shown = sender.hooks.get("ops").unwrap();
        assert_eq!((shown.waiting, shown.dropped), (0, 5));
        assert_eq!(sender.hooks.shared.figures.webhooks_waiting.with_label_values(&["ops"]).get(), 0);
        let mut told = Vec::new();
        while !told.iter().any(|told: &Arc<crate::events::Told>| matches!(&told.event, Event::Webhook { what, .. } if what == "disabled")) {
            told.extend(reader.next(16).await.events);
        }
        // Written anew it is sent what happens from then on.
        sender.put(&receiver.url(), Some(&["node"])).await;
        sender.events.node("edge-9", "resumed");
        assert!(receiver.take("200 OK").await.contains("edge-9"));
        sender.end().await;
    }
}

#[test]
fn nothing_is_sent_before_it_is_in_the_store() {
    // One thread does all work of the store, and is kept busy.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let (place, receiver) = (tempfile::tempdir().unwrap(), Place::new().await);
        let sender = Sender::start(place.path(), QUICK);
        sender.put(&receiver.url(), Some(&["node"])).await;
        let hook = sender.hooks.hook("ops").unwrap();
        let (release, busy) = std::sync::mpsc::channel::<()>();
        let work = tokio::task::spawn_blocking(move || busy.recv().is_err());
        sender.events.node("edge-1", "drained");
        let nudges = async {
            let mut again = tokio::time::interval(Duration::from_millis(5));
            loop {
                again.tick().await;
                hook.replace(hook.record());
            }
        };
        let early = tokio::time::timeout(Duration::from_millis(100), async {
            tokio::select! {
                _ = receiver.listener.accept() => (),
                () = nudges => (),
            }
        });
        assert!(early.await.is_err(), "a message came whose event was not in the store");
        drop(release);
        assert!(work.await.unwrap());
        receiver.number("200 OK").await;
        eventually("it is forgotten", async || sender.store.list(hook::QUEUE_PREFIX).unwrap().is_empty().then_some(())).await;
        sender.end().await;
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gives_up_a_webhook_does_not_undo_a_change_of_it() {
    let (place, receiver) = (tempfile::tempdir().unwrap(), Place::new().await);
    let sender = Sender::start(place.path(), QUICK);
    sender.put(&receiver.url(), Some(&["node"])).await;
    let hook = sender.hooks.hook("ops").unwrap();
    // A change is under way while the receiver says that it is gone.
    let writing = sender.hooks.shared.writing.lock().await;
    sender.events.node("edge-1", "drained");
    receiver.take("410 Gone").await;
    eventually("it is counted", async || (sender.hooks.get("ops").unwrap().failed == 1).then_some(())).await;
    assert_eq!(sender.hooks.get("ops").unwrap().disabled, None);
    let record = Record { kinds: None, ..hook.record() };
    sender.hooks.transact(vec![hook::put(&record).unwrap()]).await.unwrap();
    hook.replace(record.clone());
    drop(writing);
    receiver.take("200 OK").await;
    let kept = sender.store.get(&format!("{PREFIX}ops")).unwrap().unwrap();
    assert_eq!((serde_json::from_slice::<Record>(&kept).unwrap(), hook.record()), (record.clone(), record));
    sender.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_the_store_is_cut_to_the_bound_at_the_start() {
    let place = tempfile::tempdir().unwrap();
    let sender = Sender::start(place.path(), QUICK);
    let key = |number: usize| format!("{}{number:020}", hook::queue_prefix("ops"));
    let record = Record {
        name: "ops".to_owned(),
        url: "http://127.0.0.1:1/".to_owned(),
        kinds: None,
        secret: Secret::new(SECRET.to_owned()),
        disabled: None,
    };
    let messages = (1..=hook::QUEUE_MAX + 50).map(|number| Change::Put(key(number), b"{}".to_vec()));
    sender.hooks.transact(messages.chain(hook::put(&record)).collect()).await.unwrap();
    sender.end().await;
    let slow = Patience { first: Duration::from_secs(3_600), longest: Duration::from_secs(3_600), ..QUICK };
    let sender = Sender::start(place.path(), slow);
    let shown = sender.hooks.get("ops").unwrap();
    assert_eq!((shown.waiting, shown.dropped), (hook::QUEUE_MAX, 50));
    let kept = sender.store.list(hook::QUEUE_PREFIX).unwrap();
    assert_eq!((kept.len(), &kept[0].0), (hook::QUEUE_MAX, &key(51)));
    sender.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_has_a_bound_and_the_oldest_go_first() {
    let (place, receiver) = (tempfile::tempdir().unwrap(), Place::new().await);
    let sender = Sender::start(place.path(), QUICK);
    sender.put("http://127.0.0.1:1/", None).await;
    let count = hook::QUEUE_MAX + 50;
    for number in 0..count {
        sender.events.node(&format!("edge-{number}"), "drained");
    }
    let newest = sender.events.newest();
    let waiting = eventually("all were looked at", async || {
        let shown = sender.hooks.get("ops").unwrap();
        (shown.dropped >= 50).then_some(shown.waiting)
    })
    .await;
    assert!(waiting <= hook::QUEUE_MAX, "{waiting}");
    // Another receiver takes over what waits.
    sender.put(&receiver.url(), None).await;
    while receiver.number("200 OK").await < newest {}
    sender.end().await;
}
