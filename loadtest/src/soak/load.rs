//! The mixed load of a soak: clients of every protocol that ask for everything at once, some slow, some idle, some that come and go.
//!
//! Owns what is asked in which shares. Every byte of every answer is checked.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderValue, StatusCode, header};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::client::{Client, Connection, Protocol, Unanswered};
use crate::object::{Kind, Object, Pattern, TAGS};

/// How many of the larger objects there are, of which ranges are asked for, and how long each is.
const MIDDLE: Range<u64> = 0..64;
const MIDDLE_BYTES: u64 = 4 << 20;
/// The large ones, which never lie in memory whole.
const LARGE: Range<u64> = 0..32;
const LARGE_BYTES: u64 = 32 << 20;
/// Objects of each of the other kinds.
const OTHERS: u64 = 20_000;
/// How many bytes a second a slow reader takes, and how much of an answer it lets come before it reads.
const SLOW_RATE: u64 = 4 << 10;
const SLOW_WINDOW: u32 = 64 << 10;
/// How often who is idle asks.
const IDLE_EVERY: Duration = Duration::from_secs(20);
/// The pause of who comes and goes.
const CHURN_EVERY: Duration = Duration::from_millis(20);
/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// How many failures are told in words.
const TOLD_MAX: usize = 10;

/// What was asked and came of it, counted by all at once. The lock covers the sentences.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) answers: AtomicU64,
    pub(super) bytes: AtomicU64,
    /// Answers over each protocol, in the order of [`Way::ALL`].
    pub(super) ways: [AtomicU64; 4],
    /// Requests that the edge refused because it had no room: 503.
    pub(super) refused: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) told: Mutex<Vec<String>>,
}

impl Counts {
    fn fail(&self, sentence: String) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let mut told = self.told.lock();
        if told.len() < TOLD_MAX {
            told.push(sentence);
        }
    }

    /// Why not every request was answered, or none was; a refusal for want of room is no answer.
    pub(super) fn unanswered(&self) -> Option<String> {
        if let Some(why) = self.told.lock().first() {
            return Some(why.clone());
        }
        match (self.refused.load(Ordering::Relaxed), self.answers.load(Ordering::Relaxed)) {
            (0, 0) => Some("it was not taken".to_owned()),
            (0, _) => None,
            (refused, _) => Some(format!("{refused} refused for want of room (503)")),
        }
    }
}

/// The ways of a client to the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Cleartext,
    Tls,
    H2,
    H3,
}

impl Way {
    pub(super) const ALL: [Self; 4] = [Self::Cleartext, Self::Tls, Self::H2, Self::H3];

    pub(super) fn name(self) -> &'static str {
        ["HTTP/1.1", "HTTP/1.1 over TLS", "HTTP/2", "HTTP/3"][self as usize]
    }
}

/// How many clients of which sort there are on each way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crowd {
    /// Connections that ask all the time, and the streams of each.
    pub(super) busy: (usize, usize),
    pub(super) idle: usize,
    pub(super) slow: usize,
}

/// What all clients know.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) pattern: Arc<Pattern>,
    pub(super) counts: Arc<Counts>,
    /// How many small objects were stored at first.
    pub(super) objects: u64,
    /// The next that nobody has asked for.
    pub(super) unseen: Arc<AtomicU64>,
    /// A client for each way.
    pub(super) clients: Arc<[Client; 4]>,
    /// When it is over.
    pub(super) end: Instant,
}

/// Something to ask for.
#[derive(Clone, Debug)]
struct Wish {
    object: Object,
    range: Option<Range<u64>>,
    language: Option<&'static str>,
}

impl Wish {
    fn whole(object: Object) -> Self {
        Self { object, range: None, language: None }
    }
}

