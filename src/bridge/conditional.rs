//! Which part of a title a request is to get, by RFC 9110: preconditions (section 13) and ranges
//! (section 14). Pure.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use hyper::HeaderMap;
use hyper::header::{
    HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE,
};

/// What is known of a title when a request for it is judged.
#[derive(Debug, Clone, Default)]
pub(super) struct Resource {
    /// Bytes in all; `None` while it is live.
    pub(super) size: Option<u64>,
    /// A strong entity tag, in its quotes.
    pub(super) etag: Option<String>,
    pub(super) modified: Option<SystemTime>,
}

/// What a request is to get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Selection {
    /// Everything: 200.
    Whole,
    /// These bytes: 206.
    Part(Range<u64>),
    /// Nothing, because the client has it: 304.
    NotModified,
    /// Nothing, because it is not what the client means: 412.
    PreconditionFailed,
    /// Nothing, because there are no such bytes: 416.
    Unsatisfiable,
}

impl Selection {
    /// Judges a GET by its headers. What is live is not twice the same: each request gets what there
    /// is now.
    pub(super) fn of(headers: &HeaderMap, resource: &Resource) -> Self {
        match Self::precondition(headers, resource) {
            Some(refused) => refused,
            None => Self::range(headers, resource),
        }
    }

    /// What the preconditions come to, in the order of section 13.2.2, if they fail.
    pub(super) fn precondition(headers: &HeaderMap, resource: &Resource) -> Option<Self> {
        resource.size?;
        if let Some(tags) = text(headers, &IF_MATCH) {
            if !names(&tags, resource, false) {
                return Some(Self::PreconditionFailed);
            }
        } else if let Some(date) = date(headers, &IF_UNMODIFIED_SINCE)
            && modified(resource).is_some_and(|modified| modified > date)
        {
            return Some(Self::PreconditionFailed);
        }
        if let Some(tags) = text(headers, &IF_NONE_MATCH) {
            return names(&tags, resource, true).then_some(Self::NotModified);
        }
        let since = date(headers, &IF_MODIFIED_SINCE)?;
        modified(resource).is_some_and(|modified| modified <= since).then_some(Self::NotModified)
    }

    fn range(headers: &HeaderMap, resource: &Resource) -> Self {
        let (Some(size), Some(range)) = (resource.size, text(headers, &RANGE)) else {
            return Self::Whole;
        };
        if text(headers, &IF_RANGE).is_some_and(|condition| !is_same(&condition, resource)) {
            return Self::Whole;
        }
        match ByteRange::parse(&range) {
            // Several of them, or none that is understood: section 14.2 lets a server ignore both.
            None => Self::Whole,
            Some(range) => range.within(size).map_or(Self::Unsatisfiable, Self::Part),
        }
    }
}

/// A range of bytes, as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ByteRange {
    /// From a byte to another, which is part of it, or to the end.
    From(u64, Option<u64>),
    /// So many at the end.
    Last(u64),
}

impl ByteRange {
    fn parse(text: &str) -> Option<Self> {
        let (unit, range) = text.split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (first, last) = range.trim().split_once('-')?;
        match (first.trim(), last.trim()) {
            ("", last) => number(last).map(Self::Last),
            (first, "") => Some(Self::From(number(first)?, None)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::From(first, Some(last)))
            }
        }
    }

    /// The bytes of it that media of this size has, if any.
    fn within(self, size: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::From(first, last) => {
                first..last.map_or(size, |last| last.saturating_add(1).min(size))
            }
            Self::Last(count) => size.saturating_sub(count)..size,
        };
        (!range.is_empty()).then_some(range)
    }
}

/// Digits alone. What is beyond any size is as good as the largest.
fn number(digits: &str) -> Option<u64> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// The values of a header, as one list.
fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values: Vec<_> = headers
        .get_all(name)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned())
        .collect();
    (!values.is_empty()).then(|| values.join(", "))
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(&text(headers, name)?).ok()
}

/// The time of the last change, to the second, as HTTP says it.
fn modified(resource: &Resource) -> Option<SystemTime> {
    let since = resource.modified?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs()))
}

/// Whether a list of entity tags names the resource's. Our tags have no comma in them.
fn names(tags: &str, resource: &Resource, weakly: bool) -> bool {
    if tags == "*" {
        return true;
    }
    let Some(etag) = &resource.etag else { return false };
    tags.split(',').map(str::trim).any(|tag| match tag.strip_prefix("W/") {
        Some(tag) => weakly && tag == etag,
        None => tag == etag,
    })
}

