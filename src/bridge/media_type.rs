//! What a player is told that media is.

use hyper::header::HeaderValue;

/// The type of bytes of which nothing is known.
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Types beside pictures, sound and film that no browser runs.
const HARMLESS: [&str; 6] = [
    "application/ogg",
    "application/mp4",
    "application/vnd.apple.mpegurl",
    "application/x-mpegurl",
    "text/plain",
    "text/vtt",
];

/// The Content-Type for a media type that a server names. One that a browser could run as a page
/// is none.
pub(super) fn content_type(media_type: &str) -> HeaderValue {
    let name = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let of_token = |part: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
        !part.is_empty() && part.bytes().all(plain)
    };
    let is_media = match name.split_once('/') {
        Some(("audio" | "video" | "image", kind)) => of_token(kind) && !kind.contains("xml"),
        _ => HARMLESS.contains(&&*name),
    };
    if is_media { HeaderValue::from_str(&name).unwrap_or(BYTES) } else { BYTES }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_browser_runs_is_named() {
        for (named, told) in [
            ("video/mp4", "video/mp4"),
            ("VIDEO/mp2t", "video/mp2t"),
            ("audio/ogg; codecs=opus", "audio/ogg"),
            ("image/png", "image/png"),
            ("text/vtt", "text/vtt"),
            ("text/html", "application/octet-stream"),
            ("image/svg+xml", "application/octet-stream"),
            ("application/javascript", "application/octet-stream"),
            ("video/mp4\r\nSet-Cookie: a=b", "application/octet-stream"),
            ("video/<script>", "application/octet-stream"),
            ("video/", "application/octet-stream"),
            ("video", "application/octet-stream"),
            ("", "application/octet-stream"),
        ] {
            assert_eq!(content_type(named), told, "{named:?}");
        }
    }
}
