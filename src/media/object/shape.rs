//! What the operator's URL names: an object, or all that is beneath a prefix.

use std::io;

use object_store::path::Path;

use super::failure::Failure;
use super::store::Store;

/// Which objects of a bucket are titles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    /// What the keys of all titles begin with: nothing, or a `/` at its end.
    pub(super) prefix: String,
    /// The only title, where the URL is that of an object.
    pub(super) only: Option<String>,
}

/// What is behind the bucket in a URL.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) path: Path,
    /// A `/` at its end says that it is no object.
    is_prefix: bool,
}

impl Named {
    /// What `url` names.
    ///
    /// # Errors
    /// It has no bucket, or a path that no object has.
    pub(super) fn by(url: &str) -> io::Result<Self> {
        let (_, place) = url.split_once("://").unwrap_or_default();
        let (bucket, path) = place.split_once('/').unwrap_or((place, ""));
        if bucket.is_empty() {
            return Err(io::Error::other("it names no bucket"));
        }
        let is_prefix = path.is_empty() || path.ends_with('/');
        Ok(Self { path: Path::parse(path).map_err(io::Error::other)?, is_prefix })
    }

    /// Looks which of both it is: an object, if there is one.
    pub(super) async fn look(&self, store: &Store) -> Result<Shape, Failure> {
        if self.is_prefix {
            return Ok(self.beneath());
        }
        match store.head(&self.path).await {
            // Consoles make an empty object for a folder.
            Ok(object) if object.meta.size == 0 => Ok(self.beneath()),
            Ok(_) => Ok(self.object()),
            // Who may read what is beneath a prefix may have no access to the prefix itself.
            Err(Failure::Absent | Failure::Forbidden(_)) => Ok(self.beneath()),
            Err(failure) => Err(failure),
        }
    }

    pub(super) fn beneath(&self) -> Shape {
        let prefix = if self.path.is_root() { String::new() } else { format!("{}/", self.path) };
        Shape { prefix, only: None }
    }

    pub(super) fn object(&self) -> Shape {
        let (folder, name) =
            self.path.as_ref().rsplit_once('/').unwrap_or(("", self.path.as_ref()));
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        Shape { prefix, only: Some(name.to_owned()) }
    }
}
