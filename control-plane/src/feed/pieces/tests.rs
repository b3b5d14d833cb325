//! A zone that goes to a node in pieces, from wherever the node stood.

mod large;

use std::collections::BTreeSet;
use std::time::Duration;

use ipnet::IpNet;
use skerry_dns::cookie::{Secret, Secrets};
use skerry_dns::learn::{Learner, Measured, Settings};
use skerry_dns::plan::{Network, Node, Plan, Ranked};
use skerry_dns::state::{Data, Edge, Record, Site, State, Target};

use super::*;
use crate::feed::rows::{Rows, Said};

/// A zone that a number tells from others: it shares some of its sites and prefixes with them.
fn whole(number: u32) -> Whole {
    let site = |site: u32| Site {
        name: format!("s{site}"),
        hosts: vec![format!("s{site}-{}.test", number % 3)],
        regions: vec!["north".to_owned()],
        redirect: skerry_dns::state::Redirect { by_path: true, cleartext: false },
    };
    let edge = Edge { name: "edge-1".to_owned(), weight: number % 100, cost: Duration::from_millis(7), ..Edge::default() };
    let planned = |place: u32| {
        let prefix = Prefix::of(std::net::Ipv4Addr::from_bits(0x0a00_0000 + place * 256).into(), 24);
        Row::new(prefix, [Ranked { node: 0, ms: 5.0 + if place % 10 == number % 10 { 1.0 } else { 0.0 }, spread_ms: 2.0 }])
    };
    let nodes = vec![Node { name: "edge-1".to_owned(), price_ms: 1.5, utilization: Some(0.5) }];
    let plan = Plan::default().after(&Difference { made: f64::from(number), nodes, ..Difference::default() });
    let state = State {
        zone: "cdn.test".to_owned(),
        serial: number,
        coverage: vec![("10.1.0.0/16".parse().unwrap(), Target::Node("edge-1".to_owned()))],
        records: vec![Record { name: "a.cdn.test".to_owned(), ttl: Duration::from_secs(60), data: Data::Txt("text".to_owned()) }],
        edges: vec![edge],
        sites: (number..number + 20).map(site).collect(),
        lacking: [("s1", "edge-2"), ("s2", "edge-2")]
            .map(|(site, edge)| (site.to_owned(), Arc::new(BTreeSet::from([edge.to_owned()]))))
            .into(),
        cookies: Secrets::new([Secret { from_s: number, octets: [7; 16] }]),
        plan: Arc::new(plan.with_rows((number..number + 5_000).map(planned), [])),
        ..State::default()
    };
    Whole { rows: Arc::new(rows::of_state(&state).unwrap()), state: Arc::new(state) }
}

/// What a node has.
#[derive(Default)]
struct Kept {
    rows: Rows,
    plan: Arc<Plan>,
}

impl Kept {
    fn hello(&self) -> Vec<u8> {
        let mut digests = Digests::default();
        self.rows.iter().for_each(|(key, value)| digests.add(key, value));
        self.plan.rows().for_each(|row| digests.add(&planned::key(row.prefix), &planned::value(row)));
        digests.told()
    }

    /// Takes pieces; how many rows were in them.
    fn take(&mut self, pieces: Pieces) -> usize {
        let (mut pending, mut sent) = (Pending::default(), 0);
        for piece in pieces {
            assert!(
                piece.rows.iter().map(|row| row.key.len() + row.value.as_ref().map_or(0, |value| value.len())).sum::<usize>()
                    < 2 * ZONE_PART_BYTES_MAX
            );
            sent += piece.rows.len();
            let is_last = piece.last;
            let Some(change) = pending.take(piece).unwrap() else { continue };
            assert!(is_last);
            self.rows.retain(|key, _| !change.dropped.contains(&rows::block(key)));
            for (key, value) in change.edits {
                match value {
                    Some(value) => drop(self.rows.insert(key, value)),
                    None => drop(self.rows.remove(&key)),
                }
            }
            let dropped =
                self.plan.rows().map(|row| row.prefix).filter(|prefix| change.dropped.contains(&rows::block(&planned::key(*prefix))));
            let unplanned = dropped.chain(change.unplanned.iter().copied()).collect();
            let said = rows::to_state(&self.rows).unwrap().unwrap();
            self.plan = said.beside.around(&self.plan, change.planned, unplanned);
            return sent;
        }
        panic!("no last piece");
    }

    fn is(&self, whole: &Whole) {
        assert_eq!(self.rows, *whole.rows);
        let sorted = |plan: &Plan| {
            let mut rows: Vec<Row> = plan.rows().copied().collect();
            rows.sort_by_key(|row| row.prefix);
            rows
        };
        assert!(sorted(&self.plan) == sorted(&whole.state.plan), "other rows are planned");
        assert_eq!((self.plan.made, &self.plan.nodes), (whole.state.plan.made, &whole.state.plan.nodes));
    }
}

