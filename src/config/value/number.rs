//! Numbers in a range.

use std::num::NonZeroU8;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;
use toml::Value;

use super::{Invalid, written};
use crate::transport::MAX_WORKERS;
use crate::{client, transport};

/// A whole number from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value", bound(deserialize = "T: TryFrom<u64>"))]
pub struct Whole<T, const MIN: u64, const MAX: u64>(T);

impl<T, const MIN: u64, const MAX: u64> Whole<T, MIN, MAX> {
    /// The number.
    pub fn get(self) -> T {
        self.0
    }

    fn expected() -> String {
        format!("a whole number from {MIN} to {MAX}")
    }
}

impl<T: TryFrom<u64>, const MIN: u64, const MAX: u64> FromStr for Whole<T, MIN, MAX> {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let number = text.parse().ok().and_then(|number| within(number, MIN, MAX));
        number.map(Self).ok_or_else(|| Invalid::expected(text, Self::expected()))
    }
}

impl<T: TryFrom<u64>, const MIN: u64, const MAX: u64> TryFrom<Value> for Whole<T, MIN, MAX> {
    type Error = Invalid;

    fn try_from(value: Value) -> Result<Self, Invalid> {
        written(value, &["integer"], Self::expected())?.parse()
    }
}

/// A number of bytes from `MIN` to `MAX`, written with or without a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value", bound(deserialize = "T: TryFrom<u64>"))]
pub struct Size<T, const MIN: u64, const MAX: u64>(T);

impl<T, const MIN: u64, const MAX: u64> Size<T, MIN, MAX> {
    /// The number of bytes.
    pub fn get(self) -> T {
        self.0
    }

    fn expected() -> String {
        let [min, max] = [ByteSize(MIN), ByteSize(MAX)];
        format!("a size from {min} to {max}: bytes, or with a unit such as KiB or MB")
    }
}

impl<T: TryFrom<u64>, const MIN: u64, const MAX: u64> FromStr for Size<T, MIN, MAX> {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let bytes = text.parse().ok().and_then(|ByteSize(bytes)| within(bytes, MIN, MAX));
        bytes.map(Self).ok_or_else(|| Invalid::expected(text, Self::expected()))
    }
}

impl<T: TryFrom<u64>, const MIN: u64, const MAX: u64> TryFrom<Value> for Size<T, MIN, MAX> {
    type Error = Invalid;

    fn try_from(value: Value) -> Result<Self, Invalid> {
        written(value, &["integer", "string"], Self::expected())?.parse()
    }
}

/// A number of bit/s from `MIN` to `MAX`, written with or without a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value", bound(deserialize = "T: TryFrom<u64>"))]
pub struct BitRate<T, const MIN: u64, const MAX: u64>(T);

impl<T, const MIN: u64, const MAX: u64> BitRate<T, MIN, MAX> {
    /// The number of bit/s.
    pub fn get(self) -> T {
        self.0
    }

    fn expected() -> String {
        format!("a number of bit/s from {MIN} to {MAX}, such as 500000, 500k or 4M")
    }
}

impl<T: TryFrom<u64>, const MIN: u64, const MAX: u64> FromStr for BitRate<T, MIN, MAX> {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let rate = bits_per_second(text).and_then(|rate| within(rate, MIN, MAX));
        rate.map(Self).ok_or_else(|| Invalid::expected(text, Self::expected()))
    }
}

impl<T: TryFrom<u64>, const MIN: u64, const MAX: u64> TryFrom<Value> for BitRate<T, MIN, MAX> {
    type Error = Invalid;

    fn try_from(value: Value) -> Result<Self, Invalid> {
        written(value, &["integer", "string"], Self::expected())?.parse()
    }
}

/// The bit/s in a text such as `500000`, `500k` or `2.5M`. Units of a speed are decimal.
fn bits_per_second(text: &str) -> Option<u64> {
    let units = [('k', 3), ('m', 6), ('g', 9)];
    let unit = |(unit, zeros): (char, usize)| {
        Some((text.strip_suffix([unit, unit.to_ascii_uppercase()])?, zeros))
    };
    let (number, zeros) = units.into_iter().find_map(unit).unwrap_or((text, 0));
    let number = number.trim_end();
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(fraction) || fraction.len() > zeros {
        return None;
    }
    // The fraction takes the place of as many zeros.
    format!("{whole}{fraction:0<zeros$}").parse().ok()
}

fn within<T: TryFrom<u64>>(number: u64, min: u64, max: u64) -> Option<T> {
    (min..=max).contains(&number).then(|| T::try_from(number).ok())?
}

