//! What is asked for: objects drawn by Zipf's law, of which some make room for new ones, with sizes from a distribution; ranges of them,
//! and whether they have changed.
//!
//! Owns the draw alone. Everything follows from numbers and a seed: two runs ask for the same.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, LogNormal, Zipf};

use crate::object::{Kind, Object, Pattern};

/// The most objects that are asked for at one time.
pub const OBJECTS_MAX: u64 = 1_000_000_000;
/// The longest object, in bytes: 1 GiB.
pub const BYTES_MAX: u64 = 1 << 30;
/// The most lines of a file of sizes.
pub const LINES_MAX: usize = 100_000;

/// How long objects are, in bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Sizes {
    /// All the same.
    Fixed(u64),
    /// By a log-normal distribution: half are shorter than `median`, a hundredth longer than `p99`, none longer than `max`.
    LogNormal {
        /// In bytes.
        median: u64,
        /// In bytes, above the median.
        p99: u64,
        /// In bytes.
        max: u64,
    },
    /// Each as often as its weight says: lengths with the sum of the weights so far, rising.
    Listed(Vec<(u64, f64)>),
}

/// How far the 99th percentile of a normal distribution is from its middle, in standard deviations.
const DEVIATIONS_P99: f64 = 2.326_347_874;

impl Sizes {
    /// Reads lines of `BYTES WEIGHT`; a line that begins with `#` is none.
    ///
    /// # Errors
    /// A sentence with the number of the line.
    pub fn listed(text: &str) -> Result<Self, String> {
        let mut list = Vec::new();
        let mut sum = 0.0;
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = || format!("line {number}, `{line}`, is no length of 1 to {BYTES_MAX} bytes and a weight above 0");
            let (bytes, weight) = line.trim().split_once(char::is_whitespace).ok_or_else(wrong)?;
            let bytes = bytes.parse::<u64>().ok().filter(|bytes| (1..=BYTES_MAX).contains(bytes)).ok_or_else(wrong)?;
            let weight = weight.trim().parse::<f64>().ok().filter(|weight| *weight > 0.0 && weight.is_finite()).ok_or_else(wrong)?;
            sum += weight;
            list.push((bytes, sum));
            if list.len() > LINES_MAX {
                return Err(format!("there are more than {LINES_MAX} lengths"));
            }
        }
        if list.is_empty() { Err("there is no length in it".to_owned()) } else { Ok(Self::Listed(list)) }
    }

    fn draw(&self, random: &mut SmallRng) -> u64 {
        match self {
            Self::Fixed(bytes) => *bytes,
            Self::LogNormal { median, p99, max } => {
                let (middle, far) = ((*median as f64).ln(), (*p99 as f64).ln());
                let Ok(distribution) = LogNormal::new(middle, (far - middle) / DEVIATIONS_P99) else { return *median };
                (distribution.sample(random) as u64).clamp(1, *max)
            }
            Self::Listed(list) => {
                let at = random.random::<f64>() * list.last().map_or(0.0, |last| last.1);
                let index = list.partition_point(|&(_, sum)| sum <= at).min(list.len() - 1);
                list[index].0
            }
        }
    }
}

/// Which objects there are.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What they are like.
    pub(crate) kind: Kind,
    /// How many at one time, from 1 to [`OBJECTS_MAX`]; none: each is asked for once.
    pub count: Option<u64>,
    /// The exponent of Zipf's law, from 0 (each as often as any other) up.
    pub zipf: f64,
    /// How long an object is asked for before another has its place; for ever without it.
    pub lifetime: Option<Duration>,
    /// How far the places are on when the draw begins, so that one run goes on where another has ended.
    pub begins: Duration,
    /// How long they are.
    pub sizes: Sizes,
    /// The share of requests, from 0 to 1, that are for a range.
    pub ranges: f64,
    /// The longest range, in bytes, at least 1.
    pub range_max: u64,
    /// The share of requests, from 0 to 1, that ask whether what the client has is current (`If-None-Match`).
    pub conditional: f64,
    /// Whether every byte is checked; else the length alone.
    pub check: bool,
    /// Where the draw begins.
    pub seed: u64,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) object: Object,
    pub(crate) range: Option<Range<u64>>,
    pub(crate) conditional: bool,
}

