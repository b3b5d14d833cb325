//! Uploads as they go: slowed down by a slow origin, held by nobody, asked for before they are sent, refused early, cut off late.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::house::cdn::SOON;
use crate::house::{Cdn, Held, curl, wait_until};

/// The memory of a process that is in use, in KiB.
fn resident(pid: u64) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Kills the shield. A request that may not be repeated is lost on a connection of which the edge does not know yet that it has ended: this one.
fn kill_shield(cdn: &Cdn) {
    cdn.kill("shield-1");
    curl(&["--request", "POST", "--header", "Host: b.test", &format!("http://{}/", cdn.edge(1))]);
}

/// A client that speaks byte by byte.
fn client(cdn: &Cdn, more: &str) -> TcpStream {
    let mut stream = TcpStream::connect(cdn.edge(1)).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(format!("POST /up HTTP/1.1\r\nHost: a.test\r\n{more}\r\n").as_bytes()).unwrap();
    stream
}

/// Reads one head.
#[track_caller]
fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&head));
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

#[test]
fn a_stalled_origin_stalls_the_client_and_nobody_keeps_the_rest() {
    const SIZE: u64 = 200 << 20;
    let origin = Held::start();
    let cdn = Cdn::start(&["--origin", &origin.url]);
    let file = cdn.file("upload", "");
    std::fs::File::options().write(true).open(&file).unwrap().set_len(SIZE).unwrap();
    let pids = ["edge-1", "shield-1"].map(|name| cdn.process(name).0);
    for (version, more) in
        [("--http1.1", "X-Length: yes"), ("--http1.1", "Transfer-Encoding: chunked"), ("--http2-prior-knowledge", "X-Length: yes")]
    {
        let before = pids.map(resident);
        let mut command = Command::new("curl");
        command.args([
            "--silent",
            "--show-error",
            "--noproxy",
            "*",
            "--max-time",
            "50",
            version,
            "--header",
            "Host: a.test",
            "--header",
            "Expect:",
        ]);
        command.args(["--header", more, "--upload-file", &file]).arg(format!("http://{}/up", cdn.edge(1)));
        let upload = command.stdout(Stdio::piped()).spawn().unwrap();
        let (asked, mut body) = origin.next();
        // What fits into the buffers on the way goes there; then nothing moves. Two seconds are ten times what all of it would take.
        let began = Instant::now();
        let mut most = [0; 2];
        while began.elapsed() < Duration::from_secs(2) {
            for (most, (pid, before)) in most.iter_mut().zip(pids.into_iter().zip(before)) {
                *most = resident(pid).saturating_sub(before).max(*most);
            }
            std::thread::yield_now();
        }
        assert!(most.iter().all(|kib| *kib < 32 << 10), "{version} {more}: KiB more of edge and shield {most:?}");
        eprintln!("{version} {more}: KiB more of edge and shield {most:?}");
        // And then all of it comes.
        let chunked = asked.contains("transfer-encoding: chunked");
        let mut zeros = 0;
        let mut piece = vec![0; 1 << 20];
        while zeros < SIZE {
            let read = body.read(&mut piece).unwrap();
            assert!(read > 0);
            // The frames of chunks hold no zero bytes.
            zeros += piece[..read].iter().filter(|byte| **byte == 0).count() as u64;
        }
        assert!(chunked || zeros == SIZE);
        body.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nall\n").unwrap();
        let output = upload.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "all\n", "{version} {more}");
    }
}

#[test]
fn a_body_that_waits_to_be_asked_for_is_asked_for_by_the_origin() {
    let origin = Held::start();
    let cdn = Cdn::start(&["--origin", &origin.url]);
    for way in ["through the shield", "past it"] {
        let expect = "Expect: 100-continue\r\nContent-Length: 5\r\n";
        // It says so.
        let mut says = client(&cdn, expect);
        let (asked, mut at_origin) = origin.next();
        assert!(asked.contains("expect: 100-continue"), "{way}: {asked}");
        at_origin.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        assert!(head(&mut says).starts_with("HTTP/1.1 100 "), "{way}");
        says.write_all(b"hello").unwrap();
        let mut body = [0; 5];
        at_origin.read_exact(&mut body).unwrap();
        at_origin.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        assert_eq!((&body, &head(&mut says)[..13]), (b"hello", "HTTP/1.1 200 "), "{way}");
        // It refuses, and never sees a body.
        let mut refused = client(&cdn, expect);
        let (_, mut at_origin) = origin.next();
        at_origin.get_mut().write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").unwrap();
        let told = head(&mut refused);
        assert!(told.starts_with("HTTP/1.1 403 ") && told.to_ascii_lowercase().contains("connection: close"), "{way}: {told}");
        // Its connection is good for nothing more, and ends.
        at_origin.get_mut().set_read_timeout(Some(SOON)).unwrap();
        assert!(at_origin.read(&mut body).is_ok_and(|read| read == 0), "{way}");
        // It says nothing; the client does not wait for ever (RFC 9110 section 10.1.1).
        let mut ignored = client(&cdn, expect);
        let (_, mut at_origin) = origin.next();
        ignored.write_all(b"hello").unwrap();
        at_origin.read_exact(&mut body).unwrap();
        at_origin.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        assert!(head(&mut ignored).starts_with("HTTP/1.1 200 "), "{way}");
        if way == "through the shield" {
            kill_shield(&cdn);
        }
    }
}

