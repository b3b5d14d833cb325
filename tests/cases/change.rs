//! A change of a site is in force within a second, and drops nothing.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::house::command::end_of;
use crate::house::{Cdn, Nginx, get, wait_until};

/// What "within a second" means.
const IN_FORCE_MAX: Duration = Duration::from_secs(1);
const HOST: &str = "shop.example.com";
/// Large enough that no pair of sockets holds it all, in bytes.
const DOWNLOAD_BYTES: usize = 30_000_000;

fn site(origin: &Nginx) -> String {
    format!("name = \"shop\"\nhosts = [\"{HOST}\"]\n[origin]\nurls = [\"{}\"]\n", origin.url())
}

#[test]
fn a_site_moves_to_another_origin_under_a_running_download() {
    let (old, new) = (Nginx::start(), Nginx::start());
    old.put("/who.txt", b"old\n");
    new.put("/who.txt", b"new\n");
    // The rest of what comes in slices is asked of whoever is the origin then, which has the same version of it.
    let time = std::time::SystemTime::now();
    for origin in [&old, &new] {
        origin.put_as_of("/big.bin", &vec![7; DOWNLOAD_BYTES], time);
    }
    let cdn = Cdn::start(&[]);
    let before = cdn.file("before.toml", &site(&old));
    let after = cdn.file("after.toml", &site(&new));
    cdn.skerry(&["site", "apply", &before]).fine();
    wait_until("the site", IN_FORCE_MAX, || get(cdn.edge(1), HOST, "/who.txt?1").text() == "old\n");

    let kept = tempfile::NamedTempFile::new().unwrap();
    let mut download = Command::new("curl")
        .args(["--silent", "--fail", "--limit-rate", "10M", "--header", &format!("Host: {HOST}"), "--output"])
        .arg(kept.path())
        .arg(format!("http://{}/big.bin", cdn.edge(1)))
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the download to run", IN_FORCE_MAX * 5, || kept.path().metadata().is_ok_and(|file| file.len() > 0));

    let diff = cdn.skerry(&["site", "diff", "shop", &after]).fine().stdout;
    assert!(diff.lines().any(|line| line.starts_with('-') && line.contains(&old.url())), "{diff}");
    cdn.skerry(&["site", "apply", &after]).fine();
    let applied = Instant::now();
    for edge in [1, 2] {
        let mut number = 0;
        // A path of its own each time: what is stored is not in question here.
        wait_until("the new origin", IN_FORCE_MAX, || {
            number += 1;
            get(cdn.edge(edge), HOST, &format!("/who.txt?{edge}-{number}")).text() == "new\n"
        });
    }
    assert!(applied.elapsed() <= IN_FORCE_MAX * 2, "{:?}", applied.elapsed());
    assert!(download.try_wait().unwrap().is_none(), "the download was to be running still; make it longer");
    assert_eq!(end_of(&mut download, "the download", Duration::from_secs(30)), 0);
    assert_eq!(std::fs::read(kept.path()).unwrap(), vec![7; DOWNLOAD_BYTES]);
}