/// Draws.
#[derive(Debug)]
pub(crate) struct Draw {
    settings: Settings,
    popularity: Option<Zipf<f64>>,
    pub(crate) pattern: Pattern,
    drawn: AtomicU64,
}

impl Draw {
    /// A draw of objects that no other run has asked for, when `settings` has another seed.
    pub(crate) fn new(settings: Settings) -> Result<Self, String> {
        let popularity = match settings.count {
            Some(count) => Some(Zipf::new(count as f64, settings.zipf).map_err(|error| format!("no Zipf's law of {count}: {error}"))?),
            None => None,
        };
        Ok(Self { settings, popularity, pattern: Pattern::new(), drawn: AtomicU64::new(0) })
    }

    /// The next request, so long after the beginning.
    pub(crate) fn next(&self, elapsed: Duration) -> Wish {
        let number = self.drawn.fetch_add(1, Ordering::Relaxed);
        let mut random = SmallRng::seed_from_u64(self.settings.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let object = match (&self.popularity, self.settings.count) {
            (Some(popularity), Some(count)) => self.of_rank((popularity.sample(&mut random) as u64).clamp(1, count) - 1, count, elapsed),
            _ => self.object(number),
        };
        let (roll, conditional) = (random.random::<f64>(), random.random::<f64>() < self.settings.conditional);
        let range = (roll < self.settings.ranges).then(|| {
            let length = random.random_range(1..=self.settings.range_max.min(object.bytes));
            let start = random.random_range(0..=object.bytes - length);
            start..start + length
        });
        Wish { object, conditional: conditional && range.is_none(), range }
    }

    /// All objects that are there at first, most asked for first; none if each is asked for once.
    pub(crate) fn at_first(&self) -> impl Iterator<Item = Object> {
        let count = self.settings.count.unwrap_or(0);
        (0..count).map(move |rank| self.of_rank(rank, count, Duration::ZERO))
    }

    /// Ranks change their objects one after another, not all at once.
    fn of_rank(&self, rank: u64, count: u64, elapsed: Duration) -> Object {
        let generation = self.settings.lifetime.map_or(0.0, |lifetime| {
            // Multiples of the golden ratio are spread evenly over the unit interval.
            let phase = (rank as f64 * 0.618_033_988_75).fract();
            ((self.settings.begins + elapsed).as_secs_f64() / lifetime.as_secs_f64() + phase).floor()
        });
        self.object(rank + count * generation as u64)
    }

    fn object(&self, number: u64) -> Object {
        // Below 2^40 of each seed: no two runs share a number.
        let number = (self.settings.seed << 40) | number;
        let bytes = self.settings.sizes.draw(&mut SmallRng::seed_from_u64(number));
        Object { kind: self.settings.kind, number, bytes }
    }

    /// Whether these are the bytes from there on, where that is looked at.
    fn is(&self, object: Object, at: u64, bytes: &[u8]) -> bool {
        !self.settings.check || self.pattern.is(object, at, bytes)
    }
}

/// The body of an answer to a wish, as it comes. A server may answer the whole to who asks for a range (RFC 9110 section 14.2), and the head is
/// looked at last, so both are followed.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    draw: &'a Draw,
    wish: &'a Wish,
    pub(crate) octets: u64,
    is_wished: bool,
    is_whole: bool,
}

impl<'a> Seen<'a> {
    pub(crate) fn new(draw: &'a Draw, wish: &'a Wish) -> Self {
        Self { draw, wish, octets: 0, is_wished: true, is_whole: true }
    }

    /// The next part.
    pub(crate) fn take(&mut self, part: &[u8]) {
        let start = self.wish.expected().start;
        self.is_wished &= self.draw.is(self.wish.object, start + self.octets, part);
        self.is_whole &= if start == 0 { self.is_wished } else { self.draw.is(self.wish.object, self.octets, part) };
        self.octets += part.len() as u64;
    }

    /// Up to which byte of the object is known what was read of an answer that was broken off.
    ///
    /// # Errors
    /// A sentence: it is of nothing that the object has.
    pub(crate) fn reached(&self) -> Result<u64, String> {
        match (self.is_wished, self.is_whole) {
            (true, _) => Ok(self.wish.expected().start + self.octets),
            (false, true) => Ok(self.octets),
            (false, false) => Err(self.other_bytes()),
        }
    }

    fn other_bytes(&self) -> String {
        format!("{}: a body has other bytes than the origin's", self.wish.object.path())
    }

