//! One layer of settings: the built-in defaults, a file, the environment or the flags.

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};

use super::value::{
    Bitrate, CacheSize, ChunkSize, Congestion, ConnectTimeout, Host, IdleTimeout, Invalid,
    Keepalive, List, Listen, MaxConnections, MaxRate, Mtu, Name, Pacing, PauseAt, PauseFor, Port,
    Rate, RetryFor, SessionTimeout, SocketBuffer,
};
use super::{Environment, Error};
use crate::transport::Fingerprint;

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
            const SECTIONS: &[&str] = &[$(stringify!($section)),*];

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
                    $((stringify!($section), _) => {
                        let keys = [$(stringify!($key)),*].join(", ").to_uppercase();
                        return Err(Invalid(format!("no such setting, only {keys}")));
                    })*
                    _ => {}
                }
                Ok(())
            }
        }
    };
}

layer! {
    server: Server {
        #[serde(deserialize_with = "from_text")]
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
        server_name: Host,
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
    ) -> Result<Self, Error> {
        Ok(flags
            .over(Self::from_variables(environment)?)
            .over(Self::from_file(file, environment)?)
            .over(Self::built_in()?))
    }

    fn built_in() -> Result<Self, Error> {
        Self::from_toml(BUILT_IN, "the built-in defaults")
    }

    /// The file that was named must be there; of the two usual places, the first that is.
    fn from_file(named: Option<&Path>, environment: &Environment) -> Result<Self, Error> {
        let named = named.map(|path| environment.resolve(path));
        let usual = || {
            let here = environment.resolve(Path::new("config/default.toml"));
            let own = environment.config_dir().map(|dir| dir.join("config.toml"));
            [Some(here), own].into_iter().flatten().find(|path| path.exists())
        };
        match named.or_else(|| environment.path("QUICSTREAM_CONFIG")).or_else(usual) {
            None => Ok(Self::default()),
            Some(path) => match fs::read_to_string(&path) {
                Ok(text) => Self::from_toml(&text, &path.display().to_string()),
                Err(cause) => Err(Error::Read { path, cause }),
            },
        }
    }

    fn from_toml(text: &str, origin: &str) -> Result<Self, Error> {
        toml::from_str(text).map_err(|error| Error::Parse {
            origin: origin.to_owned(),
            problem: error.to_string().trim_end().to_owned(),
        })
    }

    /// `QUICSTREAM_<SECTION>_<KEY>`. What names no section is somebody else's business.
    fn from_variables(environment: &Environment) -> Result<Self, Error> {
        let mut layer = Self::default();
        for (name, value) in &environment.variables {
            let Some(path) = name.strip_prefix("QUICSTREAM_") else { continue };
            let path = path.to_lowercase();
            let Some((section, key)) = path.split_once('_') else { continue };
            if !Self::SECTIONS.contains(&section) {
                continue;
            }
            let text = value.to_str().ok_or_else(|| Invalid("the value is not UTF-8".to_owned()));
            text.and_then(|text| layer.set(section, key, text))
                .map_err(|Invalid(problem)| Error::Variable { name: name.clone(), problem })?;
        }
        Ok(layer)
    }

    /// This layer, with `lower` where it leaves something open. Whom to trust is one decision,
    /// though it takes three keys: the highest layer that makes it makes it alone.
    fn over(self, mut lower: Self) -> Self {
        let tls = &self.tls;
        if tls.ca.is_some() || tls.pin.is_some() || tls.insecure == Some(true) {
            lower.tls = Tls { ca: None, pin: None, insecure: None, ..lower.tls };
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
        let layer = Layer::from_toml(&uncommented.join("\n"), "uncommented").unwrap();
        assert_eq!(layer.open_keys(), [""; 0]);
    }
}