#[test]
fn a_running_download_is_not_mixed_with_what_the_site_moves_to() {
    let (old, new) = (Nginx::start(), Nginx::start());
    let time = std::time::SystemTime::now();
    // nginx makes the entity tag of length and time; to have another one is what makes it another version.
    for (origin, fill, time) in [(&old, 7, time - Duration::from_secs(60)), (&new, 8, time)] {
        origin.put_as_of("/big.bin", &vec![fill; DOWNLOAD_BYTES], time);
        origin.put("/who.txt", &[fill]);
    }
    let cdn = Cdn::start(&[]);
    cdn.skerry(&["site", "apply", &cdn.file("before.toml", &site(&old))]).fine();
    wait_until("the site", IN_FORCE_MAX, || get(cdn.edge(1), HOST, "/who.txt?0").body == [7]);
    let kept = tempfile::NamedTempFile::new().unwrap();
    let mut download = Command::new("curl")
        .args(["--silent", "--fail", "--limit-rate", "5M", "--header", &format!("Host: {HOST}"), "--output"])
        .arg(kept.path())
        .arg(format!("http://{}/big.bin", cdn.edge(1)))
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the download to run", IN_FORCE_MAX * 5, || kept.path().metadata().is_ok_and(|file| file.len() > 0));
    cdn.skerry(&["site", "apply", &cdn.file("after.toml", &site(&new))]).fine();
    let mut number = 0;
    wait_until("the new origin", IN_FORCE_MAX * 2, || {
        number += 1;
        get(cdn.edge(1), HOST, &format!("/who.txt?{number}")).body == [8]
    });
    assert!(download.try_wait().unwrap().is_none(), "the download was to be running still; make it longer");
    let code = end_of(&mut download, "the download", Duration::from_secs(30));
    let came = std::fs::read(kept.path()).unwrap();
    assert!(came.iter().all(|byte| *byte == 7), "another version after {} bytes", came.iter().take_while(|byte| **byte == 7).count());
    assert_eq!(code == 0, came.len() == DOWNLOAD_BYTES, "curl ends with {code} after {} bytes", came.len());
    assert!(came.len() < DOWNLOAD_BYTES, "what nobody had read was not fetched any more");
    // The next reader gets what the site has, whole.
    let got = get(cdn.edge(1), HOST, "/big.bin");
    assert!(got.body.len() == DOWNLOAD_BYTES && got.body.iter().all(|byte| *byte == 8), "{}", got.body.len());
}

#[test]
fn a_site_is_shown_rolled_back_and_deleted() {
    let (one, two) = (Nginx::start(), Nginx::start());
    let cdn = Cdn::start(&[]);
    for origin in [&one, &two] {
        cdn.skerry(&["site", "apply", &cdn.file("site.toml", &site(origin))]).fine();
    }
    assert!(cdn.skerry(&["site", "show", "shop"]).fine().stdout.contains(&two.url()));
    assert!(cdn.skerry(&["site", "show", "shop", "--version", "1"]).fine().stdout.contains(&one.url()));
    assert_eq!(cdn.json(&["site", "history", "shop"])["versions"].as_array().unwrap().len(), 2);
    cdn.skerry(&["site", "rollback", "shop", "1", "--reason", "the new origin is slow"]).fine();
    assert!(cdn.skerry(&["site", "history", "shop"]).fine().stdout.contains("the new origin is slow"));
    assert!(cdn.skerry(&["site", "show", "shop"]).fine().stdout.contains(&one.url()));
    assert!(cdn.skerry(&["site", "list"]).fine().stdout.contains(HOST));

    let stale = cdn.skerry(&["site", "apply", &cdn.file("site.toml", &site(&two)), "--if-version", "1"]);
    assert_eq!(stale.code, 1, "{stale:?}");
    cdn.skerry(&["site", "delete", "shop"]).fine();
    assert!(cdn.skerry(&["site", "show", "shop"]).refused(1).contains("shop"));
}

#[test]
fn who_waits_for_a_deletion_is_told_when_no_node_serves_the_site() {
    let origin = Nginx::start();
    origin.put("/who.txt", b"shop");
    let cdn = Cdn::start(&[]);
    let apply = || cdn.skerry(&["site", "apply", &cdn.file("site.toml", &site(&origin)), "--wait"]).fine();
    // What was stored is answered as long as it is fresh, by the site that has every other host; something new has to be asked for.
    let mut number = 0;
    let mut serves = || {
        number += 1;
        [1, 2].map(|edge| get(cdn.edge(edge), HOST, &format!("/who.txt?{number}")).body == b"shop")
    };
    for now in [None, Some("--now")] {
        apply();
        assert_eq!(serves(), [true, true]);
        let delete = ["site", "delete", "shop", "--wait"].into_iter().chain(now);
        let told = cdn.skerry(&delete.collect::<Vec<_>>()).fine().stdout;
        assert_eq!(serves(), [false, false], "{told}");
    }
    apply();
    let late = cdn.skerry(&["site", "delete", "shop", "--wait", "1ms"]);
    let says = late.refused(1);
    assert!(says.contains("has left DNS") && says.contains("1ms"), "{says}");
}
