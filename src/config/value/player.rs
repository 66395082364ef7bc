//! The command line of a player.

use std::str::FromStr;

use super::Invalid;

/// What stands for the URL in a player's command line.
const URL: &str = "{}";

/// A command line, split into words as a POSIX shell does it. No shell runs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlayerCommand(Vec<String>);

impl PlayerCommand {
    /// The words, with `{}` in one of them at least.
    pub fn into_words(self) -> Vec<String> {
        self.0
    }
}

impl FromStr for PlayerCommand {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let expected = "a command, such as mpv or \"vlc --fullscreen\", with all quotes closed";
        let words: Option<Vec<_>> = shlex::split(text);
        let mut words = words
            .filter(|words| words.first().is_some_and(|program| !program.is_empty()))
            .ok_or_else(|| Invalid::expected(format!("{text:?}"), expected))?;
        if !words.iter().skip(1).any(|word| word.contains(URL)) {
            words.push(URL.to_owned());
        }
        Ok(Self(words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_does_it_and_the_url_has_a_place() {
        let words = |text: &str| text.parse::<PlayerCommand>().map(PlayerCommand::into_words);
        assert_eq!(words("mpv").unwrap(), ["mpv", "{}"]);
        assert_eq!(
            words("mpv --title='a b' --x=\"c d\" {} -v").unwrap(),
            ["mpv", "--title=a b", "--x=c d", "{}", "-v"]
        );
        assert_eq!(words("vlc --open={}").unwrap(), ["vlc", "--open={}"]);
        for text in ["", "  ", "mpv 'a", "''"] {
            assert!(words(text).is_err(), "{text:?}");
        }
    }
}
