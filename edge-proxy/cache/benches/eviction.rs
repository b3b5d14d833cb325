//! Hit ratio of ways to choose what stays in memory, over requests from a seed: prints docs/performance-memory.md.
//! Nothing in it depends on how fast the machine is.

use foyer::{Cache, CacheBuilder, CacheProperties, DefaultHasher, EvictionConfig, LfuConfig, LruConfig, S3FifoConfig, SieveConfig};

/// Requests in a trace.
const REQUESTS: usize = 2_000_000;
/// Names that are asked for at any moment.
const CATALOGUE: usize = 100_000;
/// How many answers there is room for.
const ROOMS: [usize; 3] = [1_000, 10_000, 50_000];

/// A trace from a seed.
struct Kind {
    name: &'static str,
    /// The exponent of Zipf's law.
    skew: f64,
    /// A name is replaced by a new one every so many requests.
    replaced_every: usize,
    /// So many of a thousand requests are for what is never asked for again.
    once: f64,
}

const KINDS: [Kind; 3] = [
    Kind { name: "Zipf 0.9, one name in 50 requests replaced, 10 % asked for once", skew: 0.9, replaced_every: 50, once: 0.1 },
    Kind { name: "Zipf 0.7, one name in 10 requests replaced, 30 % asked for once", skew: 0.7, replaced_every: 10, once: 0.3 },
    Kind { name: "Zipf 1.1, one name in 500 requests replaced, none asked for once", skew: 1.1, replaced_every: 500, once: 0.0 },
];

/// xorshift64.
struct Random(u64);

impl Random {
    /// From 0 up to 1.
    fn draw(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl Kind {
    fn trace(&self) -> Vec<u64> {
        let mut sum = 0.0;
        let mut up_to = |rank: usize| {
            sum += (rank as f64).powf(-self.skew);
            sum
        };
        let sums: Vec<f64> = (1..=CATALOGUE).map(&mut up_to).collect();
        let mut names: Vec<u64> = (0..CATALOGUE as u64).collect();
        let mut next = CATALOGUE as u64;
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        (0..REQUESTS)
            .map(|at| {
                next += 1;
                if at % self.replaced_every == 0 {
                    // Any rank: what is new may be what everybody wants.
                    names[(random.draw() * CATALOGUE as f64) as usize % CATALOGUE] = next;
                    next += 1;
                }
                if random.draw() < self.once {
                    return next;
                }
                let wanted = random.draw() * sums[CATALOGUE - 1];
                names[sums.partition_point(|up_to| *up_to < wanted).min(CATALOGUE - 1)]
            })
            .collect()
    }
}

/// Percent of the requests that find what they ask for.
fn ratio(trace: &[u64], mut is_hit: impl FnMut(u64) -> bool) -> f64 {
    100.0 * trace.iter().filter(|name| is_hit(**name)).count() as f64 / trace.len() as f64
}

fn of_foyer(trace: &[u64], room: usize, policy: impl Into<EvictionConfig>) -> f64 {
    let cache: Cache<u64, (), DefaultHasher, CacheProperties> = CacheBuilder::new(room).with_shards(1).with_eviction_config(policy).build();
    ratio(trace, |name| {
        cache.get(&name).is_some() || {
            cache.insert(name, ());
            false
        }
    })
}

fn of_moka(trace: &[u64], room: usize) -> f64 {
    let cache = moka::sync::Cache::builder().max_capacity(room as u64).build();
    ratio(trace, |name| {
        cache.get(&name).is_some() || {
            cache.insert(name, ());
            false
        }
    })
}

/// As [`skerry_cache`] has it; `remembered` of those that left are remembered for each that there is room for.
fn of_quick(trace: &[u64], room: usize, remembered: f64) -> f64 {
    let options = quick_cache::OptionsBuilder::new()
        .shards(1)
        .weight_capacity(room as u64)
        .estimated_items_capacity(room)
        .ghost_allocation(remembered)
        .build();
    let options = options.expect("the capacities are set");
    let (weights, hashes, leaving) =
        (quick_cache::UnitWeighter, foldhash::fast::RandomState::default(), quick_cache::sync::DefaultLifecycle::default());
    let cache = quick_cache::sync::Cache::with_options(options, weights, hashes, leaving);
    ratio(trace, |name| {
        cache.get(&name).is_some() || {
            cache.insert(name, ());
            false
        }
    })
}

type Policy = (&'static str, fn(&[u64], usize) -> f64);

const POLICIES: [Policy; 9] = [
    ("quick_cache (ours)", |trace, room| of_quick(trace, room, 1.0)),
    ("quick_cache, remembering half", |trace, room| of_quick(trace, room, 0.5)),
    ("quick_cache, remembering an eighth", |trace, room| of_quick(trace, room, 0.125)),
    ("TinyLFU (moka)", of_moka),
    ("LRU", |trace, room| of_foyer(trace, room, LruConfig::default())),
    ("LRU, no part kept apart", |trace, room| of_foyer(trace, room, LruConfig { high_priority_pool_ratio: 0.0 })),
    ("S3-FIFO", |trace, room| of_foyer(trace, room, S3FifoConfig::default())),
    ("W-TinyLFU (foyer)", |trace, room| of_foyer(trace, room, LfuConfig::default())),
    ("SIEVE", |trace, room| of_foyer(trace, room, SieveConfig)),
];

const ABOUT: &str = "# What stays in memory

Made by `cargo bench -q -p skerry-cache --bench eviction > docs/performance-memory.md`: the part of 2,000,000 requests that find what they ask for, by
the way in which it is chosen what leaves. The names of 100,000 answers of one size are drawn from a seed by Zipf's law; some are replaced by new ones all
the time, and some requests are for what is never asked for again. [Why ours](decisions/0018-what-stays-in-memory.md).";

fn main() {
    println!("{ABOUT}");
    for kind in KINDS {
        let trace = kind.trace();
        println!("\n## {}\n", kind.name);
        println!("| policy | {} |", ROOMS.map(|room| format!("room for {room}")).join(" | "));
        println!("|---|{}", "--:|".repeat(ROOMS.len()));
        for (name, hits) in POLICIES {
            println!("| {name} | {} |", ROOMS.map(|room| format!("{:.2} %", hits(&trace, room))).join(" | "));
        }
    }
}
