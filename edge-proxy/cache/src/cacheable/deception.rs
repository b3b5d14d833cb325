//! Cache deception: a path that names a static file, and an answer that is somebody's page.
//!
//! An origin that ignores the end of a path answers `/account/x.css` with the page of whoever asks. A client lured there would leave its page
//! in the cache. Owns the list of extensions and of the types that give such an answer away.

use skerry_config::snapshot::Policy;

use super::Response;
use crate::control::Control;
use crate::freshness::{is_negative, media_type};
use crate::key::decoded;

/// Extensions of files that are the same for everyone, and are no documents. `json`, `xml`, `txt` and `html` may well be documents.
const STATIC: [&[u8]; 52] = [
    b"7z", b"aac", b"apk", b"avi", b"avif", b"bin", b"bmp", b"bz2", b"class", b"css", b"csv", b"dmg", b"doc", b"docx", b"ejs", b"eot",
    b"eps", b"exe", b"flac", b"gif", b"gz", b"ico", b"iso", b"jar", b"jpeg", b"jpg", b"js", b"m4a", b"map", b"mjs", b"mp3", b"mp4", b"ogg",
    b"otf", b"pdf", b"png", b"ppt", b"pptx", b"rar", b"svg", b"svgz", b"tar", b"tif", b"tiff", b"ttf", b"wasm", b"webm", b"webp", b"woff",
    b"woff2", b"zip", b"zst",
];

/// Whether the answer is a document under the name of a file, and nothing says that it is for everyone. `public`, `s-maxage` and a
/// lifetime in a targeted field are the origin's word to shared caches. An error page is a document under any path; it is kept where the
/// origin or the operator gave it a lifetime. A redirection is not shown.
pub(super) fn is_likely(path: &str, response: Response<'_>, control: &Control, policy: &Policy) -> bool {
    let status = response.status;
    let shared = control.public || control.s_maxage.is_some() || (control.targeted && control.max_age.is_some());
    let is_error = status.is_client_error() || status.is_server_error();
    if shared || status.is_redirection() || (is_error && (control.max_age.is_some() || is_negative(status, policy))) {
        return false;
    }
    let Some(media_type) = media_type(response.headers) else { return false };
    is_document(&media_type) && extensions(path).any(|extension| !may_be(&extension, &media_type))
}

fn is_document(media_type: &str) -> bool {
    matches!(media_type, "text/html" | "application/xhtml+xml" | "application/json") || media_type.ends_with("+json")
}

/// Source maps are JSON.
fn may_be(extension: &[u8], media_type: &str) -> bool {
    extension == b"map" && media_type == "application/json"
}

/// The static extensions that the end of a path shows, as sent and with its encoding undone: of what stands behind its last slash, and of
/// each piece of that between the characters at which origins cut a path.
fn extensions(path: &str) -> impl Iterator<Item = Vec<u8>> {
    let decoded = decoded(path);
    let decoded = if decoded.as_ref() == path.as_bytes() { None } else { Some(decoded.into_owned()) };
    let mut found = Vec::new();
    for path in std::iter::once(path.as_bytes()).chain(decoded.as_deref()) {
        let last = path.rsplit(|&byte| byte == b'/' || byte == b'\\').next().unwrap_or_default();
        for piece in last.split(|byte| matches!(byte, b';' | b'?' | b'#' | b'\0' | b'\n' | b'\r')) {
            // Some file systems take no notice of these at the end of a name.
            let end = piece.iter().rposition(|byte| !matches!(byte, b'.' | b' ')).map_or(0, |last| last + 1);
            let piece = &piece[..end];
            let extension = piece.iter().rposition(|&byte| byte == b'.').map(|dot| piece[dot + 1..].to_ascii_lowercase());
            found.extend(extension.filter(|extension| STATIC.contains(&extension.as_slice())));
        }
    }
    found.into_iter()
}

#[cfg(test)]
mod tests;
