//! The layers of settings, merged: the built-in defaults, a file, the environment and the flags.

use std::path::{Path, PathBuf};

use super::settings::{Identity, Layer, Trust};
use super::value::Invalid;
use super::{Environment, Error, Notice, UnknownVariable, file};

/// Begins the name of every environment variable that is a setting.
const PREFIX: &str = "QUICSTREAM_";

/// The least likeness, 0 to 1, of a variable's name to that of a setting it may be a slip for.
const LIKENESS: f64 = 0.75;

/// The only home of defaults, read by the same code as a user's file.
const BUILT_IN: &str = include_str!("../../config/default.toml");

impl Layer {
    /// Every layer, merged key by key: flags over environment over file over defaults.
    pub(super) fn merged(
        flags: Self,
        file: Option<&Path>,
        environment: &Environment,
        notices: &mut Vec<Notice>,
    ) -> Result<Self, Error> {
        let file = file::read(file, environment, notices)?;
        let variables = Self::from_variables(environment, notices)?;
        Ok(flags.over(variables).over(file).over(Self::built_in()?))
    }

    /// The key of a path that is empty, and would be the working directory.
    fn empty_path(&self) -> Option<&'static str> {
        let Self { server, identity, trust, client, .. } = self;
        let paths = [
            ("server.media", &server.media),
            ("server.record", &server.record),
            ("server.tokens", &server.tokens),
            ("client.token_file", &client.token_file),
            ("tls.cert", &identity.cert),
            ("tls.key", &identity.key),
            ("tls.ca", &trust.ca),
        ];
        let is_empty = |path: &Option<PathBuf>| path.as_deref() == Some(Path::new(""));
        paths.into_iter().find(|(_, path)| is_empty(path)).map(|(key, _)| key)
    }

    fn built_in() -> Result<Self, Error> {
        Self::from_toml(BUILT_IN, Path::new("the built-in defaults"))
    }

    pub(super) fn from_toml(text: &str, path: &Path) -> Result<Self, Error> {
        let failed = |problem| Error::Parse { path: path.to_owned(), problem };
        let parsed = Self::parse(text);
        let layer = parsed.map_err(|error| failed(error.to_string().trim_end().to_owned()))?;
        match layer.empty_path() {
            Some(key) => Err(failed(format!("{key} is an empty path: name one, or leave it out"))),
            None => Ok(layer),
        }
    }

    /// `QUICSTREAM_<SECTION>_<KEY>`. What names no section is somebody else's business, and what
    /// names a section but no key may be: orchestrators make such variables.
    fn from_variables(environment: &Environment, notices: &mut Vec<Notice>) -> Result<Self, Error> {
        let mut layer = Self::default();
        let mut unknown = Vec::new();
        for (name, value) in &environment.variables {
            let Some(path) = name.strip_prefix(PREFIX) else { continue };
            let path = path.to_lowercase();
            let Some((section, key)) = path.split_once('_') else { continue };
            if !Self::SECTIONS.contains(&section) {
                continue;
            }
            if !Self::KEYS.contains(&(section, key)) {
                unknown.push(UnknownVariable { name: name.clone(), meant: meant(section, key) });
                continue;
            }
            let text = value.to_str().ok_or_else(|| Invalid("the value is not UTF-8".to_owned()));
            text.and_then(|text| layer.set(section, key, text))
                .map_err(|Invalid(problem)| Error::Variable { name: name.clone(), problem })?;
        }
        if let Some(key) = layer.empty_path() {
            let name = format!("{PREFIX}{}", key.replace('.', "_").to_uppercase());
            let problem = "it is an empty path: name one, or unset it".to_owned();
            return Err(Error::Variable { name, problem });
        }
        if !unknown.is_empty() {
            notices.push(Notice::UnknownVariables(unknown));
        }
        Ok(layer)
    }

    /// This layer, with `lower` where it leaves something open. Whom to trust is one decision,
    /// though it takes three keys, and a certificate has one key: the highest layer that sets
    /// something of these sets it alone.
    fn over(self, mut lower: Self) -> Self {
        let Self { identity, trust, .. } = &self;
        if trust.ca.is_some() || trust.pin.is_some() || trust.insecure == Some(true) {
            let server_name = lower.trust.server_name;
            lower.trust = Trust { server_name, ..Trust::default() };
        }
        if identity.cert.is_some() || identity.key.is_some() {
            lower.identity = Identity::default();
        }
        self.fill_from(lower)
    }
}

/// The variable whose name is nearest to one that names no setting, if it is near enough.
fn meant(section: &str, key: &str) -> Option<String> {
    let in_section = Layer::KEYS.iter().filter(|(name, _)| *name == section);
    let likeness = |known: &str| strsim::normalized_damerau_levenshtein(key, known);
    let nearest = in_section.map(|(_, known)| (likeness(known), known));
    let (_, known) = nearest
        .filter(|(likeness, _)| *likeness >= LIKENESS)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))?;
    Some(format!("{PREFIX}{section}_{known}").to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_defaults_set_every_key_that_has_a_default() {
        assert_eq!(
            Layer::built_in().unwrap().open_keys(),
            [
                "server.media",
                "server.live",
                "server.record",
                "server.tokens",
                "server.admin",
                "server.peers",
                "server.lb_id",
                "server.lb_key",
                "client.token_file",
                "client.pause_at",
                "tls.cert",
                "tls.key",
                "tls.ca",
                "tls.pin",
                "tls.server_name",
            ]
        );
    }

    #[test]
    fn keys_without_a_default_are_shown_as_comments_that_work() {
        let uncommented: Vec<_> = BUILT_IN
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(setting) if setting.starts_with(char::is_alphabetic) => setting,
                _ => line,
            })
            .collect();
        let layer = Layer::from_toml(&uncommented.join("\n"), Path::new("uncommented")).unwrap();
        assert_eq!(layer.open_keys(), [""; 0]);
    }
}
