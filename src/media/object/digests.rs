//! Digests that are stored beside objects.

use object_store::{Attribute, Attributes};

use crate::protocol::Digest;

/// The name of an object's metadata that holds its digest, in hexadecimal. Azure takes no hyphen in
/// such a name: an underscore does as well.
const METADATA: &str = "quicstream-blake3";

/// How the name of an object ends that holds the digest of the one that is named before that.
const SUFFIX: &str = ".quicstream-blake3";

/// The longest such object, bytes: a digest, a size and an ETag, of at most 1 KiB.
pub(super) const LONGEST: u64 = 64 + 1 + 20 + 1 + 1024 + 1;

/// Returns true if this is the key, or the title, of a digest.
pub(super) fn is_sidecar(name: &str) -> bool {
    name.ends_with(SUFFIX)
}

/// The key of the digest of what is at `key`.
pub(super) fn sidecar(key: &str) -> String {
    format!("{key}{SUFFIX}")
}

/// The digest in the metadata of an object.
pub(super) fn in_metadata(attributes: &Attributes) -> Option<Digest> {
    let is_ours = |attribute: &Attribute| matches!(attribute, Attribute::Metadata(name) if name.replace('_', "-") == METADATA);
    let (_, digest) = attributes.iter().find(|(attribute, _)| is_ours(attribute))?;
    parse(digest)
}

/// What the digest of an object in this state is stored as.
pub(super) fn encode(digest: Digest, size: u64, e_tag: &str) -> String {
    format!("{} {size} {e_tag}\n", blake3::Hash::from_bytes(digest))
}

/// The digest that was stored, if it is that of an object in this state.
pub(super) fn decode(text: &[u8], size: u64, e_tag: &str) -> Option<Digest> {
    let text = str::from_utf8(text).ok()?;
    let digest = parse(text.split(' ').next()?)?;
    (text == encode(digest, size, e_tag)).then_some(digest)
}

fn parse(digest: &str) -> Option<Digest> {
    blake3::Hash::from_hex(digest.trim()).ok().map(Into::into)
}