#[test]
fn an_early_answer_ends_the_upload_soon() {
    let origin = Held::start();
    let cdn = Cdn::start(&["--origin", &origin.url]);
    let mut stream = client(&cdn, "Content-Length: 1000000\r\n");
    stream.write_all(&[b'a'; 1000]).unwrap();
    let (_, mut at_origin) = origin.next();
    at_origin.get_mut().write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno\n").unwrap();
    let began = Instant::now();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.ends_with("no\n"), "{answer}");
    // It was a minute before.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    wait_until("the end at the origin", SOON, || at_origin.read(&mut [0; 4096]).is_ok_and(|read| read == 0));
}

#[test]
fn an_origin_that_dies_in_an_upload_is_a_502() {
    let origin = Held::start();
    let cdn = Cdn::start(&["--origin", &origin.url]);
    for way in ["through the shield", "past it"] {
        let mut stream = client(&cdn, "Content-Length: 1000000\r\n");
        stream.write_all(&[b'a'; 1000]).unwrap();
        drop(origin.next());
        let told = head(&mut stream);
        assert!(told.starts_with("HTTP/1.1 502 "), "{way}: {told}");
        if way == "through the shield" {
            kill_shield(&cdn);
        }
    }
}

#[test]
fn a_client_that_leaves_in_an_upload_is_no_failure_of_the_origin() {
    let origin = Held::start();
    let cdn = Cdn::start(&["--origin", &origin.url]);
    let mut stream = client(&cdn, "Content-Length: 1000000\r\n");
    stream.write_all(&[b'a'; 1000]).unwrap();
    let _at_origin = origin.next();
    drop(stream);
    let figures = || curl(&[&format!("{}/metrics", cdn.at("/edges/0/admin"))]).text();
    wait_until("the count", SOON, || figures().contains("skerry_edge_requests_total{cache=\"error\","));
    assert!(figures().contains("skerry_edge_requests_total{cache=\"error\",status=\"4xx\"} 1\n"), "{}", figures());
}

#[test]
fn a_client_that_stops_sending_is_told_so() {
    let origin = Held::start();
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("site.toml");
    let times = "[pass]\nrequest_idle_timeout = \"2s\"";
    std::fs::write(&file, format!("name = \"default\"\nhosts = [\"*\"]\n[origin]\nurls = [\"{}\"]\n{times}\n", origin.url)).unwrap();
    let cdn = Cdn::start(&["--site", file.to_str().unwrap()]);
    let mut stream = client(&cdn, "Content-Length: 1000000\r\n");
    stream.write_all(&[b'a'; 1000]).unwrap();
    let (_, _at_origin) = origin.next();
    let told = head(&mut stream);
    assert!(told.starts_with("HTTP/1.1 408 "), "{told}");
}

#[test]
fn a_body_above_the_limit_is_refused_whether_its_length_was_told_or_not() {
    let origin = Held::start();
    let mut cdn = Cdn::start(&["--origin", &origin.url]);
    let (_, config) = cdn.process("edge-1");
    cdn.kill("edge-1");
    let settings = std::fs::read_to_string(&config).unwrap();
    assert_eq!(settings.matches("\nbody = \"1GiB\"\n").count(), 1, "{settings}");
    std::fs::write(&config, settings.replace("\nbody = \"1GiB\"\n", "\nbody = \"1MiB\"\n")).unwrap();
    cdn.start_again("edge-1");
    let file = cdn.file("upload", &"a".repeat(4 << 20));
    let url = format!("http://{}/up", cdn.edge(1));
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        for more in ["X-Length: yes", "Transfer-Encoding: chunked"] {
            let got = curl(&[
                version,
                "--header",
                "Host: a.test",
                "--header",
                "Expect:",
                "--header",
                more,
                "--data-binary",
                &format!("@{file}"),
                &url,
            ]);
            assert_eq!(got.status, 413, "{version} {more}: {got:?}");
        }
    }
}
