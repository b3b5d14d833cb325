//! What an edge has on disk: after a stop, after a kill at any moment, after purges that it missed.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::house::cdn::SOON;
use crate::house::{Cdn, Nginx, Reply, Scripted, curl, get, skerry, wait_until};

const HOST: &str = "shop.example.com";
/// What was stored so long before a kill is to be there afterwards.
const SETTLED: Duration = Duration::from_secs(2);

/// Whether an edge has an answer without asking anyone.
fn has(cdn: &Cdn, edge: usize, path: &str) -> bool {
    let url = format!("http://{}{path}", cdn.edge(edge));
    curl(&["-H", &format!("Host: {HOST}"), "-H", "Cache-Control: only-if-cached", &url]).status == 200
}

fn serves_from_disk(cdn: &Cdn, edge: usize) -> bool {
    cdn.metric(edge, "skerry_disk_state{state=\"serving\"}") > 0.0
}

/// Waits until an edge has on disk what it has stored.
#[track_caller]
fn settled(cdn: &Cdn, edge: usize) {
    wait_until("everything to be on disk", SOON, || {
        cdn.metric(edge, "skerry_cache_filling_bytes") == 0.0
            && cdn.metric(edge, "skerry_disk_queue_bytes") == 0.0
            && cdn.metric(edge, "skerry_disk_written_total") > 0.0
    });
}

#[test]
fn a_second_run_on_the_same_data_has_its_cache() {
    let origin = Nginx::start();
    origin.put("/a.txt", b"stored\n");
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    assert_eq!(get(cdn.edge(1), HOST, "/a.txt").text(), "stored\n");
    settled(&cdn, 1);
    let (code, place) = cdn.stop("TERM");
    assert_eq!(code, 0);
    let served = origin.served("/a.txt");
    let cdn = Cdn::start_in(place, &["--origin", &origin.url()]);
    wait_until("the edge to have it again", SOON, || has(&cdn, 1, "/a.txt"));
    assert_eq!(get(cdn.edge(1), HOST, "/a.txt").text(), "stored\n");
    assert_eq!(origin.served("/a.txt"), served);
}

#[test]
fn a_purge_that_a_killed_edge_missed_holds_before_it_serves_from_disk() {
    let origin = Nginx::start();
    for path in ["/purged.txt", "/kept.txt"] {
        origin.put(path, b"old\n");
    }
    let mut cdn = Cdn::start(&["--origin", &origin.url()]);
    for path in ["/purged.txt", "/kept.txt"] {
        assert_eq!(get(cdn.edge(1), HOST, path).text(), "old\n");
    }
    settled(&cdn, 1);
    cdn.kill("edge-1");
    cdn.skerry(&["purge", "--url", &format!("http://{HOST}/purged.txt")]).fine();
    cdn.start_again("edge-1");
    wait_until("the edge to have what was not purged", SOON, || has(&cdn, 1, "/kept.txt"));
    assert!(!has(&cdn, 1, "/purged.txt"));
    // It holds when the next start is without the control plane.
    wait_until("edge-1 to follow", SOON, || cdn.follows("edge-1"));
    cdn.kill("control");
    cdn.kill("edge-1");
    cdn.start_again("edge-1");
    wait_until("the edge to serve without the control plane", SOON, || has(&cdn, 1, "/kept.txt"));
    assert!(!has(&cdn, 1, "/purged.txt"));
}

