//! What a process does about its memory at its start.

use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use crate::house::cdn::SOON;
use crate::house::command::binary;
use crate::house::{run, skerry, wait_until};

fn settings(data: &std::path::Path, admin: &str) -> String {
    format!(
        "role = \"edge\"\nname = \"edge-1\"\ndata = \"{}\"\npublic_addresses = [\"127.0.0.1\"]\nmemory_limit = \"256MiB\"\n\
         [control]\naddress = \"127.0.0.1:1\"\njoin_token = \"skj1.x\"\n[listen]\nhttp = [\"127.0.0.1:0\"]\nadmin = \"{admin}\"\n",
        data.display()
    )
}

#[test]
fn with_a_limit_it_starts_itself_anew_under_the_same_number_with_the_settings_of_the_allocator() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("edge.toml");
    std::fs::write(&file, settings(&place.path().join("data"), "127.0.0.1:0")).unwrap();
    let mut command = Command::new(binary());
    command.args(["edge", "--config"]).arg(&file).env("MALLOC_ARENA_MAX", "3").env_remove("MALLOC_TRIM_THRESHOLD_");
    let mut edge = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let process = std::path::PathBuf::from(format!("/proc/{}", edge.id()));
    let has = |setting: &str| {
        let environment = std::fs::read(process.join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|known| known == setting.as_bytes())
    };
    wait_until("the settings to be there, and what the operator chose", SOON, || {
        has("MALLOC_TRIM_THRESHOLD_=131072") && has("MALLOC_ARENA_MAX=3")
    });
    let words = std::fs::read(process.join("cmdline")).unwrap();
    assert!(words.ends_with(format!("edge\0--config\0{}\0", file.display()).as_bytes()), "{}", String::from_utf8_lossy(&words));
    edge.kill().unwrap();
    edge.wait().unwrap();
}

#[test]
fn settings_that_can_be_read_once_are_read_once() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let place = tempfile::tempdir().unwrap();
    let pipe = place.path().join("edge.toml");
    run(Command::new("mkfifo").arg(&pipe)).fine();
    let writing = std::thread::spawn({
        let (pipe, settings) = (pipe.clone(), settings(&place.path().join("data"), &address));
        move || std::fs::OpenOptions::new().write(true).open(pipe).unwrap().write_all(settings.as_bytes()).unwrap()
    });
    let said = skerry(&["edge", "--config", pipe.to_str().unwrap()]);
    writing.join().unwrap();
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stderr.contains(&address) && said.stderr.contains("memory_limit"), "{said:?}");
}