/// Random numbers from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Below `most`, each as often as any other.
    fn below(&mut self, most: u64) -> u64 {
        (self.roll() * most as f64) as u64
    }

    /// Below `most`, the first ones most often, as by Zipf's law.
    fn skewed(&mut self, most: u64) -> u64 {
        ((most as f64).powf(self.roll()) as u64 - 1).min(most - 1)
    }

    fn part_of(&mut self, object: Object, most: u64) -> Range<u64> {
        let start = self.below(object.bytes - most);
        start..start + 1 + self.below(most)
    }

    fn wish(&mut self, shared: &Shared) -> Wish {
        let other = |kind, number| Object { kind, number, bytes: 1_000 + number % 10_000 };
        match self.below(100) {
            0..50 => Wish::whole(Object::small(self.skewed(shared.objects))),
            50..70 => Wish::whole(Object::small(self.below(shared.objects))),
            70..80 => Wish::whole(Object::small(shared.unseen.fetch_add(1, Ordering::Relaxed))),
            80..84 => Wish::whole(other(Kind::Fields, self.skewed(OTHERS))),
            84..89 => Wish::whole(other(Kind::Tagged, self.skewed(OTHERS))),
            89..94 => {
                let language = ["de", "en", "fr", "ja"][usize::try_from(self.below(4)).unwrap_or(0)];
                Wish { language: Some(language), ..Wish::whole(other(Kind::Varied, self.skewed(OTHERS))) }
            }
            94..98 => Wish::whole(other(Kind::Private, self.below(OTHERS))),
            _ => {
                let object = Object { kind: Kind::Plain, number: self.skewed(MIDDLE.end), bytes: MIDDLE_BYTES };
                Wish { range: Some(self.part_of(object, 256 << 10)), ..Wish::whole(object) }
            }
        }
    }

    fn large(&mut self) -> Wish {
        let object = Object { kind: Kind::Plain, number: self.skewed(LARGE.end), bytes: LARGE_BYTES };
        let range = (self.roll() < 0.7).then(|| self.part_of(object, 8 << 20));
        Wish { range, ..Wish::whole(object) }
    }
}

impl Shared {
    /// Asks and checks; whether the connection can be used on.
    async fn ask(&self, connection: &mut Connection, way: Way, wish: &Wish, rate: u64) -> bool {
        let client = &self.clients[way as usize];
        let Ok(mut request) = client.request(&wish.object.path()) else { return false };
        if let Some(range) = &wish.range
            && let Ok(value) = HeaderValue::from_str(&format!("bytes={}-{}", range.start, range.end - 1))
        {
            request.headers_mut().insert(header::RANGE, value);
        }
        if let Some(language) = wish.language {
            request.headers_mut().insert(header::ACCEPT_LANGUAGE, HeaderValue::from_static(language));
        }
        let range = wish.range.clone().unwrap_or(0..wish.object.bytes);
        let (mut at, mut is_right) = (range.start, true);
        let answer = connection.ask_slowly(request, rate, |bytes| {
            is_right &= self.pattern.is(wish.object, at, bytes);
            at += bytes.len() as u64;
        });
        let max = if rate == u64::MAX { ANSWER_MAX } else { Duration::MAX };
        let head = match timeout(max, answer).await {
            Ok(Ok(head)) => head,
            Ok(Err(Unanswered::NotTaken)) => return false,
            Ok(Err(Unanswered::Failed(why))) => {
                self.counts.fail(format!("{} over {}, at byte {at}: {why}", wish.object.path(), way.name()));
                return false;
            }
            Err(_) => {
                self.counts.fail(format!("{} over {}: no answer within {ANSWER_MAX:?}", wish.object.path(), way.name()));
                return false;
            }
        };
        if head.status == StatusCode::SERVICE_UNAVAILABLE {
            self.counts.refused.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        let expected = if wish.range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        if head.status != expected || at != range.end || !is_right {
            let bytes = at - range.start;
            self.counts.fail(format!("{} over {}: {}, {bytes} bytes, right: {is_right}", wish.object.path(), way.name(), head.status));
            return true;
        }
        self.counts.answers.fetch_add(1, Ordering::Relaxed);
        self.counts.bytes.fetch_add(at - range.start, Ordering::Relaxed);
        self.counts.ways[way as usize].fetch_add(1, Ordering::Relaxed);
        true
    }

    async fn connect(&self, client: &Client) -> Option<Connection> {
        match client.connect().await {
            Ok(connection) => Some(connection),
            Err(why) => {
                self.counts.fail(why);
                sleep(CHURN_EVERY).await;
                None
            }
        }
    }

    /// Asks all the time, over connections that are opened anew when they end.
    async fn busy(self, way: Way, streams: usize, seed: u64, is_large: bool) {
        while Instant::now() < self.end {
            let Some(connection) = self.connect(&self.clients[way as usize]).await else { continue };
            let mut all = JoinSet::new();
            let shared = (1..streams).filter_map(|_| connection.share()).collect::<Vec<_>>();
            for (number, mut connection) in std::iter::once(connection).chain(shared).enumerate() {
                let (this, mut dice) = (self.clone(), Dice((seed << 16) | (number as u64 + 1)));
                all.spawn(async move {
                    while Instant::now() < this.end {
                        let wish = if is_large { dice.large() } else { dice.wish(&this) };
                        if !this.ask(&mut connection, way, &wish, u64::MAX).await || !connection.is_ready().await {
                            return;
                        }
                    }
                });
            }
            all.join_all().await;
        }
    }

    async fn idle(self, way: Way, seed: u64) {
        let mut dice = Dice(seed);
        while Instant::now() < self.end {
            let Some(mut connection) = self.connect(&self.clients[way as usize]).await else { continue };
            loop {
                let wish = Wish::whole(Object::small(dice.skewed(self.objects)));
                if !self.ask(&mut connection, way, &wish, u64::MAX).await || !connection.is_ready().await {
                    break;
                }
                sleep(IDLE_EVERY).await;
                if connection.is_closed() {
                    break;
                }
            }
        }
    }

    async fn slow(self, way: Way, seed: u64) {
        let client = self.clients[way as usize].clone().with_window(SLOW_WINDOW);
        let mut dice = Dice(seed);
        while Instant::now() < self.end {
            let Some(mut connection) = self.connect(&client).await else { continue };
            let object = Object { kind: Kind::Plain, number: dice.below(LARGE.end), bytes: LARGE_BYTES };
            self.ask(&mut connection, way, &Wish::whole(object), SLOW_RATE).await;
        }
    }

    async fn churn(self, way: Way, seed: u64) {
        let mut dice = Dice(seed);
        while Instant::now() < self.end {
            if let Some(mut connection) = self.connect(&self.clients[way as usize]).await {
                self.ask(&mut connection, way, &dice.wish(&self), u64::MAX).await;
            }
            sleep(CHURN_EVERY).await;
        }
    }

    /// Asks once for one, over cleartext.
    pub(super) async fn one(&self, object: Object) {
        if let Some(mut connection) = self.connect(&self.clients[0]).await {
            self.ask(&mut connection, Way::Cleartext, &Wish::whole(object), u64::MAX).await;
        }
    }

    /// Asks for each small object once, as many at once as there are connections.
    pub(super) async fn fill(&self, connections: u64) {
        let mut all = JoinSet::new();
        let next = Arc::new(AtomicU64::new(0));
        for _ in 0..connections {
            let (this, next) = (self.clone(), Arc::clone(&next));
            all.spawn(async move {
                let mut open = None;
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= this.objects || Instant::now() > this.end {
                        return;
                    }
                    let mut connection = match open.take() {
                        Some(connection) => connection,
                        None => match this.connect(&this.clients[0]).await {
                            Some(connection) => connection,
                            None => continue,
                        },
                    };
                    let wish = Wish::whole(Object::small(number));
                    if this.ask(&mut connection, Way::Cleartext, &wish, u64::MAX).await && connection.is_ready().await {
                        open = Some(connection);
                    }
                }
            });
        }
        all.join_all().await;
    }

