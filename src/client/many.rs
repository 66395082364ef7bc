//! Several titles at once: which they are, and where each belongs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use globset::GlobBuilder;
use serde::Serialize;
use tracing::warn;

use super::link::nearest;
use super::sink::relative_path;
use super::{Error, PlayEvent, Title};

/// What happened to one of several titles. Serializes to the event, and the title as `of`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct TitleEvent {
    #[serde(flatten)]
    pub(crate) event: PlayEvent,
    /// The title.
    pub(crate) of: String,
}

/// The titles that these patterns mean, in the order of the patterns and then of the titles; all
/// where there is none. A title that is spelled exactly so comes before those that match. A broadcast
/// that is still to begin is left out where others match, too.
///
/// # Errors
/// A pattern means nothing, or no title.
pub(crate) fn select(titles: &[Title], patterns: &[String]) -> Result<Vec<String>, Error> {
    let mut selected: Vec<String> = Vec::new();
    if patterns.is_empty() {
        selected.extend(begun(titles.iter().collect()).iter().map(|title| title.title.clone()));
        if selected.is_empty() {
            return Err(Error::TitleNeeded(Vec::new()));
        }
    }
    for pattern in patterns {
        let matching: Vec<_> = match titles.iter().find(|title| title.title == *pattern) {
            Some(exact) => vec![exact],
            None => {
                let glob = GlobBuilder::new(pattern).literal_separator(true).build();
                let glob = glob.map_err(|error| Error::Pattern(error.to_string()))?;
                let glob = glob.compile_matcher();
                begun(titles.iter().filter(|title| glob.is_match(&title.title)).collect())
            }
        };
        if matching.is_empty() {
            let nearest = nearest(pattern, titles);
            return Err(Error::NoSuchTitle { title: pattern.clone(), nearest });
        }
        for title in matching {
            if !selected.contains(&title.title) {
                selected.push(title.title.clone());
            }
        }
    }
    Ok(selected)
}

/// Those of which there is something to be fetched; all, where there is nothing of any.
fn begun(titles: Vec<&Title>) -> Vec<&Title> {
    let has_begun =
        |title: &&Title| !title.live || title.since.is_some() || title.bitrate.is_some();
    let (begun, waiting): (Vec<_>, Vec<_>) = titles.iter().copied().partition(has_begun);
    if begun.is_empty() {
        return titles;
    }
    for title in waiting {
        warn!("{} is left out: its broadcast has not begun", title.title);
    }
    begun
}

/// Where each of these titles belongs below a directory.
///
/// # Errors
/// Two of them would be one file, or one the directory of another.
pub(crate) fn destination(directory: &Path, titles: &[String]) -> Result<Vec<PathBuf>, Error> {
    let mut taken: BTreeMap<PathBuf, &String> = BTreeMap::new();
    let mut paths = Vec::with_capacity(titles.len());
    for title in titles {
        let relative = relative_path(title);
        let path = directory.join(&relative);
        // As a file system sees it that ignores case.
        let key = PathBuf::from(relative.to_string_lossy().to_lowercase());
        let inside = taken.keys().find(|other| key.starts_with(other) || other.starts_with(&key));
        if let Some(first) = inside.and_then(|other| taken.get(other)) {
            let (first, second) = ((*first).clone(), title.clone());
            return Err(Error::OneName { first, second, path });
        }
        taken.insert(key, title);
        paths.push(path);
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(names: &[&str]) -> Vec<Title> {
        let title = |name: &&str| Title { title: (*name).to_owned(), ..Title::default() };
        names.iter().map(title).collect()
    }

    #[test]
    fn an_exact_title_comes_before_a_pattern() {
        let titles = titles(&["a.mp4", "b.mp4", "films/a.mp4", "films/x/c.mp4", "[ab].mp4"]);
        let select = |patterns: &[&str]| {
            let patterns: Vec<_> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
            select(&titles, &patterns)
        };
        assert_eq!(select(&[]).unwrap().len(), 5);
        assert_eq!(select(&["b.mp4", "a.mp4"]).unwrap(), ["b.mp4", "a.mp4"]);
        assert_eq!(select(&["[ab].mp4"]).unwrap(), ["[ab].mp4"], "as it is spelled");
        assert_eq!(select(&["{a,b}.mp4"]).unwrap(), ["a.mp4", "b.mp4"]);
        assert_eq!(select(&["films/*"]).unwrap(), ["films/a.mp4"]);
        assert_eq!(select(&["films/**"]).unwrap(), ["films/a.mp4", "films/x/c.mp4"]);
        assert_eq!(select(&["*.mp4", "a.mp4"]).unwrap(), ["a.mp4", "b.mp4", "[ab].mp4"]);
        let none = select(&["a.mp4", "c*"]).unwrap_err();
        assert!(matches!(none, Error::NoSuchTitle { .. }), "{none}");
        assert!(matches!(select(&["[a"]), Err(Error::Pattern(_))));
    }

    #[test]
    fn a_broadcast_that_has_not_begun_is_fetched_only_if_it_is_named() {
        let live = |title: &str, since| Title { live: true, since, ..titles(&[title])[0].clone() };
        let titles =
            [&titles(&["a.ts"])[..], &[live("b.ts", None), live("c.ts", Some(1))]].concat();
        let select = |patterns: &[&str], titles: &[Title]| {
            let patterns: Vec<_> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
            select(titles, &patterns).unwrap()
        };
        assert_eq!(select(&[], &titles), ["a.ts", "c.ts"]);
        assert_eq!(select(&["*.ts"], &titles), ["a.ts", "c.ts"]);
        assert_eq!(select(&["*.ts", "b.ts"], &titles), ["a.ts", "c.ts", "b.ts"]);
        assert_eq!(select(&["b*"], &titles), ["b.ts"]);
        assert_eq!(select(&[], &titles[1..2]), ["b.ts"], "the server says why it cannot be");
    }

    #[test]
    fn no_two_titles_are_one_file() {
        let paths = |titles: &[&str]| {
            let titles: Vec<_> = titles.iter().map(|&title| title.to_owned()).collect();
            destination(Path::new("out"), &titles)
        };
        assert_eq!(
            paths(&["a.mp4", "films/a.mp4", "films/.hidden"]).unwrap(),
            [Path::new("out/a.mp4"), Path::new("out/films/a.mp4"), Path::new("out/films/_hidden")]
        );
        for pair in [["a\u{7}b", "a_b"], ["A.mp4", "a.mp4"], ["a", "a/b"], ["a/b", "a"]] {
            assert!(matches!(paths(&pair), Err(Error::OneName { .. })), "{pair:?}");
        }
        assert_eq!(paths(&["../../etc/passwd"]).unwrap(), [Path::new("out/_./_./etc/passwd")]);
    }
}
