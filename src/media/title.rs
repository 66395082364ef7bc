//! What a title may look like, whatever the disk holds.

/// The longest title, in bytes: the limit of the wire's TITLE option.
pub(super) const LONGEST: usize = 255;

/// How the name of a directory ends that is one title in several bitrates.
const RENDITIONS: &str = ".renditions";

/// How the names of files end that a player has not finished: the media so far, its record, and a
/// draft of that.
const UNFINISHED: [&str; 3] = [".part", ".part.json", ".part.json~"];

/// Whether `title` can be one: a relative path without empty, `.` or `..` parts, without hidden
/// files and directories, and not a single file of a title in several bitrates, nor one that a
/// player has not finished. Whether it exists is for the file system to say, which compares as it
/// always does: by case, byte for byte.
pub fn is_title(title: &str) -> bool {
    let folder = title.rsplit_once('/').map_or("", |(folder, _)| folder);
    title.len() <= LONGEST
        && !title.contains('\0')
        && title.split('/').all(|part| !part.is_empty() && !part.starts_with('.'))
        && !folder.split('/').any(is_renditions)
        && !UNFINISHED.iter().any(|end| title.ends_with(end))
}

/// Whether a directory of this name is a title in several bitrates.
pub(super) fn is_renditions(name: &str) -> bool {
    name.ends_with(RENDITIONS)
}

/// The bitrate, in bit/s, that the file `<bitrate>.<extension>` is meant for. A file that is
/// still on its way in, like `500000.mp4.part`, is not a rendition.
pub(super) fn bitrate(name: &str) -> Option<u32> {
    let (digits, extension) = name.split_once('.')?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let complete = !extension.is_empty() && !extension.contains('.');
    let bitrate = digits.parse().ok()?;
    (plain && complete && bitrate > 0).then_some(bitrate)
}

/// The IANA media type that goes with the extension of `name`.
pub(super) fn media_type(name: &str) -> &'static str {
    match mime_guess::from_path(name).first_raw() {
        // The name that is registered, and that players know.
        Some("video/vnd.dlna.mpeg-tts") => "video/mp2t",
        known => known.unwrap_or("application/octet-stream"),
    }
}

/// Whether something of this media type is for playing.
pub(super) fn is_playable(media_type: &str) -> bool {
    media_type.starts_with("audio/") || media_type.starts_with("video/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles() {
        for title in ["a", "a.mp4", "a/b/c.mp4", "Ünï/日本.webm", "a\\b", "a b\n", "x.renditions"]
        {
            assert!(is_title(title), "{title:?}");
        }
        assert!(is_title(&"x".repeat(255)));
        let wrong =
            ["", "/", "/a", "a/", "a//b", ".", "..", "./a", "a/..", "a/../b", ".a", "a/.b/c"];
        for title in wrong.into_iter().chain(["a\0", ".renditions", "a.renditions/500.mp4"]) {
            assert!(!is_title(title), "{title:?}");
        }
        assert!(!is_title(&"x".repeat(256)));
    }

    #[test]
    fn what_a_player_has_not_finished_is_no_title() {
        for name in ["a.mp4.part", "b/a.part", "a.mp4.part.json", "a.mp4.part.json~"] {
            assert!(!is_title(name), "{name}");
        }
        for name in ["a.part.mp4", "a.json", "part", "apart", "a.part/b.mp4"] {
            assert!(is_title(name), "{name}");
        }
    }

    #[test]
    fn bitrates() {
        assert_eq!(bitrate("500000.mp4"), Some(500_000));
        assert_eq!(bitrate("4294967295.webm"), Some(u32::MAX));
        let wrong = ["500000", "500000.", "0.mp4", "-1.mp4", "+1.mp4", "1e3.mp4", "4294967296.mp4"];
        for name in wrong.into_iter().chain([".mp4", "500000.mp4.part", "high.mp4", ".500.mp4"]) {
            assert_eq!(bitrate(name), None, "{name}");
        }
    }

    #[test]
    fn media_types() {
        let types = ["a.mp4", "b/c.WEBM", "d.flac", "e"].map(media_type);
        assert_eq!(types, ["video/mp4", "video/webm", "audio/flac", "application/octet-stream"]);
        assert_eq!(types.map(is_playable), [true, true, true, false]);
    }
}
