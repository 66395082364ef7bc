//! One layer of settings: the built-in defaults, a file, the environment or the flags.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};

use super::value::{
    Bitrate, CacheSize, CertificateName, ChunkSize, Congestion, ConnectTimeout, Host, IdleTimeout,
    Invalid, Keepalive, List, Listen, MaxConnections, MaxRate, Mtu, Name, Pacing, PauseAt,
    PauseFor, Port, Rate, RetryFor, SessionTimeout, SocketBuffer,
};
use super::{Environment, Error, Notice, UnknownVariable, file};
use crate::transport::Fingerprint;

/// Begins the name of every environment variable that is a setting.
const PREFIX: &str = "QUICSTREAM_";

/// The least likeness, 0 to 1, of a variable's name to that of a setting it may be a slip for.
const LIKENESS: f64 = 0.75;

/// The only home of defaults, read by the same code as a user's file.
const BUILT_IN: &str = include_str!("../../config/default.toml");

/// Declares the sections and their keys, and what has to be done for each key.
macro_rules! layer {
    ($($section:ident: $Section:ident { $($(#[$attr:meta])* $key:ident: $type:ty,)* })*) => {
        /// What one layer sets; the rest is left to the layers below.
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct Layer { $(pub(super) $section: $Section,)* }

        $(
            #[derive(Debug, Clone, Default, Deserialize)]
            #[serde(deny_unknown_fields, default)]
            pub(super) struct $Section { $($(#[$attr])* pub(super) $key: Option<$type>,)* }
        )*

        impl Layer {
            pub(super) const SECTIONS: &[&str] = &[$(stringify!($section)),*];
            const KEYS: &[(&str, &str)] = &[$($((stringify!($section), stringify!($key)),)*)*];

            /// The keys that this layer leaves open.
            #[cfg(test)]
            fn open_keys(&self) -> Vec<&'static str> {
                let keys = [$($((
                    concat!(stringify!($section), ".", stringify!($key)),
                    self.$section.$key.is_none(),
                ),)*)*];
                keys.into_iter().filter_map(|(key, open)| open.then_some(key)).collect()
            }

            /// Takes from `lower` what `self` leaves open.
            fn fill_from(self, lower: Self) -> Self {
                Self { $($section: $Section {
                    $($key: self.$section.$key.or(lower.$section.$key),)*
                },)* }
            }

            /// Sets one key from text.
            fn set(&mut self, section: &str, key: &str, text: &str) -> Result<(), Invalid> {
                match (section, key) {
                    $($((stringify!($section), stringify!($key)) => {
                        self.$section.$key = Some(text.parse().map_err(invalid)?);
                    })*)*
                    _ => {}
                }
                Ok(())
            }
        }
    };
}

layer! {
    server: Server {
        listen: Listen,
        media: PathBuf,
        bitrate: Bitrate,
        max_rate: MaxRate,
        #[serde(deserialize_with = "from_text")]
        pacing: Pacing,
        chunk_size: ChunkSize,
        keepalive: Keepalive,
        session_timeout: SessionTimeout,
        codecs: List<Name>,
        max_connections: MaxConnections,
        cache: CacheSize,
    }
    client: Client {
        #[serde(deserialize_with = "from_text")]
        host: Host,
        port: Port,
        codec: Name,
        profile: Name,
        bitrates: List<Bitrate>,
        pause_at: PauseAt,
        pause_for: PauseFor,
        rate: Rate,
        connect_timeout: ConnectTimeout,
        wait: RetryFor,
        retry_for: RetryFor,
        require_digest: bool,
    }
    tls: Tls {
        cert: PathBuf,
        key: PathBuf,
        ca: PathBuf,
        #[serde(deserialize_with = "from_text")]
        pin: Fingerprint,
        insecure: bool,
        #[serde(deserialize_with = "from_text")]
        server_name: CertificateName,
    }
    transport: Transport {
        mtu: Mtu,
        #[serde(deserialize_with = "from_text")]
        congestion: Congestion,
        idle_timeout: IdleTimeout,
        socket_buffer: SocketBuffer,
    }
}

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

    fn built_in() -> Result<Self, Error> {
        Self::from_toml(BUILT_IN, Path::new("the built-in defaults"))
    }

    pub(super) fn from_toml(text: &str, path: &Path) -> Result<Self, Error> {
        toml::from_str(text).map_err(|error| Error::Parse {
            path: path.to_owned(),
            problem: error.to_string().trim_end().to_owned(),
        })
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
        if !unknown.is_empty() {
            notices.push(Notice::UnknownVariables(unknown));
        }
        Ok(layer)
    }

    /// This layer, with `lower` where it leaves something open. Whom to trust is one decision,
    /// though it takes three keys, and a certificate has one key: the highest layer that sets
    /// something of these sets it alone.
    fn over(self, mut lower: Self) -> Self {
        let tls = &self.tls;
        if tls.ca.is_some() || tls.pin.is_some() || tls.insecure == Some(true) {
            lower.tls = Tls { ca: None, pin: None, insecure: None, ..lower.tls };
        }
        if tls.cert.is_some() || tls.key.is_some() {
            lower.tls = Tls { cert: None, key: None, ..lower.tls };
        }
        self.fill_from(lower)
    }
}

/// Reads a TOML string with the parser that flags and environment use.
fn from_text<'de, D: Deserializer<'de>, T: FromStr>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T::Err: Display,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(de::Error::custom)
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

fn invalid(error: impl Display) -> Invalid {
    Invalid(error.to_string())
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
