//! Plans that are shipped, and ones that cannot be run.

use super::*;

fn read(text: &str) -> Result<Plan, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("plan.toml");
    std::fs::write(&path, text).expect("written");
    Plan::read(&path)
}

#[test]
fn every_plan_that_is_shipped_is_one() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).expect("plans") {
        let path = entry.expect("a plan").path();
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
        if ["nodes", "nodes-sites", "steering", "soak"].contains(&name.as_str())
            || path.extension().is_none_or(|extension| extension != "toml")
        {
            continue;
        }
        let plan = Plan::read(&path).unwrap_or_else(|why| panic!("{why}"));
        // The same scenario in another house has a name that goes on.
        assert!(name.starts_with(plan.scenario.name()), "{name}");
        names.push(name);
    }
    names.sort();
    assert_eq!(
        names,
        ["download", "herd", "herd-large", "hit", "live", "miss", "miss-direct", "mixed", "purge-storm", "slow-clients", "slow-origin"]
    );
}

#[test]
fn a_plan_that_cannot_be_run_says_why() {
    let hit = "scenario = \"hit\"\nwhat = \"Hits.\"\n";
    for (text, said) in [
        ("scenario = \"hit\"".to_owned(), "missing field `what`"),
        ("scenario = \"hits\"\nwhat = \"x\"".to_owned(), "unknown variant `hits`"),
        (format!("{hit}speed = 3"), "unknown field `speed`"),
        (format!("{hit}[load]\nconections = 3"), "unknown field `conections`"),
        (format!("{hit}[load]\nconnections = 0"), "load.connections = 0 is not between 1 and 10000"),
        (format!("{hit}[load]\nseconds = -1"), "load.seconds = -1 is not above 0"),
        (format!("{hit}[load]\nseconds = nan"), "load.seconds = NaN is not above 0"),
        (format!("{hit}[load]\nprotocol = \"h4\""), "`h4` is none of h1, h2 and h3"),
        (format!("{hit}[load]\nstreams = 2"), "HTTP/1.1 has 1 on a connection"),
        (format!("{hit}[load]\narrivals = \"poisson\""), "an open loop needs load.rate"),
        (format!("{hit}[load]\nrate = 5"), "load.rate is of no use in a closed loop"),
        (format!("{hit}[load]\narrivals = \"poisson\"\nrate = 2e6"), "a rate of 2000000 requests/s is not above 0 and at most 1000000"),
        (format!("{hit}[load]\narrivals = \"often\""), "\"often\" is none of closed, constant and poisson"),
        (format!("{hit}[objects]\nbytes = 0"), "objects.bytes = 0 is not between 1"),
        (format!("{hit}[objects]\nbytes = 1\nbytes_max = 2"), "objects have one of bytes, bytes_file, and"),
        (format!("{hit}[objects]\nbytes_file = \"nowhere\""), "cannot read "),
        (format!("{hit}[objects]\nranges = 1.5"), "objects.ranges = 1.5 is no share"),
        (format!("{hit}[herd]\nclients = 1\nherds = 1"), "a table [herd] is of no use for scenario = \"hit\""),
        (
            "scenario = \"slow-clients\"\nwhat = \"x\"\n[load]\nseconds = 6\n[slow]\nclients = 5\nrate = 1000\nbytes = 66000".to_owned(),
            "slow.bytes = 66000 is read in 66.0 s at slow.rate = 1000: it must be more than 66000",
        ),
        (
            "scenario = \"purge-storm\"\nwhat = \"x\"\n[load]\nseconds = 1\n[purge]\nrate = 0.5".to_owned(),
            "purge.rate: 0.5 requests/s for 1 s are not one request",
        ),
        ("scenario = \"herd\"\nwhat = \"x\"".to_owned(), "scenario = \"herd\" needs a table [herd]"),
    ] {
        let error = read(&text).expect_err(said);
        assert!(error.contains(said), "{text}: {error}");
    }
    let error = read(&format!("{hit}rounds = 0\nedges = 9")).expect_err("two faults");
    assert_eq!(error.lines().count(), 2, "{error}");
    let error = read(&format!("{hit}#{}", "-".repeat(64 << 10))).expect_err("long");
    assert!(error.ends_with("/plan.toml has more than 65536 bytes, which are the most that are read"), "{error}");
}

#[test]
fn a_load_is_told_in_words() {
    let plan = read(
        "scenario = \"hit\"\nwhat = \"Hits.\"\n[load]\nprotocol = \"h2\"\ntls = true\nstreams = 8\narrivals = \"poisson\"\nrate = 500",
    );
    let words = plan.expect("a plan").load_words();
    assert_eq!(words, "open loop, 500 requests/s, Poisson, 16 connections of 8 streams, HTTP/2 over TLS 1.3, 3 rounds of 4 s");
}

#[test]
fn what_a_plan_asks_is_every_setting_of_its_load_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let asked = |text: &str| {
        let plan: Plan = toml::from_str(&format!("scenario = \"hit\"\n{text}")).expect("a plan");
        plan.asked(folder.path()).expect("settings")
    };
    let plain = asked("what = \"Hits.\"");
    assert_eq!((&plain["scenario"], &plain["load.connections"], &plain["objects.bytes"]), (&"hit".into(), &16.into(), &1024.into()));
    let bound = "[[bounds]]\nfigure = \"cpu_us\"\nagainst = \"nginx\"\nratio_max = 1";
    assert_eq!(asked(&format!("what = \"The same.\"\nrounds = 9\n[objects]\nbytes = 1024\n{bound}")), plain);
    for other in ["edges = 2", "[load]\nstreams = 2", "[objects]\nzipf = 0.5", "[origin]\ndelay_ms = 1"] {
        assert_ne!(asked(&format!("what = \"Hits.\"\n{other}")), plain, "{other}");
    }
    // A file of lengths counts by what is in it.
    let listed = |lengths: &str| {
        std::fs::write(folder.path().join("lengths"), lengths).expect("written");
        asked("what = \"Hits.\"\n[objects]\nbytes_file = \"lengths\"")
    };
    assert_eq!(listed("10 1\n"), listed("10 1\n"));
    assert_ne!(listed("10 1\n"), listed("10 2\n"));
}

#[test]
fn a_load_without_a_length_tells_none() {
    let words = |text: &str| read(&format!("{text}\nwhat = \"x\"")).expect("a plan").load_words();
    assert_eq!(words("scenario = \"herd\"\nherd = { clients = 5, herds = 2 }"), "5 clients at once, 2 times, HTTP/1.1, 3 rounds");
    let download = "scenario = \"download\"\ndownload = { clients = 3, files = 1, bytes = 10, breaks = 1 }";
    assert_eq!(words(download), "3 clients, 10 bytes each, HTTP/1.1, 3 rounds");
}

#[test]
fn a_plan_tells_how_many_files_it_opens() {
    let plan = read("scenario = \"herd\"\nwhat = \"x\"\n[herd]\nclients = 4000\nherds = 2").expect("a plan");
    assert_eq!(plan.files(), 8_000 + FILES_BESIDE);
}
