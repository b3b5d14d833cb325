//! nginx with its `proxy_cache`, over cleartext, TLS 1.3 and HTTP/2.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::{HOST, Make, Member, Order, Prepared, Workers, free_addresses};

/// The file of the authority of its certificate, below its folder.
const AUTHORITY: &str = "ca.pem";

/// How the process that ends by itself calls itself.
const LOADER: &str = "cache loader";

pub(super) const MAKE: Make = Make {
    name: "nginx",
    package: "nginx",
    program: "/usr/sbin/nginx",
    version_argument: "-v",
    version: |said| said.trim().strip_prefix("nginx version: nginx/").map(str::to_owned),
    prepare,
    says_nothing: &[],
    is_complete,
    // The cache loader is none of those that work: it looks for what an earlier run left, of which there is nothing, and ends after a minute.
    counts: |member| !member.title.contains(LOADER),
};

fn prepare(order: &Order<'_>) -> Result<Prepared, String> {
    let listen = free_addresses()?;
    let [address, secure, cleartext_h2] = listen;
    let [authority, certificate, key] = certificate().map_err(|error| format!("no certificate for nginx: {error}"))?;
    let files =
        vec![("nginx.conf", configuration(listen, order)), (AUTHORITY, authority), ("certificate.pem", certificate), ("key.pem", key)];
    let folder = order.folder.display().to_string();
    let arguments = ["-p", &folder, "-c", "nginx.conf", "-e", "stderr"].map(str::to_owned).into();
    let (secure, cleartext_h2) = (Some(secure), Some(cleartext_h2));
    Ok(Prepared { files, arguments, address, secure, cleartext_h2, authority: Some(AUTHORITY) })
}

/// Whether all that it starts with are there and have the titles by which they are told apart.
fn is_complete(family: &[Member], _: &str) -> bool {
    let is_there = |what: &str| family.iter().any(|member| member.title.contains(what));
    family.iter().all(|member| member.title.starts_with("nginx: "))
        && is_there("worker process")
        && is_there("cache manager")
        && is_there(LOADER)
}

/// An authority of its own, a certificate from it for [`HOST`], and the key of that, all in PEM. Keys are on P-256, as most on the web.
fn certificate() -> Result<[String; 3], rcgen::Error> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.distinguished_name.push(DnType::CommonName, "loadtest peer CA");
    let authority_key = KeyPair::generate()?;
    let authority_pem = authority.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec![HOST.to_owned()])?.signed_by(&key, &issuer)?;
    Ok([authority_pem, certificate.pem(), key.serialize_pem()])
}

/// A caching proxy as its manual and most operators have it; each line that is not nginx's default has its reason beside it.
fn configuration([cleartext, secure, cleartext_h2]: [SocketAddr; 3], order: &Order<'_>) -> String {
    // A master that is root gives its workers another user, who could not write below the folder.
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let user = if is_root { "user root;\n" } else { "" };
    let (host, port) = (&order.origin.host, order.origin.port);
    let workers = match order.workers {
        Workers::OnePerCore => "auto",
        Workers::One => "1",
    };
    format!(
        "{user}daemon off;
# One worker for each core that it may use: what the manual advises where the processor is the bound.
worker_processes {workers};
pid nginx.pid;
events {{
    # Room for the idle connections that are measured; the default is 512.
    worker_connections 16384;
}}
http {{
    # Neither side logs requests, so the work of logging is compared with nothing.
    access_log off;
    # Bodies go from the page cache to the socket without a copy, the head in one packet with their beginning.
    sendfile on;
    tcp_nopush on;
    # A connection is not closed under the generator; the default of 1000 would measure new connections too.
    keepalive_requests 100000000;
    # The files of hot objects stay open: without it every hit opens and closes its file.
    open_file_cache max=10000 inactive=60s;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    # Files are written where they stay: moving them from one folder to another is a copy when these are different file systems.
    # What the origin gives a day is there for a day, and there is room for a million keys.
    proxy_cache_path store levels=1:2 keys_zone=store:128m max_size=1g inactive=1d use_temp_path=off;
    upstream origin {{
        server {host}:{port};
        # Connections to the origin are kept, as many as ours keeps.
        keepalive 256;
    }}
    server {{
        listen {cleartext} backlog=4096;
        listen {secure} ssl http2 backlog=4096;
        listen {cleartext_h2} http2 backlog=4096;
        ssl_certificate certificate.pem;
        ssl_certificate_key key.pem;
        # As the other side is measured: TLS 1.3 only, and the first cipher suite that the client names.
        ssl_protocols TLSv1.3;
        location / {{
            proxy_pass http://origin;
            # What keeping connections to an origin needs.
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_set_header Host $http_host;
            proxy_cache store;
            proxy_cache_key $request_uri;
            # What is kept, and for how long, is what the origin says, as with ours; nothing is kept where it says nothing.
            proxy_ignore_headers Set-Cookie Vary;
            # Misses of one object are collapsed, as ours are.
            proxy_cache_lock on;
            proxy_cache_lock_timeout 60s;
            # Tells the generator what was a hit, on every answer.
            add_header X-Cache-Status $upstream_cache_status always;
        }}
    }}
}}
"
    )
}
