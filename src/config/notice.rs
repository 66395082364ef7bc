//! What a user should know about where the settings come from.

use std::fmt;
use std::path::PathBuf;

use super::settings::Layer;

/// Something about the settings that is no error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// This configuration file is read.
    Reads(PathBuf),
    /// The working directory's config/default.toml belongs to another program.
    Foreign {
        /// The file.
        path: PathBuf,
        /// A top-level table in it that is not ours.
        table: String,
    },
    /// Environment variables begin like settings and are none.
    UnknownVariables(Vec<UnknownVariable>),
    /// The keepalive would not keep a connection from its idle timeout.
    KeepaliveLowered {
        /// What is set, seconds.
        from: u64,
        /// What is used, seconds.
        to: u64,
        /// The idle timeout, seconds.
        idle_timeout: u64,
    },
    /// Recordings are wanted where nothing is broadcast.
    NothingToRecord,
}

/// An environment variable that names no setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownVariable {
    /// Its name.
    pub name: String,
    /// A variable with nearly the same name that is one.
    pub meant: Option<String>,
}

impl Notice {
    /// Whether something may not be as the user wants it.
    pub fn is_warning(&self) -> bool {
        !matches!(self, Self::Reads(_))
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reads(path) => write!(f, "settings from {}", path.display()),
            Self::Foreign { path, table } => write!(
                f,
                "{} belongs to another program and is left alone: its [{table}] is none of \
                 quicstream's sections ({})",
                path.display(),
                Layer::SECTIONS.join(", ")
            ),
            Self::UnknownVariables(variables) => {
                let described = variables.iter().map(UnknownVariable::to_string);
                let described = described.collect::<Vec<_>>().join(", ");
                write!(f, "ignored, because no setting has such a name: {described}")
            }
            Self::KeepaliveLowered { from, to, idle_timeout } => write!(
                f,
                "server.keepalive is {to} s instead of {from} s: it may be at most a third of \
                 transport.idle_timeout, which is {idle_timeout} s"
            ),
            Self::NothingToRecord => {
                f.write_str("nothing is recorded: --record is for broadcasts, which --live names")
            }
        }
    }
}

impl fmt::Display for UnknownVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.meant {
            Some(meant) => write!(f, "{} (did you mean {meant}?)", self.name),
            None => f.write_str(&self.name),
        }
    }
}