    /// All of them until the end; who still reads then is not waited for.
    pub(super) async fn run(&self, crowds: [Crowd; 4]) {
        let mut all = JoinSet::new();
        let mut seed = 1_u64;
        for (way, crowd) in Way::ALL.into_iter().zip(crowds) {
            let mut next = || {
                seed += 1;
                seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
            };
            (0..crowd.busy.0).for_each(|_| drop(all.spawn(self.clone().busy(way, crowd.busy.1, next() >> 20, false))));
            all.spawn(self.clone().busy(way, 1, next() >> 20, true));
            (0..crowd.idle).for_each(|_| drop(all.spawn(self.clone().idle(way, next()))));
            (0..crowd.slow).for_each(|_| drop(all.spawn(self.clone().slow(way, next()))));
            all.spawn(self.clone().churn(way, next()));
        }
        sleep_until(self.end).await;
        all.shutdown().await;
    }
}

/// The arguments of a purge, another sort each time.
pub(super) fn purge(number: u64, host: &str) -> Vec<String> {
    let says = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let tag = format!("tag-{}", number % TAGS);
    match number % 4 {
        0 => says(&["purge", "--url", &format!("http://{host}{}", Object::small(number % 1_000).path())]),
        1 => says(&["purge", "--tag", &tag]),
        2 => says(&["purge", "--soft", "--tag", &tag]),
        _ => says(&["purge", "--prefix", &format!("http://{host}/varied/{}", 10 + number % 90)]),
    }
}

/// Whether the protocol of a way, and whether it is over TLS.
pub(super) fn protocol(way: Way) -> (Protocol, bool) {
    match way {
        Way::Cleartext => (Protocol::H1, false),
        Way::Tls => (Protocol::H1, true),
        Way::H2 => (Protocol::H2, true),
        Way::H3 => (Protocol::H3, true),
    }
}