    /// Whether the answer is one to the wish.
    ///
    /// # Errors
    /// A sentence: the status, the length or a byte is another.
    pub(crate) fn answers(&self, status: StatusCode, headers: &HeaderMap) -> Result<Answered, String> {
        let (wish, octets) = (self.wish, self.octets);
        let path = wish.object.path();
        if wish.conditional && status == StatusCode::NOT_MODIFIED {
            return if octets == 0 { Ok(Answered::Current) } else { Err(format!("{path}: a 304 has a body of {octets} octets")) };
        }
        let (due, answered) = match (&wish.range, status) {
            (Some(range), StatusCode::PARTIAL_CONTENT) => {
                let due = format!("bytes {}-{}/{}", range.start, range.end - 1, wish.object.bytes);
                if headers.get(header::CONTENT_RANGE).is_none_or(|said| said.as_bytes() != due.as_bytes()) {
                    return Err(format!("{path}: Content-Range is {:?} where `{due}` is expected", headers.get(header::CONTENT_RANGE)));
                }
                (range.end - range.start, Answered::Range)
            }
            (_, StatusCode::OK) => (wish.object.bytes, Answered::Whole),
            (range, _) => {
                let due = if range.is_some() { "206 or 200" } else { "200" };
                return Err(format!("{path}: status {} where {due} is expected", status.as_u16()));
            }
        };
        if octets != due {
            return Err(format!("{path}: a body has {octets} octets where {due} are expected"));
        }
        let is_right = if answered == Answered::Range { self.is_wished } else { self.is_whole };
        if is_right { Ok(answered) } else { Err(self.other_bytes()) }
    }
}

/// What an answer had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// The range that was asked for.
    Range,
    /// All of the object.
    Whole,
    /// That what the client has is current.
    Current,
}

impl Wish {
    pub(crate) fn whole(object: Object) -> Self {
        Self { object, range: None, conditional: false }
    }

    /// Adds the fields that say it.
    pub(crate) fn write(&self, request: &mut Request<()>) {
        let headers = request.headers_mut();
        if let Some(range) = &self.range
            && let Ok(value) = HeaderValue::from_str(&format!("bytes={}-{}", range.start, range.end - 1))
        {
            headers.insert(header::RANGE, value);
        }
        if self.conditional {
            headers.insert(header::IF_NONE_MATCH, self.object.validator());
        }
    }

