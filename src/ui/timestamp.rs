//! The time of day, in UTC, as RFC 3339 writes it.

use std::time::Instant;

use time::OffsetDateTime;
use time::macros::format_description;

/// Formats to the second, for people: `2026-11-25T04:44:30Z`.
pub(super) fn to_the_second(time: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    // A calendar date always fits the format.
    time.format(format).unwrap_or_default()
}

/// Formats to the millisecond, for programs: `2026-11-25T04:44:30.123Z`.
pub(super) fn to_the_millisecond(time: OffsetDateTime) -> String {
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    time.format(format).unwrap_or_default()
}

/// Returns the time of day of an instant that is not long ago.
pub(super) fn of(instant: Instant) -> OffsetDateTime {
    OffsetDateTime::now_utc() - instant.elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_same_width_always() {
        let time = OffsetDateTime::from_unix_timestamp_nanos(1_764_045_870_120_999_999).unwrap();
        assert_eq!(to_the_second(time), "2025-11-25T04:44:30Z");
        assert_eq!(to_the_millisecond(time), "2025-11-25T04:44:30.120Z");
        assert_eq!(to_the_millisecond(OffsetDateTime::UNIX_EPOCH), "1970-01-01T00:00:00.000Z");
    }
}
