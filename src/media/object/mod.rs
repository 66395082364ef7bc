//! An object, or all beneath a prefix of a bucket, as titles.

mod blocks;
mod digester;
mod digests;
mod failure;
mod listing;
mod place;
mod shape;
mod source;
mod state;
mod store;
#[cfg(test)]
mod tests;

pub(super) use place::ObjectPlace;
