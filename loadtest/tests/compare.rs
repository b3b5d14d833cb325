//! Small plans against a whole CDN of this workspace's binary, beside nginx: what each scenario is for must show in its figures.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use skerry_loadtest::plan::Plan;
use skerry_loadtest::processor;

use crate::house::{DEADLINE_S, loadtest, said};

/// The binary beside this crate's own; a run of the whole workspace has built it.
fn skerry() -> String {
    let path = PathBuf::from(env!("CARGO_BIN_EXE_skerry-loadtest")).with_file_name("skerry");
    assert!(path.exists(), "{} is not there: cargo build --bin skerry", path.display());
    path.display().to_string()
}

/// Whether what a round of ours has further is what its plan's scenario says to have.
fn has_the_figures_of_its_scenario(plan: &Path, round: &serde_json::Value) {
    let known: Vec<&str> = Plan::read(plan).expect("a plan").scenario.figures().collect();
    let further = round["further"].as_object().expect("further figures");
    for name in further.keys() {
        assert!(known.contains(&name.as_str()), "{name} is none of {known:?}");
    }
    for name in known.iter().filter(|name| !["sent_late_p99_us", "generator_busy_percent", "server_busy_percent"].contains(name)) {
        assert!(further.contains_key(*name), "no {name} in {further:?}");
    }
}

/// Runs a plan with one round of a side, from which nothing may be concluded, so that it fails whatever it measures; the rounds of ours and of nginx, where it was asked for, and why it was not measured.
async fn compare(plan: &str, peers: &[&str]) -> (serde_json::Value, Vec<serde_json::Value>) {
    let folder = tempfile::tempdir().expect("a folder");
    let (plan_path, json) = (folder.path().join("plan.toml"), folder.path().join("out.json"));
    std::fs::write(&plan_path, format!("rounds = 1\nwhat = \"A test.\"\n{plan}")).expect("written");
    let (plan_path, json_path, binary) = (plan_path.display().to_string(), json.display().to_string(), skerry());
    let output = loadtest(&[&["compare", &plan_path, "--skerry", &binary, "--json", &json_path], peers].concat()).await;
    let (stdout, stderr) = said(&output);
    let text = std::fs::read_to_string(&json).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"));
    let results: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let sides = results["measures"][0]["sides"].as_array().expect("sides").clone();
    assert_eq!((&results["measures"][0]["plan"], &sides[0]["name"]), (&"plan".into(), &"skerry".into()));
    assert_eq!(sides[0]["rounds"].as_array().map(Vec::len), Some(1), "{sides:?}");
    has_the_figures_of_its_scenario(Path::new(&plan_path), &sides[0]["rounds"][0]);
    assert_eq!(output.status.code(), Some(1), "{stdout}{stderr}");
    assert!(stderr.contains("skerry-loadtest: plan: "), "{stderr}");
    (sides[0]["rounds"][0].clone(), sides)
}

