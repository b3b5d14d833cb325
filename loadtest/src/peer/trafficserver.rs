//! Apache Traffic Server: one process, with what is asked for often in memory and all of it in a file.

use super::{Make, Member, Order, Prepared, Workers, cores, free_addresses};

/// Where it finds all others, below its folder.
const LAYOUT: &str = "runroot.yaml";

/// What it says when it answers. Before, whoever answers at its address is somebody else.
const READY: &str = "Traffic Server is fully initialized";

pub(super) const MAKE: Make = Make {
    name: "trafficserver",
    package: "trafficserver",
    program: "/usr/bin/traffic_server",
    version_argument: "--version",
    // Traffic Server 9.2.9 Apr  4 2026 14:52:39 localhost
    version: |said| Some(said.split_once("Traffic Server ")?.1.split_whitespace().next()?.to_owned()),
    prepare,
    says_nothing: &[],
    is_complete: |_, log| log.contains(READY),
    counts: |_: &Member| true,
};

fn prepare(order: &Order<'_>) -> Result<Prepared, String> {
    let [address] = free_addresses()?;
    let (host, port) = (&order.origin.host, order.origin.port);
    let files = vec![
        (LAYOUT, layout(order)),
        ("records.config", records(address, order.workers)),
        // As large as nginx's, in a file that takes of it what it needs.
        ("storage.config", "store 1G\n".to_owned()),
        ("remap.config", format!("map / http://{host}:{port}/\n")),
        ("plugin.config", format!("header_rewrite.so {HEADERS}\n")),
        (HEADERS, HEADER_RULES.to_owned()),
        // Without this file it lets nobody in.
        ("ip_allow.yaml", "ip_allow:\n  - {apply: in, ip_addrs: 127.0.0.0/8, action: allow, methods: ALL}\n".to_owned()),
    ];
    std::fs::create_dir(order.folder.join("store")).map_err(|error| format!("cannot make its store: {error}"))?;
    let arguments = vec![format!("--run-root={}", order.folder.join(LAYOUT).display())];
    Ok(Prepared { files, arguments, address, secure: None, cleartext_h2: None, authority: None })
}

/// The file of the rules for header fields, below its folder.
const HEADERS: &str = "headers.config";

const HEADER_RULES: &str = "# An answer has one variant, as with nginx, which does not look at this.
cond %{READ_RESPONSE_HDR_HOOK}
rm-header Vary
# Tells the generator what was a hit. What comes from the origin is kept with this, and says otherwise when it comes from the cache.
set-header X-Cache-Status MISS
cond %{SEND_RESPONSE_HDR_HOOK}
cond %{CACHE} =\"hit-fresh\"
set-header X-Cache-Status HIT
";

/// All that it reads and writes is below the folder, but its plugins.
fn layout(order: &Order<'_>) -> String {
    let folder = order.folder.display().to_string();
    let own = ["prefix", "sysconfdir", "datadir", "localstatedir", "runtimedir", "logdir", "cachedir"];
    let own: String = own.iter().map(|name| format!("{name}: {folder:?}\n")).collect();
    format!(
        "{own}exec_prefix: /usr
bindir: /usr/bin
sbindir: /usr/sbin
libdir: /usr/lib/trafficserver
libexecdir: /usr/lib/trafficserver/modules
"
    )
}

/// A caching proxy as its manual has it; each line that is not the default has its reason beside it. Connections to the origin are kept, and
/// answers handed on while they come, both by default.
fn records(address: std::net::SocketAddr, workers: Workers) -> String {
    let threads = match workers {
        Workers::OnePerCore => cores(),
        Workers::One => 1,
    };
    let (ip, port) = (address.ip(), address.port());
    let mut text = format!(
        "CONFIG proxy.config.http.server_ports STRING {port}:ip-in={ip}
# It stays the user that started it: another one could not look into the folder.
CONFIG proxy.config.admin.user_id STRING #-1
# No second process that waits for a crash to write of.
CONFIG proxy.config.crash_log_helper STRING NULL
# One thread for each core that it may use; by itself it starts one and a half.
CONFIG proxy.config.exec_thread.autoconfig INT 0
CONFIG proxy.config.exec_thread.limit INT {threads}
# It answers when there is a cache to answer from.
CONFIG proxy.config.http.wait_for_cache INT 1
# Neither side logs requests, so the work of logging is compared with nothing.
CONFIG proxy.config.log.logging_enabled INT 0
# All that is stored has room in memory; by itself it takes 1 MB for each GB of disk.
CONFIG proxy.config.cache.ram_cache.size INT 1G
# What is kept, and for how long, is what the origin says, as with ours; nothing is kept where it gives no lifetime.
CONFIG proxy.config.http.cache.required_headers INT 2
# Misses of one object are collapsed, as ours are: who cannot write the object reads it again, every 10 ms for 60 s, as long as nginx waits.
CONFIG proxy.config.http.cache.open_write_fail_action INT 5
CONFIG proxy.config.http.cache.open_read_retry_time INT 10
CONFIG proxy.config.http.cache.max_open_read_retries INT 6000
# What reading an object while it is written needs, by the manual: the one that fetches it goes on when its client has gone.
CONFIG proxy.config.http.background_fill_active_timeout INT 0
CONFIG proxy.config.http.background_fill_completed_threshold FLOAT 0.0
# The origin is asked for the host that the client has asked for, as by the others. That makes it part of the key, of which there is one.
CONFIG proxy.config.url_remap.pristine_host_hdr INT 1
"
    );
    // What it has to say goes to where it is looked for, and not to the log of the system.
    for severity in ["status", "note", "warning", "error", "fatal", "alert", "emergency"] {
        text += &format!("CONFIG proxy.config.diags.output.{severity} STRING E\n");
    }
    text
}
