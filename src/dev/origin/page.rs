//! The page: HTML, a style sheet, a drawing and a picture.

use bytes::Bytes;
use http::{Request, StatusCode};

use super::answer::{self, Answer, Said};

const MODIFIED: &str = "Mon, 01 Jan 2024 00:00:00 GMT";

const HTML: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Skerry sample origin</title>
<link rel="stylesheet" href="/style.css">
<img src="/skerry.svg" alt="A skerry with a light on it" width="240" height="160">
<h1>It answers</h1>
<p>This page came through an edge. Ask for it twice and look at <code>Cache-Status</code>.</p>
<img src="/bars.png" alt="Bars of grey" width="128" height="64">
<ul>
<li><a href="/api/version">/api/version</a>: JSON that is fresh for two seconds; POST raises the version</li>
<li><a href="/files/100mb.bin">/files/100mb.bin</a>: 100 MB, with ranges; /files/N.bin: N bytes</li>
<li><a href="/live/index.m3u8">/live/index.m3u8</a>: live HLS, a segment every two seconds</li>
<li>/echo: POST something; /ws: a WebSocket that repeats what it hears</li>
<li><a href="/stats">/stats</a>: what the origin was asked for</li>
</ul>
</html>
"#;

const CSS: &str = "body{font:1.1em/1.5 system-ui,sans-serif;max-width:40em;margin:3em auto;padding:0 1em;color:#123}
a{color:#06c}code{background:#eef;padding:0 .3em}img{display:block;margin:1em 0}\n";

const SVG: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 240 160"><rect width="240" height="160" fill="#cde"/>
<path d="M0 120h240v40H0z" fill="#368"/><path d="M60 124q20-40 60-44t70 44z" fill="#544"/>
<path d="M126 82l4-40h12l4 42z" fill="#fff"/><circle cx="136" cy="36" r="7" fill="#fc3"/></svg>
"##;

/// The width and height of the picture, in pixels.
const PICTURE: (usize, usize) = (128, 64);

/// Answers one of the four.
pub(super) fn respond<B>(request: &Request<B>, path: &str) -> Answer {
    let (kind, cache, tags, etag, body) = match path {
        "/style.css" => ("text/css", "public, max-age=86400", "page, assets", "\"style-1\"", Bytes::from_static(CSS.as_bytes())),
        "/skerry.svg" => ("image/svg+xml", "public, max-age=86400", "images", "\"skerry-1\"", Bytes::from_static(SVG.as_bytes())),
        "/bars.png" => ("image/png", "public, max-age=86400", "images", "\"bars-1\"", picture()),
        _ => {
            let cache = "public, max-age=60, stale-while-revalidate=30, stale-if-error=600";
            ("text/html; charset=utf-8", cache, "page, home", "\"home-1\"", Bytes::from_static(HTML.as_bytes()))
        }
    };
    let said = Said { kind, cache, tags, modified: MODIFIED };
    answer::representation(request, said, etag, body.len() as u64, |range| {
        let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        answer::whole(StatusCode::OK, body.slice(index(range.start)..index(range.end)))
    })
}

/// A grey picture as PNG, its pixels in one stored deflate block: nothing to compress with is needed.
fn picture() -> Bytes {
    let (width, height) = PICTURE;
    let row = (0..width).map(|x| u8::try_from(x / 8 * 255 / (width / 8 - 1)).unwrap_or(u8::MAX));
    let row: Vec<u8> = std::iter::once(0).chain(row).collect();
    let pixels = row.repeat(height);
    let length = u16::try_from(pixels.len()).unwrap_or(u16::MAX);

    let mut zlib = vec![0x78, 0x01, 0x01];
    zlib.extend(length.to_le_bytes());
    zlib.extend((!length).to_le_bytes());
    zlib.extend(&pixels);
    zlib.extend(adler32(&pixels).to_be_bytes());

    let mut head = Vec::new();
    head.extend(u32::try_from(width).unwrap_or(0).to_be_bytes());
    head.extend(u32::try_from(height).unwrap_or(0).to_be_bytes());
    head.extend([8, 0, 0, 0, 0]);

    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in [(b"IHDR", head.as_slice()), (b"IDAT", &zlib), (b"IEND", &[])] {
        let named: Vec<u8> = kind.iter().chain(data).copied().collect();
        png.extend(u32::try_from(data.len()).unwrap_or(0).to_be_bytes());
        png.extend(&named);
        png.extend(crc32(&named).to_be_bytes());
    }
    Bytes::from(png)
}

fn adler32(bytes: &[u8]) -> u32 {
    let (a, b) = bytes.iter().fold((1, 0), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    b << 16 | a
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_the_standard_ones() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(adler32(b"Wikipedia"), 0x11E6_0398);
    }

    #[test]
    fn the_picture_fits_one_block() {
        assert!((PICTURE.0 + 1) * PICTURE.1 <= usize::from(u16::MAX));
        assert!(picture().starts_with(b"\x89PNG"));
    }
}
