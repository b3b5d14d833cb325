//! Changes: what they make, what they share, what they refuse.

use proptest::prelude::*;

use super::super::{Document, Snapshot};
use super::*;

fn site(name: &str, hosts: &[&str]) -> Site {
    serde_json::from_value(serde_json::json!({ "name": name, "hosts": hosts, "origin": { "urls": ["http://origin.example.net"] } }))
        .unwrap()
}

fn base() -> Snapshot {
    let sites = vec![site("a", &["a.test", "*.a.test"]), site("b", &["b.test"]), site("any", &["*"])];
    Snapshot::build(Document { version: 3, sites, ..Document::default() }).unwrap()
}

#[test]
fn a_change_makes_what_the_whole_would_and_shares_the_rest() {
    let before = base();
    let shields = vec![Shield { name: "s".into(), region: "r".into(), address: "127.0.0.1:9".parse().unwrap() }];
    let leads = BTreeMap::from([("b".to_owned(), Some("s".to_owned()))]);
    // A host moves from one site to another in the same change.
    let sites = vec![site("b", &["b.test", "*.a.test"]), site("a", &["A.test"]), site("new", &["new.test"])];
    let change = Change { from: 3, version: 7, sites, gone: vec!["any".into()], shields: Some(shields.clone()), leads };
    let after = before.apply(change).unwrap();
    let sites = vec![site("a", &["A.test"]), site("b", &["b.test", "*.a.test"]), site("new", &["new.test"])];
    let leads = BTreeMap::from([("b".to_owned(), "s".to_owned())]);
    let whole = Snapshot::build(Document { version: 7, sites, shields, leads }).unwrap();
    assert_eq!((after.to_json(), after.digest()), (whole.to_json(), whole.digest()));
    for host in ["a.test", "x.a.test", "b.test", "new.test", "elsewhere.test"] {
        let owner = |snapshot: &Snapshot| snapshot.site_for_host(host).map(|served| served.site().name.clone());
        assert_eq!(owner(&after), owner(&whole), "{host}");
    }
    assert_eq!(before.site_for_host("x.a.test").unwrap().site().name, "a", "the one before is as it was");
    let next = after.apply(Change { from: 7, version: 8, gone: vec!["new".into()], ..Change::default() }).unwrap();
    assert!(Arc::ptr_eq(next.site("a").unwrap(), after.site("a").unwrap()));
    assert_eq!(next.changed_since(7).unwrap(), ["new"]);
    assert_eq!((next.changed_since(3), before.changed_since(0)), (None, None));
    assert_ne!(next.digest(), after.digest());
    let renumbered = after.apply(Change { from: 7, version: 8, ..Change::default() }).unwrap();
    assert_ne!(renumbered.digest(), after.digest(), "the number counts");
}

#[test]
fn a_change_with_faults_names_its_sites_and_one_for_another_configuration_is_refused() {
    let before = base();
    let refused = |change: Change| before.apply(change).unwrap_err().to_string();
    assert!(refused(Change { from: 2, version: 9, ..Change::default() }).contains("from 2 to 9 does not follow configuration 3"));
    assert!(refused(Change { from: 3, version: 3, ..Change::default() }).contains("does not follow"));
    let sites = vec![site("fine", &["fine.test"]), site("c", &["B.test"]), site("d", &["fine.test", "*"])];
    let change = Change { from: 3, version: 4, sites, ..Change::default() };
    let faults = before.apply(change.clone()).unwrap_err();
    let said = faults.to_string();
    assert!(said.contains("sites[1].hosts[0]: \"B.test\" of site \"c\" belongs to site \"b\" already"), "{said}");
    assert!(said.contains("sites[2].hosts[0]: \"fine.test\" of site \"d\" belongs to site \"fine\" already"), "{said}");
    assert!(said.contains("sites[2].hosts[1]: \"*\" of site \"d\" belongs to site \"any\" already"), "{said}");
    assert_eq!(change.accused(&faults), ["c", "d"]);
}

proptest! {
    /// Whatever is put and taken away, in whatever steps: the same as the whole at once.
    #[test]
    fn steps_end_where_the_whole_is(steps in proptest::collection::vec((0_usize..6, 0_usize..4, any::<bool>()), 1..30)) {
        let mut now = Snapshot::build(Document { version: 1, ..Document::default() }).unwrap();
        let mut sites: BTreeMap<String, Site> = BTreeMap::new();
        for (version, (number, form, stays)) in (2..).zip(steps) {
            let name = format!("s{number}");
            let mut change = Change { from: version - 1, version, ..Change::default() };
            if stays {
                let hosts = [format!("{name}.test"), format!("*.{name}.test"), format!("x{form}.{name}.test")];
                let hosts: Vec<&str> = hosts.iter().map(String::as_str).skip(form % 2).collect();
                let site = site(&name, &hosts);
                sites.insert(name, site.clone());
                change.sites.push(site);
            } else {
                sites.remove(&name);
                change.gone.push(name);
            }
            now = now.apply(change).unwrap();
        }
        let whole = Document { version: now.version(), sites: sites.into_values().collect(), ..Document::default() };
        let whole = Snapshot::build(whole).unwrap();
        prop_assert_eq!((now.to_json(), now.digest()), (whole.to_json(), whole.digest()));
        for host in ["s1.test", "x2.s1.test", "y.s3.test", "s4.test"] {
            let owner = |snapshot: &Snapshot| snapshot.site_for_host(host).map(|served| served.site().name.clone());
            prop_assert_eq!(owner(&now), owner(&whole));
        }
    }
}
