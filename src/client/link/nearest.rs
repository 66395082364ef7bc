//! The titles that somebody may have meant who asked for one that is not there.

use crate::client::Title;

/// How many titles are named at most.
const NAMED: usize = 3;
/// The least likeness, 0 to 1, of a title that is named where there are many.
const LIKENESS: f64 = 0.5;

/// How many pairs of bytes are compared at most, which takes a fraction of a second: a catalogue
/// may be as long as its server likes.
const COMPARED: usize = 20_000_000;

/// The titles nearest to `wanted`, the nearest first; of a few titles all.
pub(in crate::client) fn nearest(wanted: &str, titles: &[Title]) -> Vec<String> {
    let wanted = wanted.to_lowercase();
    let mut compared = 0;
    let within_reason = |title: &&Title| {
        compared += 2 * wanted.len() * title.title.len();
        compared <= COMPARED
    };
    let likely = titles.iter().take_while(within_reason);
    let mut rated: Vec<_> =
        likely.map(|Title { title, .. }| (likeness(&wanted, title), title)).collect();
    if rated.len() > NAMED {
        rated.retain(|(likeness, _)| *likeness >= LIKENESS);
    }
    rated.sort_by(|(one, a), (other, b)| other.total_cmp(one).then_with(|| a.cmp(b)));
    rated.into_iter().take(NAMED).map(|(_, title)| title.clone()).collect()
}

/// How alike two titles are, 0 to 1, whatever their case; a directory may be missing.
fn likeness(wanted: &str, title: &str) -> f64 {
    let title = title.to_lowercase();
    let of = |wanted: &str, title: &str| strsim::normalized_damerau_levenshtein(wanted, title);
    let whole = of(wanted, &title);
    match of(last_part(wanted), last_part(&title)) {
        // A title in the same place comes first.
        last if last > whole => last * 0.99,
        _ => whole,
    }
}

fn last_part(title: &str) -> &str {
    title.rsplit_once('/').map_or(title, |(_, last)| last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(names: &[&str]) -> Vec<Title> {
        names.iter().map(|name| Title { title: (*name).into(), ..Title::default() }).collect()
    }

    #[test]
    fn the_nearest_titles_come_first() {
        let library = titles(&["film.mp4", "clips/intro.mp4", "Song.flac", "film2.mp4", "notes"]);
        for (wanted, first) in [
            ("flim.mp4", "film.mp4"),
            ("film2.mp5", "film2.mp4"),
            ("intro.mp4", "clips/intro.mp4"),
            ("clip/intro.mp4", "clips/intro.mp4"),
            ("song.flac", "Song.flac"),
        ] {
            let nearest = nearest(wanted, &library);
            assert_eq!(nearest.first().map(String::as_str), Some(first), "{wanted}");
            assert!(nearest.len() <= NAMED);
        }
        assert_eq!(nearest("zzzzzzzzzzzz", &library), [""; 0]);
    }

    #[test]
    fn an_endless_catalogue_is_not_compared_to_its_end() {
        let long = "x".repeat(255);
        let mut library = titles(&[long.as_str(); 200]);
        library.push(Title { title: "é".repeat(127), ..Title::default() });
        assert_eq!(nearest(&"é".repeat(127), &library), [""; 0]);
    }

    #[test]
    fn of_a_few_titles_all_are_named() {
        assert_eq!(nearest("zzzz", &titles(&["b.bin", "a.bin"])), ["a.bin", "b.bin"]);
        assert_eq!(nearest("zzzz", &[]), [""; 0]);
    }
}