fn further(round: &serde_json::Value, name: &str) -> f64 {
    round["further"][name].as_f64().unwrap_or_else(|| panic!("no {name} in {round}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn hits_are_hits_of_both_sides_and_cost_the_origin_nothing() {
    let plan = "scenario = \"hit\"\n[load]\nconnections = 4\nseconds = 1\n[objects]\ncount = 10\nbytes = 1024\n";
    let (ours, sides) = compare(plan, &["--peer", "nginx"]).await;
    let nginx = &sides[1]["rounds"][0];
    for round in [&ours, nginx] {
        assert_eq!(round["hits"], round["answers"], "{round}");
        assert_eq!(further(round, "origin_requests"), 0.0);
        let octets = round["answers"].as_u64().expect("a count") * 1024;
        assert_eq!(round["body_octets"], octets);
        assert!(round["memory_bytes"].as_u64() > Some(1 << 20) && round["server_s"].as_f64() > Some(0.0), "{round}");
        assert!(further(round, "generator_busy_percent") > 0.0 && further(round, "never_at_rest") == 0.0, "{round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hits_are_asked_for_over_every_protocol() {
    for (protocol, tls, streams) in [("h1", true, 1), ("h2", true, 4), ("h2", false, 4), ("h3", true, 4)] {
        let plan = format!(
            "scenario = \"hit\"\n[load]\nprotocol = \"{protocol}\"\ntls = {tls}\nstreams = {streams}\nconnections = 2\nseconds = 0.5\n\
             arrivals = \"constant\"\nrate = 100\n[objects]\ncount = 10\n"
        );
        let (ours, sides) = compare(&plan, &["--peer", "nginx"]).await;
        assert_eq!((&ours["answers"], &ours["planned"]), (&50.into(), &50.into()), "{ours}");
        if protocol == "h3" {
            assert_eq!(sides[1]["absent"], "nginx is not set up for HTTP/3 over TLS");
        } else {
            assert_eq!(sides[1]["rounds"][0]["hits"], 50, "{sides:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_miss_and_each_herd_is_one_request_of_the_origin() {
    let (ours, _) = compare("scenario = \"miss\"\n[load]\nconnections = 4\nseconds = 1\n", &[]).await;
    assert_eq!((further(&ours, "origin_requests"), &ours["hits"]), (ours["answers"].as_f64().expect("a count"), &0.into()), "{ours}");
    let herd = "scenario = \"herd\"\nedges = 2\n[objects]\nbytes = 100000\n[herd]\nclients = 50\nherds = 4\n";
    let (ours, _) = compare(herd, &[]).await;
    assert_eq!((further(&ours, "origin_requests_per_herd"), &ours["answers"]), (1.0, &200.into()), "{ours}");
    assert!(further(&ours, "first_byte_p99_over_first") >= 1.0, "{ours}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mixed_traffic_has_hits_misses_ranges_and_answers_that_nothing_has_changed() {
    let plan = "scenario = \"mixed\"\n[load]\nconnections = 8\nseconds = 2\narrivals = \"poisson\"\nrate = 200\n[objects]\ncount = 200\nzipf = 0.8\n\
                lifetime_s = 4\nbytes_median = 2000\nbytes_p99 = 100000\nbytes_max = 200000\nranges = 0.2\nconditional = 0.2\n";
    let (ours, _) = compare(plan, &[]).await;
    let (answers, hits) = (ours["answers"].as_u64().expect("a count"), ours["hits"].as_u64().expect("a count"));
    // Some objects of the plan are new, and most are not.
    assert!(hits > answers / 2 && hits < answers && further(&ours, "origin_requests") > 0.0, "{ours}");
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_of_a_live_stream_cost_the_origin_a_stream_and_see_all_of_it() {
    let plan = "scenario = \"live\"\nedges = 2\n[load]\nseconds = 4\n[live]\nviewers = 20\narrive_s = 1\nsegment_ms = 1000\nsegment_bytes = 50000\n";
    let (ours, sides) = compare(plan, &["--peer", "nginx,varnish,trafficserver"]).await;
    // The playlist moves on for all sides alike.
    for side in &sides {
        assert_eq!(side["absent"], serde_json::Value::Null, "{side}");
        let round = &side["rounds"][0];
        let segments = round["body_octets"].as_f64().expect("a count") / 50_000.0;
        // Each sees the three segments before it came, and those of three seconds.
        assert!(segments > 20.0 * 4.0, "{side}");
    }
    assert!(further(&ours, "origin_requests") < 40.0, "{ours}");
}

#[tokio::test(flavor = "multi_thread")]
async fn downloads_that_break_off_go_on_and_cost_the_origin_the_file_once() {
    let plan = "scenario = \"download\"\nedges = 2\n[download]\nclients = 6\nfiles = 2\nbytes = 3000000\nbreaks = 2\n";
    let (ours, sides) = compare(plan, &["--peer", "nginx"]).await;
    assert_eq!((&ours["answers"], &ours["body_octets"]), (&6.into(), &18_000_000.into()), "{ours}");
    assert_eq!(ours["hits"], serde_json::Value::Null, "{ours}");
    assert!(further(&ours, "origin_bytes_over_file") < 1.5, "{ours}");
    assert_eq!(sides[1]["rounds"][0]["answers"], 6, "{sides:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_purged_is_served_after_its_purge_is_confirmed() {
    let plan = "scenario = \"purge-storm\"\nedges = 2\n[load]\nconnections = 4\nseconds = 2\narrivals = \"constant\"\nrate = 100\n[objects]\ncount = 200\n\
                [purge]\nrate = 10\n";
    let (ours, sides) = compare(plan, &["--peer", "nginx"]).await;
    assert!(further(&ours, "purges") == 20.0 && further(&ours, "purge_p50_us") > 0.0, "{ours}");
    assert!(further(&ours, "origin_requests") >= further(&ours, "purges"), "{ours}");
    assert_eq!(sides[1]["absent"], "it has no purge by tag");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_origin_and_slow_clients_show_as_what_they_are() {
    let plan =
        "scenario = \"slow-origin\"\n[load]\nconnections = 32\nseconds = 1\narrivals = \"constant\"\nrate = 50\n[origin]\ndelay_ms = 150\n";
    let (ours, _) = compare(plan, &[]).await;
    assert!(ours["latency_us"]["min"].as_u64() >= Some(150_000) && ours["answers"] == 50, "{ours}");
    let plan = "scenario = \"slow-clients\"\n[load]\nconnections = 4\nseconds = 1\narrivals = \"constant\"\nrate = 100\n[objects]\ncount = 10\n\
                [slow]\nclients = 40\nrate = 8192\nbytes = 600000\n";
    let (ours, _) = compare(plan, &[]).await;
    assert_eq!((further(&ours, "slow_clients"), further(&ours, "slow_clients_cut_off"), &ours["hits"]), (40.0, 0.0, &100.into()), "{ours}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_ends_in_the_middle_fails_the_command_once_all_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let (plan, json) = (folder.path().join("dies.toml"), folder.path().join("out.json"));
    let text = "rounds = 2\nscenario = \"hit\"\nwhat = \"A test.\"\n[load]\nconnections = 8\nseconds = 4\n[objects]\ncount = 10\n";
    std::fs::write(&plan, text).expect("written");
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_skerry-loadtest"));
    command.arg("compare").arg(&plan).args(["--skerry", &skerry(), "--peer", "nginx", "--json"]).arg(&json);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().expect("it runs");
    let pid = child.id().expect("a process");
    let killing = tokio::spawn(async move {
        let mut looks = tokio::time::interval(Duration::from_millis(10));
        while !kill_busy_nginx(pid) {
            looks.tick().await;
        }
    });
    let output = tokio::time::timeout(Duration::from_secs(DEADLINE_S), child.wait_with_output()).await;
    let output = output.expect("in time").expect("it runs");
    killing.abort();
    let (stdout, stderr) = said(&output);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stdout.contains("# Side by side") && stdout.contains("- nginx failed: warm-up: "), "{stdout}{stderr}");
    assert!(stderr.contains("skerry-loadtest: dies: nginx failed: warm-up: "), "{stderr}");
    let results: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).expect("a file")).expect("JSON");
    let sides = &results["measures"][0]["sides"];
    assert_eq!((sides[0]["rounds"].as_array().map(Vec::len), sides[1]["rounds"].as_array().map(Vec::len)), (Some(2), Some(0)), "{sides}");
    assert!(sides[1]["failed"].is_string() && sides[1]["absent"].is_null(), "{sides}");
}

/// Kills the nginx that a process has started, once its worker has answered requests; whether it was there.
fn kill_busy_nginx(pid: u32) -> bool {
    let title = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let all: Vec<u32> = processor::family(pid).unwrap_or_default();
    let find = |what: &str| all.iter().copied().find(|pid| title(*pid).starts_with(what));
    let (Some(master), Some(worker)) = (find("nginx: master"), find("nginx: worker")) else { return false };
    let is_busy = processor::used(&[worker]).is_ok_and(|used| used > Duration::from_millis(50));
    // The first of them would replace the other.
    for pid in [master, worker].into_iter().filter(|_| is_busy) {
        let pid = Pid::from_raw(i32::try_from(pid).expect("a number")).expect("a process");
        kill_process(pid, Signal::KILL).expect("killed");
    }
    is_busy
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_written_takes_nothing_of_what_was_measured() {
    let folder = tempfile::tempdir().expect("a folder");
    let (plan, page) = (folder.path().join("plan.toml"), folder.path().join("page.html"));
    std::fs::write(&plan, "rounds = 1\nscenario = \"hit\"\nwhat = \"A test.\"\n[load]\nseconds = 1\n").expect("written");
    let (plan, page) = (plan.display().to_string(), page.display().to_string());
    let output = loadtest(&["compare", &plan, "--skerry", &skerry(), "--json", "/nowhere/out.json", "--html", &page]).await;
    let (stdout, stderr) = said(&output);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stdout.contains("# Side by side") && stdout.contains("## plan\n"), "{stdout}{stderr}");
    assert!(stderr.contains("cannot write /nowhere/out.json") && stderr.contains("skerry-loadtest: plan: "), "{stderr}");
    assert!(std::fs::read_to_string(page).expect("a page").contains("<h2>plan</h2>"));
}

#[tokio::test]
async fn all_that_is_wrong_with_all_plans_is_said_before_anything_is_started() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let hit = "scenario = \"hit\"\nwhat = \"A test.\"\n";
    let bound = |figure: &str, against: &str| format!("{hit}[[bounds]]\nfigure = \"{figure}\"\nagainst = \"{against}\"\nratio_max = 1\n");
    let plans = [
        write("hit.toml", hit),
        write("other/hit.toml", hit),
        write("rounds.toml", &format!("{hit}rounds = 0\nedges = 0\n[load]\nanswer_s = 0\n")),
        write("figure.toml", &bound("stalls_per_viewer", "nginx")),
        write("against.toml", &bound("cpu_us", "ngnix")),
        write("nodes.toml", include_str!("../plans/nodes.toml")),
    ];
    let plans: Vec<&str> = plans.iter().map(String::as_str).collect();
    let arguments = [&["compare", "--skerry", "/nowhere/skerry", "--peer", "nginx,nginx"], &plans[..]].concat();
    let output = loadtest(&arguments).await;
    let (stdout, stderr) = said(&output);
    assert_eq!((output.status.code(), stdout.as_str(), stderr.lines().count()), (Some(1), "", 8), "{stderr}");
    for said in [
        "/other/hit.toml is a second plan of the name hit, ",
        "/rounds.toml cannot be run: rounds = 0 is not between",
        "/rounds.toml cannot be run: edges = 0 is not between",
        "/rounds.toml cannot be run: load.answer_s = 0 is not between",
        "/figure.toml cannot be run: bounds: figure = `stalls_per_viewer` is none of hit; these are: cpu_us, ",
        "/against.toml cannot be run: bounds: against = `ngnix` is no peer; these are: nginx, varnish, trafficserver",
        "/nodes.toml is a plan of `nodes`, which has a command of its own: skerry-loadtest nodes --plan ",
        "the peer nginx is given twice",
    ] {
        assert!(stderr.contains(said), "{said}: {stderr}");
    }
    // A bound beside a peer that is not asked for is no fault: the next thing that is missing is the CDN.
    let good = write("good.toml", &bound("cpu_us", "varnish"));
    let output = loadtest(&["compare", "--skerry", "/nowhere/skerry", "--peer", "nginx", &good]).await;
    assert!(said(&output).1.contains("cannot run /nowhere/skerry"), "{}", said(&output).1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_compared_is_one_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let plan = folder.path().join("plan.toml");
    std::fs::write(&plan, "scenario = \"hit\"\nwhat = \"A test.\"\n").expect("written");
    let plan = plan.display().to_string();
    for (arguments, said_of_it) in [
        (&["--skerry", "/nowhere/skerry"][..], "cannot run /nowhere/skerry"),
        (&["--skerry", "/bin/false"], "/bin/false dev does not answer: it says nothing"),
        (&["--skerry", "/bin/false", "--seconds", "0"], "load.seconds = 0 is not above 0"),
    ] {
        let output = loadtest(&[&["compare", &plan], arguments].concat()).await;
        let stderr = said(&output).1;
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(said_of_it), "{stderr}");
    }
}