    /// Where the body begins that is expected, and how long it is.
    pub(crate) fn expected(&self) -> Range<u64> {
        self.range.clone().unwrap_or(0..self.object.bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn settings(count: Option<u64>, sizes: Sizes) -> Settings {
        Settings {
            kind: Kind::Plain,
            count,
            zipf: 1.0,
            lifetime: None,
            begins: Duration::ZERO,
            sizes,
            ranges: 0.0,
            range_max: 1,
            conditional: 0.0,
            check: true,
            seed: 1,
        }
    }

    #[test]
    fn the_first_are_asked_for_most_and_each_has_one_length() {
        let draw = Draw::new(settings(Some(100), Sizes::LogNormal { median: 1_000, p99: 50_000, max: 100_000 })).expect("a draw");
        let mut seen: HashMap<u64, (u64, u64)> = HashMap::new();
        for _ in 0..20_000 {
            let object = draw.next(Duration::ZERO).object;
            let entry = seen.entry(object.number & 0xff_ffff_ffff).or_insert((0, object.bytes));
            entry.0 += 1;
            assert_eq!(entry.1, object.bytes);
        }
        // The harmonic number of 100 is 5.19: the first gets 19.3 % of the requests, the tenth a tenth of that.
        assert!((3_500..4_200).contains(&seen[&0].0) && (300..480).contains(&seen[&9].0), "{:?} {:?}", seen[&0], seen[&9]);
    }

    #[test]
    fn sizes_have_the_median_and_the_tail_that_they_are_told() {
        let sizes = Sizes::LogNormal { median: 1_000, p99: 50_000, max: 60_000 };
        let mut random = SmallRng::seed_from_u64(5);
        let mut all: Vec<u64> = (0..20_000).map(|_| sizes.draw(&mut random)).collect();
        all.sort_unstable();
        assert!((900..1_100).contains(&all[10_000]), "{}", all[10_000]);
        assert!((40_000..=60_000).contains(&all[19_800]) && all[19_999] <= 60_000, "{}", all[19_800]);
        let listed = Sizes::listed("# bytes weight\n10 3\n\n20 1\n").expect("a list");
        let tens = (0..10_000).filter(|_| listed.draw(&mut random) == 10).count();
        assert!((7_200..7_800).contains(&tens), "{tens}");
        for (text, said) in [("", "no length"), ("10", "line 1, `10`"), ("10 1\n0 1", "line 2"), ("5 -1", "line 1"), ("x 1", "line 1")] {
            let error = Sizes::listed(text).expect_err(said);
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn objects_make_room_for_others_one_by_one() {
        let lifetime = Some(Duration::from_secs(10));
        let draw = Draw::new(Settings { lifetime, ..settings(Some(1000), Sizes::Fixed(1)) }).expect("a draw");
        let others = |seconds| {
            let now: Vec<Object> = (0..1000).map(|rank| draw.of_rank(rank, 1000, Duration::from_secs(seconds))).collect();
            draw.at_first().zip(now).filter(|(before, now)| before != now).count()
        };
        assert_eq!((others(0), others(10)), (0, 1000));
        assert!((480..520).contains(&others(5)), "{}", others(5));
    }

    #[test]
    fn an_answer_must_be_the_one_that_was_asked_for() {
        let draw = Draw::new(settings(Some(1), Sizes::Fixed(10))).expect("a draw");
        let object = Object { kind: Kind::Plain, number: 1, bytes: 10 };
        let body = draw.pattern.piece(object, &(0..10)).to_vec();
        let (mut headers, whole) = (HeaderMap::new(), Wish::whole(object));
        let part = Wish { range: Some(2..5), ..whole.clone() };
        let known = Wish { conditional: true, ..whole.clone() };
        let answers = |wish: &Wish, status, headers: &HeaderMap, body: &[u8]| {
            let mut seen = Seen::new(&draw, wish);
            body.chunks(2).for_each(|part| seen.take(part));
            seen.answers(status, headers)
        };
        assert_eq!(answers(&whole, StatusCode::OK, &headers, &body), Ok(Answered::Whole));
        assert_eq!(answers(&part, StatusCode::OK, &headers, &body), Ok(Answered::Whole));
        assert_eq!(answers(&known, StatusCode::NOT_MODIFIED, &headers, &[]), Ok(Answered::Current));
        let error = answers(&part, StatusCode::PARTIAL_CONTENT, &headers, &body[2..5]).expect_err("no field");
        assert!(error.contains("Content-Range is None"), "{error}");
        headers.insert(header::CONTENT_RANGE, HeaderValue::from_static("bytes 2-4/10"));
        assert_eq!(answers(&part, StatusCode::PARTIAL_CONTENT, &headers, &body[2..5]), Ok(Answered::Range));
        for (wish, status, body, said) in [
            (&whole, StatusCode::OK, &body[..9], "9 octets where 10"),
            (&whole, StatusCode::OK, &[0; 10][..], "other bytes"),
            (&part, StatusCode::OK, &body[..9], "9 octets where 10"),
            (&part, StatusCode::PARTIAL_CONTENT, &body[..3], "other bytes"),
            (&whole, StatusCode::NOT_MODIFIED, &[], "status 304 where 200"),
            (&whole, StatusCode::SERVICE_UNAVAILABLE, &[], "status 503 where 200"),
            (&part, StatusCode::NOT_FOUND, &[], "status 404 where 206 or 200"),
            (&known, StatusCode::NOT_MODIFIED, &body[..1], "a 304 has a body"),
        ] {
            let error = answers(wish, status, &headers, body).expect_err(said);
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn what_was_broken_off_is_known_to_where_it_came() {
        let draw = Draw::new(settings(Some(1), Sizes::Fixed(10))).expect("a draw");
        let object = Object { kind: Kind::Plain, number: 1, bytes: 1_000 };
        let wish = Wish { range: Some(500..1_000), ..Wish::whole(object) };
        let reached = |body: &[u8]| {
            let mut seen = Seen::new(&draw, &wish);
            seen.take(body);
            seen.reached()
        };
        assert_eq!(reached(draw.pattern.piece(object, &(500..600))), Ok(600));
        assert_eq!(reached(draw.pattern.piece(object, &(0..100))), Ok(100));
        assert!(reached(&[0; 100]).expect_err("other bytes").contains("other bytes"));
    }
}