#[test]
fn a_node_gets_what_it_lacks_wherever_it_stood() {
    let (first, second) = (whole(1), whole(2));
    let mut kept = Kept::default();
    let all = kept.take(Pieces::after_hello(1, &[], &first).unwrap());
    kept.is(&first);
    assert_eq!(all, first.rows.len() + 5_000);
    // On the same stream what differs, after another hello no more than the blocks in which something does.
    assert!(Pieces::between(2, &first, &first).is_none() && Pieces::after_hello(1, &kept.hello(), &first).is_none());
    let changed = kept.take(Pieces::between(2, &first, &second).unwrap());
    kept.is(&second);
    assert!(changed < all / 3, "{changed} of {all}");
    let mut away = whole(2);
    let mut rows = Rows::clone(&away.rows);
    rows.insert(b"site/new".to_vec(), b"{\"name\":\"new\",\"hosts\":[],\"regions\":[]}".to_vec());
    away.rows = Arc::new(rows);
    let missed = kept.take(Pieces::after_hello(1, &kept.hello(), &away).unwrap());
    kept.is(&away);
    assert!(missed < all / 100, "{missed} of {all}");
    // What says its digests in another way is sent all.
    assert_eq!(kept.take(Pieces::after_hello(1, b"nonsense", &second).unwrap()), all);
    kept.is(&second);
}

/// A learner's plan as it is fed to DNS nodes.
fn planned_whole(plan: Plan) -> Whole {
    let state = State { zone: "cdn.test".to_owned(), plan: Arc::new(plan), ..State::default() };
    Whole { rows: Arc::new(rows::of_state(&state).unwrap()), state: Arc::new(state) }
}

#[test]
fn a_node_that_was_away_does_not_take_an_edge_for_the_one_that_had_its_number_before() {
    let (prefixes, mut now) = (200_u32, 1e9);
    let mut learner = Learner::new(Settings::default());
    let prefix = |place: u32| Prefix::of(std::net::Ipv4Addr::from_bits(0x0a00_0000 + place * 256).into(), 24);
    let mut plan = |tells: &[(&str, u64)], names: &[&str]| {
        now += 5.0;
        for (name, ms) in tells {
            let round_trip = Duration::from_millis(*ms);
            let one = |place| Measured {
                prefix: IpNet::new(prefix(place).address(), 24).unwrap(),
                count: 5,
                smoothed: round_trip,
                least: round_trip,
                age: Duration::ZERO,
            };
            learner.told(now, name, &(0..prefixes).map(one).collect::<Vec<_>>());
        }
        learner.only(now, |name| names.contains(&name));
        let edge = |name: &&str| Edge { name: (*name).to_owned(), addresses: vec![[192, 0, 2, 1].into()], ..Edge::default() };
        planned_whole(learner.plan(now, &State { edges: names.iter().map(edge).collect(), ..State::default() }))
    };
    let names = |plan: &Plan| -> Vec<Vec<String>> {
        (0..prefixes)
            .map(|place| {
                plan.row(prefix(place)).unwrap().ranked().map(|ranked| plan.nodes[usize::from(ranked.node)].name.clone()).collect()
            })
            .collect()
    };
    let with_old = plan(&[("old", 3), ("other", 50)], &["old", "other"]);
    let (mut away, mut near) = (Kept::default(), Kept::default());
    away.take(Pieces::after_hello(1, &[], &with_old).unwrap());
    near.take(Pieces::after_hello(1, &[], &with_old).unwrap());
    assert!(names(&away.plan).iter().all(|row| row[0] == "old"));
    // The one goes, and the other gets its number, while a node is away and another one follows change by change.
    let mut last = with_old;
    for (tells, has) in [
        (&[("other", 50)][..], &["other"][..]),
        (&[("other", 50)], &["other"]),
        (&[], &["other", "new"]),
        (&[("other", 50)], &["other", "new"]),
    ] {
        let next = plan(tells, has);
        near.take(Pieces::between(2, &last, &next).unwrap());
        near.is(&next);
        assert!(names(&near.plan).iter().all(|row| row[0] == "other"), "{:?}", names(&near.plan)[0]);
        last = next;
    }
    let numbers = |plan: &Plan, name: &str| plan.nodes.iter().position(|node| node.name == name);
    assert_eq!(numbers(&last.state.plan, "new"), numbers(&away.plan, "old"), "it has the number");
    away.take(Pieces::after_hello(1, &away.hello(), &last).unwrap());
    away.is(&last);
    assert_eq!(names(&away.plan), names(&last.state.plan));
    assert!(names(&away.plan).iter().all(|row| row[0] == "other"));
}

