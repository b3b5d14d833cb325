//! Varnish, with its storage in memory.
//!
//! A manager compiles the configuration with the C compiler, then starts one child that does all the work and ends when its manager does.

use super::{Make, Member, Order, Prepared, Workers, cores, free_addresses};

/// The file of its configuration, below its folder.
const VCL: &str = "peer.vcl";

/// What the child calls itself.
const CHILD: &str = "cache-main";

/// The most pools of threads that it is given; the manual finds as many enough on every machine.
const POOLS_MAX: usize = 2;

pub(super) const MAKE: Make = Make {
    name: "varnish",
    package: "varnish",
    program: "/usr/sbin/varnishd",
    version_argument: "-V",
    // varnishd (varnish-7.1.1 revision 7cee1c5)
    version: |said| Some(said.split_once("(varnish-")?.1.split([' ', ')']).next()?.to_owned()),
    prepare,
    says_nothing: &["(-? gives usage)"],
    is_complete: |family, _| family.iter().any(|member| member.name == CHILD),
    counts: |_: &Member| true,
};

fn prepare(order: &Order<'_>) -> Result<Prepared, String> {
    let [address] = free_addresses()?;
    let mut arguments = vec!["-F".to_owned(), "-f".to_owned(), order.folder.join(VCL).display().to_string()];
    // All that it writes is below the folder, and nobody is to command it.
    arguments.extend(["-n".to_owned(), order.folder.join("work").display().to_string()]);
    arguments.extend(["-T", "none"].map(str::to_owned));
    // It stays the user that started it: changing to another one is for root alone, and that one could not look into the folder.
    arguments.extend(["-j", "none"].map(str::to_owned));
    arguments.extend(["-a".to_owned(), address.to_string()]);
    // As much as nginx is given on disk; it takes of it what it needs.
    arguments.extend(["-s", "malloc,1g"].map(str::to_owned));
    for parameter in parameters(order.workers) {
        arguments.extend(["-p".to_owned(), parameter]);
    }
    Ok(Prepared { files: vec![(VCL, configuration(order))], arguments, address, secure: None, cleartext_h2: None, authority: None })
}

/// Each that is not the default has its reason beside it.
fn parameters(workers: Workers) -> Vec<String> {
    let pools = match workers {
        Workers::OnePerCore => cores().min(POOLS_MAX),
        Workers::One => 1,
    };
    vec![
        // The manual: more than one pool for each core costs more than it gives.
        format!("thread_pools={pools}"),
        // Threads are there before the herd is, as the manual advises for peaks: of those that come while threads are still made, 20 wait
        // and the others are turned away.
        "thread_pool_min=500".to_owned(),
        // Neither side logs requests, so the work of logging is compared with nothing.
        format!("vsl_mask={}", request_log().map(|tag| format!("-{tag}")).collect::<Vec<_>>().join(",")),
        // What is left of the log needs little; the default holds 80 MB of memory for it.
        "vsl_space=1M".to_owned(),
        // A connection that rests is not closed under the generator sooner than by nginx; the default is 5 seconds.
        "timeout_idle=75".to_owned(),
        // An answer has the lifetime that the origin gives it and none beside, and is not served after it: so it is with ours.
        "default_ttl=0".to_owned(),
        "default_grace=0".to_owned(),
        // The origin is asked for what the client asked for, and gives the body that every client gets; else it would be asked for gzip,
        // and each hit unpacked.
        "http_gzip_support=off".to_owned(),
    ]
}

/// The records that a request leaves in the log, by their tags.
fn request_log() -> impl Iterator<Item = String> {
    let messages = ["Req", "Resp", "Bereq", "Beresp"].into_iter();
    let parts = ["Method", "URL", "Protocol", "Status", "Reason", "Header", "Unset"];
    let messages = messages.flat_map(move |message| parts.map(|part| format!("{message}{part}")));
    let others = [
        "SessOpen",
        "SessClose",
        "Begin",
        "End",
        "Link",
        "Timestamp",
        "ReqStart",
        "VCL_call",
        "VCL_return",
        "VCL_use",
        "Hit",
        "HitMiss",
        "TTL",
        "Filters",
        "Storage",
        "Fetch_Body",
        "Length",
        "BackendOpen",
        "BackendReuse",
        "BackendClose",
        "BackendStart",
        "ReqAcct",
        "BereqAcct",
    ];
    messages.chain(others.map(str::to_owned))
}

/// A caching proxy as its manual and most operators have it. Misses of one object are collapsed, connections to the origin kept, and answers
/// handed on while they come, all by default; each line has the reason why it is not left to the default beside it.
fn configuration(order: &Order<'_>) -> String {
    // A name is looked up without the brackets that an address of IPv6 has in a URL.
    let (host, port) = (order.origin.host.trim_matches(['[', ']']), order.origin.port);
    format!(
        "vcl 4.1;
backend origin {{
    .host = \"{host}\";
    .port = \"{port}\";
}}
sub vcl_recv {{
    # Cookies and credentials of a request do not keep it from the cache: they do not with nginx either.
    if (req.method == \"GET\" || req.method == \"HEAD\") {{
        return (hash);
    }}
}}
sub vcl_hash {{
    # Path and query alone are the key, as nginx's is its $request_uri.
    hash_data(req.url);
    return (lookup);
}}
sub vcl_backend_response {{
    # Nor do these parts of an answer.
    unset beresp.http.Set-Cookie;
    unset beresp.http.Vary;
    # What is kept, and for how long, is what the origin says, as with ours: it has read that into the lifetime by itself, which is nought
    # where the origin says nothing.
    if (beresp.status != 200 || beresp.ttl <= 0s || beresp.http.Cache-Control ~ \"(?i)no-cache|no-store|private\") {{
        # For two minutes nobody waits in line for what is not kept: what it does by itself with what may not be.
        set beresp.ttl = 120s;
        set beresp.uncacheable = true;
    }}
    return (deliver);
}}
sub vcl_deliver {{
    # Tells the generator what was a hit.
    if (obj.hits > 0) {{
        set resp.http.X-Cache-Status = \"HIT\";
    }} else {{
        set resp.http.X-Cache-Status = \"MISS\";
    }}
}}
"
    )
}
