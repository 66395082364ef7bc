//! What the process was started with, apart from its flags.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The environment of a process. It is a parameter, so that a test can bring its own.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// The variables. One whose name is not UTF-8 cannot be ours and is left out.
    pub variables: BTreeMap<String, OsString>,
    /// Relative paths start here.
    pub current_dir: PathBuf,
    /// The user's home, where there is one.
    pub home: Option<PathBuf>,
}

impl Environment {
    /// The environment of this process.
    pub fn capture() -> Self {
        Self {
            variables: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
                .collect(),
            // Without it (the directory was removed) relative paths stay as they are.
            current_dir: std::env::current_dir().unwrap_or_default(),
            home: std::env::home_dir().filter(|home| home.is_absolute()),
        }
    }

    /// Where the program keeps what it makes for itself; `None` if there is no home for it.
    pub(super) fn state_dir(&self) -> Option<PathBuf> {
        self.path("QUICSTREAM_STATE_DIR")
            .or_else(|| Some(self.base_dir("XDG_DATA_HOME", ".local/share")?.join("quicstream")))
    }

    /// Where the user keeps a configuration file; `None` if there is no home for it.
    pub(super) fn config_dir(&self) -> Option<PathBuf> {
        Some(self.base_dir("XDG_CONFIG_HOME", ".config")?.join("quicstream"))
    }

    /// The path in a variable, unless the variable is unset or empty.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        let value = self.variables.get(name).filter(|value| !value.is_empty())?;
        Some(self.resolve(Path::new(value)))
    }

    /// A path, seen from the working directory.
    pub(super) fn resolve(&self, path: &Path) -> PathBuf {
        self.current_dir.join(path)
    }

    /// As the XDG base directory specification has it: a relative path counts as unset.
    fn base_dir(&self, name: &str, below_home: &str) -> Option<PathBuf> {
        let named = self.variables.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
        named.or_else(|| Some(self.home.as_ref()?.join(below_home)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment {
            variables: variables.iter().map(|(k, v)| (k.to_string(), v.into())).collect(),
            current_dir: "/here".into(),
            home: Some("/home/ann".into()),
        }
    }

    #[test]
    fn state_goes_where_the_most_specific_variable_says() {
        let dir = |variables: &[_]| environment(variables).state_dir().unwrap();
        let (xdg, own) = (("XDG_DATA_HOME", "/data"), ("QUICSTREAM_STATE_DIR", "/state"));
        assert_eq!(dir(&[]), Path::new("/home/ann/.local/share/quicstream"));
        assert_eq!(dir(&[xdg]), Path::new("/data/quicstream"));
        assert_eq!(dir(&[xdg, own]), Path::new("/state"));
        assert_eq!(dir(&[("QUICSTREAM_STATE_DIR", "state")]), Path::new("/here/state"));
        assert_eq!(dir(&[xdg, ("QUICSTREAM_STATE_DIR", "")]), Path::new("/data/quicstream"));
        assert_eq!(
            dir(&[("XDG_DATA_HOME", "data")]),
            Path::new("/home/ann/.local/share/quicstream"),
            "the specification wants an absolute path"
        );
        let homeless = Environment { home: None, ..environment(&[]) };
        assert_eq!(homeless.state_dir(), None);
    }
}