#[test]
fn a_directory_in_use_and_one_that_is_not_ours_are_refused_with_a_reason() {
    let cdn = Cdn::start(&["--edges", "2"]);
    let (pid, config) = cdn.process("edge-1");
    let text = std::fs::read_to_string(&config).unwrap();
    let refused = |change: &dyn Fn(&mut toml::Table)| {
        let mut settings: toml::Table = text.parse().unwrap();
        let data = cdn.data("edge-2-copy");
        copy(&cdn.data("edge-2"), &data);
        settings["data"] = data.to_str().unwrap().into();
        settings["name"] = "edge-2".into();
        for listener in ["http", "https", "h3"] {
            settings["listen"].as_table_mut().unwrap().insert(listener.to_owned(), toml::Value::Array(Vec::new()));
        }
        settings["listen"]["http"] = toml::Value::Array(vec!["127.0.0.1:0".into()]);
        settings["listen"]["admin"] = "127.0.0.1:0".into();
        change(&mut settings);
        let file = cdn.file("other.toml", &settings.to_string());
        skerry(&["edge", "--config", &file]).refused(1).to_owned()
    };
    let used = refused(&|_| {});
    assert!(used.contains(&format!("process {pid} has it")), "{used}");
    let foreign = cdn.data("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("letters.txt"), "dear").unwrap();
    let path = foreign.to_str().unwrap().to_owned();
    let mine = refused(&|settings| settings["disk"]["path"] = path.as_str().into());
    assert!(mine.contains("letters.txt") && mine.contains(&path), "{mine}");
    let large = cdn.data("large").to_str().unwrap().to_owned();
    let most = refused(&|settings| {
        settings["disk"]["path"] = large.as_str().into();
        settings["disk"]["size"] = "1000000TiB".into();
    });
    assert!(most.contains("its file system has"), "{most}");
}

/// An edge whose disk tier is in a file system of its own, which is full once `full` is there.
const ON_A_SMALL_DISK: &str = r#"
mount -t tmpfs -o size=80m none "$1" || exit 1
exec 3<&0
"$2" edge --config "$3" <&3 &
until [ -e "$4" ]; do sleep 0.1; done
head -c 100m /dev/zero > "$1/filler" 2>/dev/null
touch "$5"
wait
"#;

#[test]
fn a_full_disk_is_taken_out_and_memory_goes_on_alone() {
    let origin = Scripted::start(|seen| {
        let number: usize = seen.line().split(' ').nth(1).and_then(|path| path.get(1..)?.parse().ok()).unwrap_or(0);
        let mut reply = Reply::bytes(&format!(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\nETag: \"{number}\"\r\nContent-Length: {}\r\n\r\n",
            body(number).len()
        ));
        reply.bytes.extend(body(number));
        reply
    });
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    let (pid, config) = cdn.process("edge-1");
    cdn.kill("edge-1");
    assert!(!crate::house::command::is_running(pid));
    let disk = cdn.data("small-disk");
    std::fs::create_dir(&disk).unwrap();
    let mut settings: toml::Table = std::fs::read_to_string(&config).unwrap().parse().unwrap();
    settings["disk"]["path"] = disk.join("cache").to_str().unwrap().into();
    settings["disk"]["size"] = "64MiB".into();
    settings["cache"]["object_max"] = "16MiB".into();
    let file = cdn.file("small.toml", &settings.to_string());
    let (fill, filled) = (cdn.data("fill"), cdn.data("filled"));
    // A file system of its own, for whoever may not mount one as well: in a namespace.
    let mut edge = std::process::Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", ON_A_SMALL_DISK, "sh"])
        .args([disk.as_os_str(), crate::house::command::binary().as_os_str(), file.as_ref(), fill.as_os_str(), filled.as_os_str()])
        .env("SKERRY_STOP_WITH_STDIN", "1")
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("the disk to serve", SOON, || {
        assert!(edge.try_wait().unwrap().is_none(), "the edge ended");
        TcpStream::connect(cdn.edge(1)).is_ok() && serves_from_disk(&cdn, 1)
    });
    let ask = |number: usize| fetch(cdn.edge(1), &format!("/{number}"), "");
    for number in 0..8 {
        assert!(ask(number) == Some((200, Some(body(number)))), "/{number}");
    }
    settled(&cdn, 1);
    std::fs::write(&fill, "").unwrap();
    wait_until("the disk to be full", SOON, || filled.exists());
    let mut number = 8;
    wait_until("the disk to be taken out", SOON, || {
        assert!(ask(number) == Some((200, Some(body(number)))), "/{number}");
        number += 1;
        cdn.metric(1, "skerry_disk_state{state=\"out\"}") > 0.0
    });
    let last = number - 1;
    assert!(ask(last) == Some((200, Some(body(last)))));
    assert_eq!(origin.seen(&format!("/{last}")).len(), 1, "memory has it");
    drop(edge.stdin.take());
    edge.wait().unwrap();
}

/// A data directory without what a running process holds.
fn copy(from: &std::path::Path, to: &std::path::Path) {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if entry.file_type().unwrap().is_file() && name != "lock" && name != "ready.json" {
            std::fs::copy(entry.path(), to.join(name)).unwrap();
        }
    }
}

/// The body of a path: which it is, and where in it.
fn body(number: usize) -> Vec<u8> {
    let bytes = [700, 9_000, 60_000, 1_500_000][number % 4];
    (0..).flat_map(|line: usize| format!("{number} {line}\n").into_bytes()).take(bytes).collect()
}

/// One request over a connection of its own: the status, and the body if it came whole.
fn fetch(address: &str, path: &str, field: &str) -> Option<(u16, Option<Vec<u8>>)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(SOON)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {HOST}\r\n{field}Connection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    let ended = stream.read_to_end(&mut answer).is_ok();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length: Option<usize> = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
    let content = answer.split_off(end + 4);
    Some((status, (ended && length == Some(content.len())).then_some(content)))
}