/// Seconds, with or without a fraction; the limits are in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub struct Seconds<const MIN_MS: u64, const MAX_MS: u64>(Duration);

impl<const MIN_MS: u64, const MAX_MS: u64> Seconds<MIN_MS, MAX_MS> {
    /// The time.
    pub fn get(self) -> Duration {
        self.0
    }

    fn expected() -> String {
        let [min, max] = [MIN_MS, MAX_MS].map(|ms| Duration::from_millis(ms).as_secs_f64());
        format!("a number of seconds from {min} to {max}")
    }
}

impl<const MIN_MS: u64, const MAX_MS: u64> FromStr for Seconds<MIN_MS, MAX_MS> {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let limits = Duration::from_millis(MIN_MS)..=Duration::from_millis(MAX_MS);
        let time = text.parse().ok().and_then(|secs| Duration::try_from_secs_f64(secs).ok());
        time.filter(|time| limits.contains(time))
            .map(Self)
            .ok_or_else(|| Invalid::expected(text, Self::expected()))
    }
}

impl<const MIN_MS: u64, const MAX_MS: u64> TryFrom<Value> for Seconds<MIN_MS, MAX_MS> {
    type Error = Invalid;

    fn try_from(value: Value) -> Result<Self, Invalid> {
        written(value, &["integer", "float"], Self::expected())?.parse()
    }
}

/// Where in the media to start: at a byte, or at a part of the whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Start(client::Start);

impl From<Start> for client::Start {
    fn from(Start(start): Start) -> Self {
        start
    }
}

impl FromStr for Start {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let start = match text.strip_suffix('%') {
            None if text.starts_with('-') => {
                let seconds = text.get(1..).and_then(|text| text.strip_suffix('s'));
                let seconds = seconds.and_then(|text| text.parse::<u32>().ok());
                seconds.map(|ago| client::Start::Ago(Duration::from_secs(ago.into())))
            }
            None => text.parse().ok().map(|ByteSize(byte)| client::Start::Byte(byte)),
            Some(percent) => {
                let percent = percent.parse().ok().filter(|part| (0.0..=100.0).contains(part));
                percent.map(|percent: f64| client::Start::Fraction(percent / 100.0))
            }
        };
        let expected = "a number of bytes, such as 1048576 or 10MiB, a part from 0% to 100%, or of a broadcast a time \
                        before now, such as -60s";
        start.map(Self).ok_or_else(|| Invalid::expected(text, expected))
    }
}

/// How fast a client wants its media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub struct Rate(client::Rate);

impl From<Rate> for client::Rate {
    fn from(Rate(rate): Rate) -> Self {
        rate
    }
}

impl Rate {
    const EXPECTED: &str = "auto, bitrate, max or a number of bit/s, such as 2500000, 2500k or 4M";
}

impl FromStr for Rate {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let rate = match text {
            "auto" => Some(client::Rate::Auto),
            "bitrate" => Some(client::Rate::Bitrate),
            "max" => Some(client::Rate::Max),
            // On the wire 0 stands for no limit.
            _ => bits_per_second(text).filter(|rate| *rate > 0).map(client::Rate::BitsPerSecond),
        };
        rate.map(Self).ok_or_else(|| Invalid::expected(text, Self::EXPECTED))
    }
}

impl TryFrom<Value> for Rate {
    type Error = Invalid;

    fn try_from(value: Value) -> Result<Self, Invalid> {
        written(value, &["integer", "string"], Self::EXPECTED)?.parse()
    }
}

/// How many endpoints a server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub struct Workers(transport::Workers);

impl From<Workers> for transport::Workers {
    fn from(Workers(workers): Workers) -> Self {
        workers
    }
}

impl Workers {
    fn expected() -> String {
        format!("auto or a whole number from 1 to {MAX_WORKERS}")
    }
}

impl FromStr for Workers {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let count = || text.parse().ok().filter(|count: &NonZeroU8| count.get() <= MAX_WORKERS);
        let workers = match text {
            "auto" => Some(transport::Workers::Auto),
            _ => count().map(transport::Workers::Exactly),
        };
        workers.map(Self).ok_or_else(|| Invalid::expected(text, Self::expected()))
    }
}

impl TryFrom<Value> for Workers {
    type Error = Invalid;

    fn try_from(value: Value) -> Result<Self, Invalid> {
        written(value, &["integer", "string"], Self::expected())?.parse()
    }
}
