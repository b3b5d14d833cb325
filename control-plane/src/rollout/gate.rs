//! Whether a site fares worse with its change than without: a comparison of figures, and nothing else.

use skerry_agent::SiteFigures;
use skerry_agent::figures::HEAD_MILLIS;
use skerry_config::process;

/// Times to the head of an answer below this are not compared, in milliseconds.
const SLOW_MILLIS_MIN: u64 = 50;

/// What counts for an answer that took longer than the last class of time, in milliseconds.
const BEYOND_MILLIS: u64 = 10_000;

/// The share of failing requests that is too much where there is nothing to compare with, in percent.
const ERRORS_ALONE_PERCENT: u64 = 50;

/// What was counted with the change, and what it is compared with.
#[derive(Clone, Debug, Default)]
pub(super) struct Compared {
    /// On nodes that have the change, since they have it.
    pub(super) with: SiteFigures,
    /// On nodes that do not have it, in the same time.
    pub(super) without: SiteFigures,
    /// On the nodes that have it, before.
    pub(super) before: SiteFigures,
}

/// What is wrong with a site: one sentence with the figures; `None` when nothing is, or too little was asked for to know.
pub(super) fn fault(compared: &Compared, bounds: &process::Rollout) -> Option<String> {
    let min = u64::from(bounds.requests_min);
    let with = &compared.with;
    let requests = with.requests();
    if requests < min {
        return None;
    }
    let others = [(&compared.without, "on nodes without the change"), (&compared.before, "on the same nodes before")];
    let Some((other, whose)) = others.into_iter().find(|(other, _)| other.requests() >= min) else {
        let errors = percent(with.errors, requests);
        let says = || format!("{errors} % of {requests} requests failed, and there is nothing to compare with");
        return (errors >= ERRORS_ALONE_PERCENT).then(says);
    };
    let all = other.requests();
    let more = |a: u64, of_a: u64, b: u64, of_b: u64, bound: u32| percent(a, of_a) > percent(b, of_b) + u64::from(bound);
    if more(with.errors, requests, other.errors, all, bounds.errors_percent) {
        let (is, was) = (percent(with.errors, requests), percent(other.errors, all));
        return Some(format!(
            "{is} % of {requests} requests failed, {was} % of {all} {whose}; {} % more are allowed",
            bounds.errors_percent
        ));
    }
    if more(other.hits, all, with.hits, requests, bounds.hits_percent) {
        let (is, was) = (percent(with.hits, requests), percent(other.hits, all));
        return Some(format!(
            "{is} % of {requests} requests were hits, {was} % of {all} {whose}; {} % fewer are allowed",
            bounds.hits_percent
        ));
    }
    let (is, was) = (slowest_tenth(with), slowest_tenth(other));
    if is > SLOW_MILLIS_MIN && is * 100 > was * (100 + u64::from(bounds.slower_percent)) {
        let slower = bounds.slower_percent;
        return Some(format!(
            "a tenth of {requests} requests took about {is} ms to the head of the answer, {was} ms {whose}; {slower} % more are allowed"
        ));
    }
    None
}

/// What was counted from one report to a later one. Counts that fell are those of another process, all of which are later.
pub(super) fn since(later: &SiteFigures, earlier: Option<&SiteFigures>) -> SiteFigures {
    let Some(earlier) = earlier else { return later.clone() };
    let all = |figures: &SiteFigures| {
        let SiteFigures { hits, misses, passes, failures, errors, bytes, heads, head_micros } = figures;
        let counts = [*hits, *misses, *passes, *failures, *errors, *bytes, *head_micros];
        counts.into_iter().chain(*heads)
    };
    if all(later).zip(all(earlier)).any(|(later, earlier)| later < earlier) {
        return later.clone();
    }
    SiteFigures {
        hits: later.hits - earlier.hits,
        misses: later.misses - earlier.misses,
        passes: later.passes - earlier.passes,
        failures: later.failures - earlier.failures,
        errors: later.errors - earlier.errors,
        bytes: later.bytes - earlier.bytes,
        heads: std::array::from_fn(|class| later.heads[class] - earlier.heads[class]),
        head_micros: later.head_micros - earlier.head_micros,
    }
}