/// Many clients, who know every byte that they may get.
struct Load {
    stop: Arc<AtomicBool>,
    /// When each path was answered first, of those of which the answer came whole.
    stored: Arc<Mutex<HashMap<usize, Instant>>>,
    wrong: Arc<Mutex<Vec<String>>>,
    clients: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    fn start(address: &str, next: &Arc<AtomicUsize>) -> Self {
        let mut load = Self { stop: Arc::default(), stored: Arc::default(), wrong: Arc::default(), clients: Vec::new() };
        for client in 0..3 {
            let (address, next) = (address.to_owned(), Arc::clone(next));
            let (stop, stored, wrong) = (Arc::clone(&load.stop), Arc::clone(&load.stored), Arc::clone(&load.wrong));
            load.clients.push(std::thread::spawn(move || {
                for turn in 0_usize.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let newest = next.load(Ordering::SeqCst);
                    // Mostly new ones, and again and again one from before.
                    let is_new = turn % 3 > 0;
                    let number = if is_new { next.fetch_add(1, Ordering::SeqCst) } else { (turn * 7 + client) % newest.max(1) };
                    match fetch(&address, &format!("/{number}"), "") {
                        Some((200, Some(content))) if content == body(number) => {
                            stored.lock().unwrap().entry(number).or_insert_with(Instant::now);
                        }
                        Some((200, Some(_))) => wrong.lock().unwrap().push(format!("/{number} is another")),
                        // A connection that the kill ended shows that it did not come whole.
                        Some((200, None)) | None => {}
                        Some((status, _)) => wrong.lock().unwrap().push(format!("/{number}: {status}")),
                    }
                }
            }));
        }
        load
    }

    fn end(self) -> (HashMap<usize, Instant>, Vec<String>) {
        self.stop.store(true, Ordering::SeqCst);
        self.clients.into_iter().for_each(|client| client.join().unwrap());
        (self.stored.lock().unwrap().clone(), self.wrong.lock().unwrap().clone())
    }
}

#[test]
fn killed_again_and_again_under_load_it_has_what_it_stored_and_serves_nothing_wrong() {
    let origin = Scripted::start(|seen| {
        let number: usize = seen.line().split(' ').nth(1).and_then(|path| path.get(1..)?.parse().ok()).unwrap_or(0);
        let lines = format!("Cache-Control: max-age=3600\r\nETag: \"{number}\"\r\nContent-Length: {}\r\n", body(number).len());
        let mut reply = Reply::bytes(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n"));
        reply.bytes.extend(body(number));
        reply
    });
    let mut cdn = Cdn::start(&["--origin", &origin.url()]);
    let next = Arc::new(AtomicUsize::new(0));
    let address = cdn.edge(1).to_owned();
    let mut pid = cdn.process("edge-1").0;
    let mut before: HashMap<usize, Instant> = HashMap::new();
    for round in 0..4 {
        let load = Load::start(&address, &next);
        let early = |stored: &HashMap<usize, Instant>| stored.values().filter(|at| at.elapsed() > SETTLED).count();
        // Each time at another moment.
        let enough = 30 + 7 * round;
        wait_until("enough to be stored", 2 * SOON, || early(&load.stored.lock().unwrap()) >= enough);
        crate::house::kill("KILL", pid);
        let killed = Instant::now();
        wait_until("the end of edge-1", SOON, || !crate::house::command::is_running(pid));
        let (stored, wrong) = load.end();
        assert!(wrong.is_empty(), "{wrong:?}");
        before.extend(stored);
        cdn.start_again("edge-1");
        let ready = std::fs::read_to_string(cdn.data("edge-1").join("ready.json")).unwrap();
        pid = serde_json::from_str::<serde_json::Value>(&ready).unwrap()["pid"].as_u64().unwrap();
        wait_until("the disk to serve", SOON, || serves_from_disk(&cdn, 1));
        wait_until("edge-1 to follow", SOON, || cdn.follows("edge-1"));
        let due: Vec<usize> = before.iter().filter(|(_, at)| **at + SETTLED < killed).map(|(number, _)| *number).collect();
        let mut there = 0;
        for number in &due {
            match fetch(&address, &format!("/{number}"), "Cache-Control: only-if-cached\r\n") {
                Some((200, content)) => {
                    assert!(content == Some(body(*number)), "/{number} after kill {round}");
                    there += 1;
                }
                Some((504, _)) => {}
                other => panic!("/{number}: {:?}", other.map(|(status, _)| status)),
            }
        }
        assert!(due.len() >= enough, "{} were stored early enough", due.len());
        assert!(there * 100 >= due.len() * 95, "{there} of {} are there after kill {round}", due.len());
    }
}