#[test]
fn a_state_is_what_its_rows_say() {
    let whole = whole(3);
    let Said { state, beside, unread: 0, .. } = rows::to_state(&whole.rows).unwrap().unwrap() else { panic!("some were not read") };
    let state = State { plan: beside.around(&Arc::default(), whole.state.plan.rows().copied().collect(), Vec::new()), ..state };
    assert_eq!(rows::of_state(&state).unwrap(), *whole.rows);
    let known = &*whole.state;
    assert_eq!((&state.edges, &state.coverage, &state.lacking), (&known.edges, &known.coverage, &known.lacking));
    assert_eq!((&state.records, &state.cookies), (&known.records, &known.cookies));
    assert_eq!(state.plan.len(), 5_000);
    assert_eq!(rows::to_state(&Rows::new()).unwrap().map(|said| said.state.serial), None);
}

#[test]
fn what_another_version_says_in_another_way_is_left_out_and_counted() {
    let whole = whole(3);
    let mut other = Rows::clone(&whole.rows);
    let mut say = |key: &str, value: &str| other.insert(key.as_bytes().to_vec(), value.as_bytes().to_vec());
    say("a kind of a later version", "?");
    say("edge/edge-1", r#"{"name":"edge-1","up":true,"new":7}"#);
    say("edge/edge-2", "?");
    say("coverage/10.2.0.0/16", r#"{"continent":"north"}"#);
    say("cookies", "[{\"from_s\":7,\"octets\":\"secret\"}]");
    say("plan/node/00000", "?");
    say("plan/node/00001", r#"{"name":"edge-3","price_ms":2.5,"utilization":null}"#);
    let said = rows::to_state(&other).unwrap().unwrap();
    assert_eq!(said.unread, 4);
    let why = rows::to_state(&Rows::from_iter([
        (b"cookies".to_vec(), b"secret".to_vec()),
        (b"settings".to_vec(), whole.rows[&b"settings"[..]].clone()),
    ]));
    assert!(!why.unwrap().unwrap().why.unwrap().contains("secret"), "no error quotes a secret");
    assert!(said.why.unwrap().contains("\"cookies\""));
    assert_eq!(said.state.edges, [Edge { name: "edge-1".to_owned(), ..Edge::default() }]);
    assert_eq!((&said.state.coverage, said.state.sites.len()), (&whole.state.coverage, 20));
    let plan = said.beside.around(&Arc::default(), Vec::new(), Vec::new());
    assert_eq!(plan.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["", "edge-3"], "numbers stay");
    other.insert(b"settings".to_vec(), b"?".to_vec());
    assert!(rows::to_state(&other).err().unwrap().contains("\"settings\""));
}

#[test]
fn no_zone_has_more_rows_than_a_node_takes() {
    let networks = (0..200_000).map(|number| (number, Network::default())).collect();
    let plan = Arc::new(Plan::default().after(&Difference { networks, ..Difference::default() }));
    let rows = rows::of_state(&State { plan, ..State::default() }).unwrap();
    assert_eq!(rows.len(), 131_072 + 2, "networks, the settings and the plan");
}

#[test]
fn a_plan_of_another_version_for_a_prefix_is_none_for_it() {
    let prefix = |place: u32| Prefix::of(std::net::Ipv4Addr::from_bits(0x0a00_0000 + place * 256).into(), 24);
    let row = |key: Vec<u8>, value: Vec<u8>| ZoneRow { key: key.into(), value: Some(value.into()) };
    let known = Row::new(prefix(1), [Ranked { node: 0, ms: 5.0, spread_ms: 2.0 }]);
    let rows =
        vec![row(planned::key(prefix(1)), planned::value(&known)), row(planned::key(prefix(2)), vec![200, 0, 0]), row(vec![0, 1], vec![1])];
    let change = Pending::default().take(ZonePart { number: 1, dropped: Vec::new(), rows, last: true }).unwrap().unwrap();
    assert_eq!((change.planned, change.unplanned, change.unread), (vec![known], vec![prefix(2)], 2));
}

#[test]
fn pieces_that_do_not_follow_each_other_are_refused() {
    let row = |key: &[u8], value: &[u8]| ZoneRow { key: key.to_vec().into(), value: Some(value.to_vec().into()) };
    let part = |number, rows: Vec<ZoneRow>| ZonePart { number, dropped: Vec::new(), rows, last: false };
    let refused = |parts: Vec<ZonePart>| {
        let mut pending = Pending::default();
        parts.into_iter().find_map(|part| pending.take(part).err()).unwrap()
    };
    assert!(refused(vec![part(0, vec![])]).contains("change 0"));
    assert!(refused(vec![part(1, vec![]), part(2, vec![])]).contains("in the middle of change 1"));
    assert!(refused(vec![part(1, vec![row(b"", b"1")])]).contains("no key"));
    assert!(refused(vec![ZonePart { dropped: vec![1_024], ..part(1, vec![]) }]).contains("1024 blocks"));
    let mut large = part(1, (0..=ROWS_MAX).map(|_| row(b"a", b"")).collect());
    large.last = true;
    assert!(refused(vec![large]).contains("more than"));
}