/// Whether an If-Range condition holds: the same strong tag, or exactly the same date.
fn is_same(condition: &str, resource: &Resource) -> bool {
    if condition.starts_with('"') || condition.starts_with("W/") {
        return resource.etag.as_deref() == Some(condition);
    }
    let date = httpdate::parse_http_date(condition).ok();
    date.is_some() && date == modified(resource)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    const DAY: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const DAY_BEFORE: &str = "Sat, 05 Nov 1994 08:49:37 GMT";

    fn select(headers: &[(HeaderName, &str)]) -> Selection {
        let modified = httpdate::parse_http_date(DAY).unwrap() + Duration::from_millis(250);
        let resource =
            Resource { size: Some(10), etag: Some("\"a1\"".into()), modified: Some(modified) };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        Selection::of(&map, &resource)
    }

    #[test]
    fn ranges() {
        use Selection::{Part, Unsatisfiable, Whole};
        for (range, selection) in [
            ("bytes=0-0", Part(0..1)),
            ("bytes=2-4", Part(2..5)),
            ("Bytes = 2 - 4", Part(2..5)),
            ("bytes=2-", Part(2..10)),
            ("bytes=9-99999999999999999999999", Part(9..10)),
            ("bytes=-3", Part(7..10)),
            ("bytes=-99999999999999999999999", Part(0..10)),
            ("bytes=10-", Unsatisfiable),
            ("bytes=99999999999999999999999-", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            // Not understood, or several: the whole is right.
            ("bytes=4-2", Whole),
            ("bytes=0-1,3-4", Whole),
            ("bytes=", Whole),
            ("bytes=-", Whole),
            ("bytes=+1-2", Whole),
            ("bytes=a-b", Whole),
            ("lines=0-1", Whole),
            ("0-1", Whole),
        ] {
            assert_eq!(select(&[(RANGE, range)]), selection, "{range}");
        }
        assert_eq!(select(&[]), Whole);
        assert_eq!(select(&[(RANGE, "bytes=0-1"), (RANGE, "bytes=3-4")]), Whole);
        let live = Resource::default();
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, HeaderValue::from_static("bytes=0-1"));
        assert_eq!(Selection::of(&headers, &live), Whole);
        let empty = Resource { size: Some(0), ..Resource::default() };
        assert_eq!(Selection::of(&headers, &empty), Unsatisfiable);
        assert_eq!(Selection::of(&HeaderMap::new(), &empty), Whole);
    }

    #[test]
    fn preconditions() {
        use Selection::{NotModified, Part, PreconditionFailed, Whole};
        let range = (RANGE, "bytes=0-1");
        for (header, selection) in [
            ((IF_MATCH, "\"a1\""), Part(0..2)),
            ((IF_MATCH, "\"b\", \"a1\""), Part(0..2)),
            ((IF_MATCH, "*"), Part(0..2)),
            ((IF_MATCH, "\"b\""), PreconditionFailed),
            ((IF_MATCH, "W/\"a1\""), PreconditionFailed),
            ((IF_UNMODIFIED_SINCE, DAY), Part(0..2)),
            ((IF_UNMODIFIED_SINCE, DAY_BEFORE), PreconditionFailed),
            ((IF_UNMODIFIED_SINCE, "yesterday"), Part(0..2)),
            ((IF_NONE_MATCH, "\"a1\""), NotModified),
            ((IF_NONE_MATCH, "W/\"a1\""), NotModified),
            ((IF_NONE_MATCH, "*"), NotModified),
            ((IF_NONE_MATCH, "\"b\""), Part(0..2)),
            ((IF_MODIFIED_SINCE, DAY), NotModified),
            ((IF_MODIFIED_SINCE, DAY_BEFORE), Part(0..2)),
            ((IF_RANGE, "\"a1\""), Part(0..2)),
            ((IF_RANGE, "\"b\""), Whole),
            ((IF_RANGE, "W/\"a1\""), Whole),
            ((IF_RANGE, DAY), Part(0..2)),
            ((IF_RANGE, DAY_BEFORE), Whole),
            ((IF_RANGE, "yesterday"), Whole),
        ] {
            assert_eq!(select(&[range.clone(), header.clone()]), selection, "{header:?}");
        }
        let tag_first = [(IF_NONE_MATCH, "\"b\""), (IF_MODIFIED_SINCE, DAY)];
        assert_eq!(select(&tag_first), Whole, "a tag says more than a date");
    }
}
