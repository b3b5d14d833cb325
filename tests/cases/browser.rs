//! A page of 50 objects in a browser, over HTTP/2 and HTTP/3.

use std::process::Command;

use crate::house::command::run;
use crate::house::{Cdn, Python};

const OBJECTS: usize = 50;
const HOST: &str = "www.example.com";

/// Says how it was loaded itself, how often its objects came by which protocol, and how many of them are no pictures.
const SCRIPT: &str = r#"<script>
addEventListener("load", () => {
  const by = {};
  for (const each of performance.getEntriesByType("resource")) by[each.nextHopProtocol] = (by[each.nextHopProtocol] || 0) + 1;
  const own = performance.getEntriesByType("navigation")[0].nextHopProtocol;
  const broken = [...document.images].filter(image => !image.complete || image.naturalWidth != 8).length;
  document.body.textContent = `page by ${own}, objects ${JSON.stringify(by)}, broken ${broken}`;
});
</script>"#;

/// The hash of the public key that an edge shows for [`HOST`], as the browser is to be told whom to trust.
fn key_of(https: &str) -> String {
    let pipe = format!(
        "openssl s_client -connect {https} -servername {HOST} </dev/null 2>/dev/null | openssl x509 -pubkey -noout \
         | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | openssl base64"
    );
    run(Command::new("sh").args(["-c", &pipe])).fine().stdout.trim().to_owned()
}

/// What the page says of itself.
fn page(https: &str, key: &str, more: &str) -> String {
    let profile = tempfile::tempdir().unwrap();
    let port = https.rsplit_once(':').unwrap().1;
    let mut browser = Command::new("chromium");
    browser.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server", "--dump-dom"]);
    browser.arg(format!("--user-data-dir={}", profile.path().display())).arg(more);
    browser.arg(format!("--host-resolver-rules=MAP {HOST} 127.0.0.1")).arg(format!("--ignore-certificate-errors-spki-list={key}"));
    let said = run(browser.arg(format!("https://{HOST}:{port}/page.html")));
    said.stdout.split_once("<body>").and_then(|(_, rest)| rest.split_once("</body>")).unwrap_or_else(|| panic!("{said:?}")).0.to_owned()
}

#[test]
fn a_page_of_many_objects_is_whole_over_http2_and_http3() {
    let origin = Python::start();
    let images: String = (0..OBJECTS).map(|number| format!("<img src=\"/{number}.svg\">")).collect();
    origin.put("/page.html", format!("<!doctype html><body>{images}{SCRIPT}").as_bytes());
    for number in 0..OBJECTS {
        origin.put(&format!("/{number}.svg"), b"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"8\" height=\"8\"></svg>");
    }
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    let https = cdn.at("/edges/0/https");
    let key = key_of(https);
    let quic = format!("--origin-to-force-quic-on={HOST}:{}", https.rsplit_once(':').unwrap().1);
    // Misses, then hits.
    for (protocol, more) in [("h2", "--disable-quic"), ("h3", quic.as_str()), ("h2", "--disable-quic"), ("h3", quic.as_str())] {
        let expected = format!("page by {protocol}, objects {{\"{protocol}\":{OBJECTS}}}, broken 0");
        assert_eq!(page(https, &key, more), expected);
    }
}
