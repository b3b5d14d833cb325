//! The counts by site as Prometheus metrics, read when they are scraped.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{IntCounterVec, Opts, Registry};

use super::sites::{HEAD_CLASSES, HEAD_MILLIS, SiteFigures, Sites};
use crate::Role;

/// Sites that have metrics under their own name: the first that were asked for. The others are one together, [`OTHERS`].
const SHOWN_MAX: usize = 1_000;

/// The name under which further sites are shown. No site can have it.
const OTHERS: &str = "_others";

pub(super) struct Scrape {
    sites: Arc<Sites>,
    requests: Opts,
    errors: Opts,
    bytes: Opts,
    seconds: (String, String),
    descs: Vec<Desc>,
}

/// Registers the counts by site, once for a registry.
#[expect(clippy::expect_used, reason = "names and labels are constants; a registry refuses only duplicates and malformed names")]
pub(super) fn register(sites: Arc<Sites>, role: Role, registry: &Registry) {
    let name = |rest: &str| format!("skerry_{}_site_{rest}", role.word());
    let asked = "of each of the first 1,000 sites asked for; the others are _others";
    let requests = Opts::new(name("requests_total"), format!("Requests answered by how, {asked}."));
    let errors = Opts::new(name("errors_total"), format!("Answers of status 500 to 599 and answers cut off, {asked}."));
    let bytes = Opts::new(name("body_bytes_total"), format!("Bytes of bodies sent, {asked}."));
    let seconds =
        (name("head_seconds"), format!("Time from the head of a request to the head of its answer, 0 for those in memory, {asked}."));
    let label = || vec!["site".to_owned()];
    let descs = [
        Desc::new(requests.name.clone(), requests.help.clone(), vec!["site".to_owned(), "cache".to_owned()], Default::default()),
        Desc::new(errors.name.clone(), errors.help.clone(), label(), Default::default()),
        Desc::new(bytes.name.clone(), bytes.help.clone(), label(), Default::default()),
        Desc::new(seconds.0.clone(), seconds.1.clone(), label(), Default::default()),
    ];
    let descs = descs.into_iter().collect::<prometheus::Result<_>>().expect("valid");
    registry.register(Box::new(Scrape { sites, requests, errors, bytes, seconds, descs })).expect("registered once");
}

impl Scrape {
    /// The sites that were asked for, by the name they are shown under.
    fn read(&self) -> Vec<(String, SiteFigures)> {
        let all = self.sites.all();
        let mut shown = all.iter().filter(|counts| counts.is_shown.load(Ordering::Relaxed)).count();
        let (mut found, mut others) = (Vec::new(), SiteFigures::default());
        for counts in all.iter() {
            let figures = counts.read();
            if figures.requests() == 0 {
                continue;
            }
            // Once it is shown it stays so, and once among the others too, or a counter would go back.
            let is_new = shown < SHOWN_MAX && !counts.is_shown.swap(true, Ordering::Relaxed);
            shown += usize::from(is_new);
            if counts.is_shown.load(Ordering::Relaxed) {
                found.push((counts.name.to_string(), figures));
            } else {
                others.add(&figures);
            }
        }
        if others.requests() > 0 {
            found.push((OTHERS.to_owned(), others));
        }
        found
    }
}

impl Collector for Scrape {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    #[expect(clippy::expect_used, reason = "names and labels are constants")]
    fn collect(&self) -> Vec<MetricFamily> {
        let of = |opts: &Opts, labels: &[&str]| IntCounterVec::new(opts.clone(), labels).expect("valid");
        let requests = of(&self.requests, &["site", "cache"]);
        let (errors, bytes) = (of(&self.errors, &["site"]), of(&self.bytes, &["site"]));
        let mut seconds = Vec::new();
        for (site, figures) in self.read() {
            let outcomes = [("hit", figures.hits), ("miss", figures.misses), ("pass", figures.passes), ("error", figures.failures)];
            for (outcome, count) in outcomes {
                requests.with_label_values(&[&*site, outcome]).inc_by(count);
            }
            errors.with_label_values(&[&site]).inc_by(figures.errors);
            bytes.with_label_values(&[&site]).inc_by(figures.bytes);
            seconds.push(histogram(&site, &figures));
        }
        let mut families: Vec<_> = [requests.collect(), errors.collect(), bytes.collect()].into_iter().flatten().collect();
        let mut family = MetricFamily::default();
        family.set_name(self.seconds.0.clone());
        family.set_help(self.seconds.1.clone());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(seconds);
        families.push(family);
        families
    }
}

fn histogram(site: &str, figures: &SiteFigures) -> Metric {
    let mut label = LabelPair::default();
    label.set_name("site".to_owned());
    label.set_value(site.to_owned());
    let mut buckets = Vec::with_capacity(HEAD_CLASSES);
    let mut through = 0;
    for (bound, count) in HEAD_MILLIS.iter().zip(figures.heads) {
        through += count;
        let mut bucket = Bucket::default();
        #[expect(clippy::cast_precision_loss, reason = "a constant of at most four digits")]
        bucket.set_upper_bound(*bound as f64 / 1_000.0);
        bucket.set_cumulative_count(through);
        buckets.push(bucket);
    }
    let mut histogram = Histogram::default();
    histogram.set_sample_count(figures.heads.iter().sum());
    #[expect(clippy::cast_precision_loss, reason = "microseconds below 2^53")]
    histogram.set_sample_sum(figures.head_micros as f64 / 1e6);
    histogram.set_bucket(buckets);
    let mut metric = Metric::default();
    metric.set_label(vec![label]);
    metric.set_histogram(histogram);
    metric
}