/// Whole percent of requests.
fn percent(part: u64, of: u64) -> u64 {
    part.saturating_mul(100) / of.max(1)
}

/// The upper bound of the class of time that nine tenths of the requests are in or below, in milliseconds.
fn slowest_tenth(figures: &SiteFigures) -> u64 {
    let all: u64 = figures.heads.iter().sum();
    let mut through = 0;
    for (class, count) in figures.heads.iter().enumerate() {
        through += count;
        if through * 10 >= all * 9 {
            return HEAD_MILLIS.get(class).copied().unwrap_or(BEYOND_MILLIS);
        }
    }
    BEYOND_MILLIS
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many requests, of which so many are hits and so many fail, all heads in one class of time.
    fn figures(requests: u64, hits: u64, errors: u64, class: usize) -> SiteFigures {
        let mut heads = SiteFigures::default().heads;
        heads[class] = requests;
        SiteFigures { hits, misses: requests - hits, errors, heads, ..SiteFigures::default() }
    }

    fn said(with: SiteFigures, without: SiteFigures, before: SiteFigures) -> Option<String> {
        fault(&Compared { with, without, before }, &process::Rollout::default())
    }

    #[test]
    fn errors_hits_and_time_are_compared_with_nodes_without_the_change() {
        let usual = || figures(1_000, 800, 10, 3);
        let none = SiteFigures::default;
        for (what, with, wanted) in [
            ("the same", figures(100, 80, 1, 3), None),
            ("a few more errors", figures(100, 80, 6, 3), None),
            ("too many", figures(100, 80, 7, 3), Some("7 % of 100 requests failed, 1 % of 1000 on nodes without the change")),
            ("fewer hits", figures(100, 50, 1, 3), None),
            ("far fewer", figures(100, 49, 1, 3), Some("49 % of 100 requests were hits, 80 % of 1000")),
            ("slower, by little", figures(100, 80, 1, 5), None),
            ("slower by far", figures(100, 80, 1, 6), Some("took about 100 ms to the head of the answer, 10 ms")),
            ("slower than any class", figures(100, 80, 1, 12), Some("took about 10000 ms")),
            ("too few to know", figures(49, 0, 49, 12), None),
        ] {
            let found = said(with, usual(), none());
            match wanted {
                None => assert_eq!(found, None, "{what}"),
                Some(wanted) => assert!(found.as_ref().is_some_and(|found| found.contains(wanted)), "{what}: {found:?}"),
            }
        }
    }

    #[test]
    fn where_no_node_is_without_it_the_same_nodes_before_are_compared_and_else_only_what_is_plain() {
        let (few, none) = (figures(10, 0, 0, 0), SiteFigures::default());
        let before = figures(1_000, 0, 400, 3);
        assert_eq!(said(figures(100, 0, 45, 3), few.clone(), before.clone()), None, "it failed before");
        let worse = said(figures(100, 0, 46, 3), few.clone(), before).unwrap();
        assert!(worse.contains("46 % of 100 requests failed, 40 % of 1000 on the same nodes before"), "{worse}");
        assert_eq!(said(figures(100, 0, 49, 3), few.clone(), none.clone()), None);
        let alone = said(figures(100, 0, 50, 3), few, none).unwrap();
        assert!(alone.contains("nothing to compare with"), "{alone}");
    }

    #[test]
    fn a_count_begins_where_the_last_one_ended_or_with_the_process() {
        let (early, late) = (figures(10, 5, 1, 2), figures(30, 7, 1, 2));
        assert_eq!(since(&late, Some(&early)), figures(20, 2, 0, 2));
        assert_eq!(since(&late, None), late);
        assert_eq!(since(&early, Some(&late)), early, "the process was started again");
    }
}
