//! The time an event says it was created: an instant and the precision it was written with.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

/// An instant in UTC and the number of decimals it was given with, so that its text comes back as
/// it went in: `2016-02-29T01:23:00Z` and `2016-02-29T01:23:00.000Z` are the same instant and two
/// timestamps. Years 0000 to 9999; leap seconds are not told apart from what follows them.
///
/// Timestamps are information. The order of events is their position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    seconds: i64,
    nanos: u32,
    decimals: u8,
}

/// Why a text or a number is not a timestamp.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("not a time like 2026-01-31T23:59:59.123Z (RFC 3339, in UTC, with Z, at most 9 decimals)")]
pub struct InvalidTimestamp;

impl Timestamp {
    /// 0000-01-01T00:00:00Z, in seconds since 1970.
    pub const SECONDS_MIN: i64 = -62_167_219_200;
    /// 9999-12-31T23:59:59Z, in seconds since 1970.
    pub const SECONDS_MAX: i64 = 253_402_300_799;

    /// `nanos` nanoseconds after `seconds` seconds after 1970, known to `decimals` decimals.
    ///
    /// # Errors
    /// Refuses seconds outside the years 0000 to 9999, more than 9 decimals, a billion nanoseconds
    /// or more, and nanoseconds finer than the decimals say.
    pub fn new(seconds: i64, nanos: u32, decimals: u8) -> Result<Self, InvalidTimestamp> {
        let in_range = (Self::SECONDS_MIN..=Self::SECONDS_MAX).contains(&seconds);
        if !in_range
            || decimals > 9
            || nanos >= 1_000_000_000
            || !nanos.is_multiple_of(unit(decimals))
        {
            return Err(InvalidTimestamp);
        }
        Ok(Self {
            seconds,
            nanos,
            decimals,
        })
    }

    /// Microseconds since 1970, with 6 decimals; clamped to the years 0000 to 9999.
    #[must_use]
    pub fn from_micros(micros: i64) -> Self {
        let seconds = micros
            .div_euclid(1_000_000)
            .clamp(Self::SECONDS_MIN, Self::SECONDS_MAX);
        let nanos = u32::try_from(micros.rem_euclid(1_000_000)).unwrap_or(0) * 1_000;
        Self {
            seconds,
            nanos,
            decimals: 6,
        }
    }

    /// Whole seconds since 1970, rounded down.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds after [`Self::seconds`].
    #[must_use]
    pub fn nanos(self) -> u32 {
        self.nanos
    }

    /// How many decimals of the second the text has.
    #[must_use]
    pub fn decimals(self) -> u8 {
        self.decimals
    }

    /// Microseconds since 1970, rounded down.
    #[must_use]
    pub fn micros(self) -> i64 {
        self.seconds * 1_000_000 + i64::from(self.nanos / 1_000)
    }
}

/// Nanoseconds in one unit of the last decimal.
fn unit(decimals: u8) -> u32 {
    10u32.pow(u32::from(9 - decimals.min(9)))
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let utc = OffsetDateTime::from_unix_timestamp(self.seconds).map_err(|_| fmt::Error)?;
        write!(
            f,
            "{:04}-{:02}-{:02}T",
            utc.year(),
            u8::from(utc.month()),
            utc.day()
        )?;
        write!(
            f,
            "{:02}:{:02}:{:02}",
            utc.hour(),
            utc.minute(),
            utc.second()
        )?;
        match self.decimals {
            0 => f.write_str("Z"),
            decimals => {
                write!(
                    f,
                    ".{:0width$}Z",
                    self.nanos / unit(decimals),
                    width = decimals.into()
                )
            }
        }
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        let digits_at = |from: usize, count: usize| -> Result<u32, InvalidTimestamp> {
            let digits = text
                .as_bytes()
                .get(from..from + count)
                .ok_or(InvalidTimestamp)?;
            digits.iter().try_fold(0u32, |value, byte| match byte {
                b'0'..=b'9' => Ok(value * 10 + u32::from(byte - b'0')),
                _ => Err(InvalidTimestamp),
            })
        };
        let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
        if marks
            .iter()
            .any(|&(at, mark)| text.as_bytes().get(at) != Some(&mark))
        {
            return Err(InvalidTimestamp);
        }
        let small = |from: usize| u8::try_from(digits_at(from, 2)?).map_err(|_| InvalidTimestamp);
        let invalid = |_: time::error::ComponentRange| InvalidTimestamp;
        let year = i32::try_from(digits_at(0, 4)?).map_err(|_| InvalidTimestamp)?;
        let month = Month::try_from(small(5)?).map_err(invalid)?;
        let date = Date::from_calendar_date(year, month, small(8)?).map_err(invalid)?;
        let time = Time::from_hms(small(11)?, small(14)?, small(17)?).map_err(invalid)?;
        let seconds = PrimitiveDateTime::new(date, time)
            .assume_utc()
            .unix_timestamp();
        let (nanos, decimals) = match text.get(19..).ok_or(InvalidTimestamp)? {
            "Z" => (0, 0),
            fraction => {
                let digits = fraction
                    .strip_prefix('.')
                    .and_then(|rest| rest.strip_suffix('Z'))
                    .filter(|digits| (1..=9).contains(&digits.len()))
                    .ok_or(InvalidTimestamp)?;
                let decimals = u8::try_from(digits.len()).map_err(|_| InvalidTimestamp)?;
                (digits_at(20, digits.len())? * unit(decimals), decimals)
            }
        };
        Self::new(seconds, nanos, decimals)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_comes_back_as_it_went_in() {
        for text in [
            "2016-02-29T01:23:00Z",
            "2016-02-29T01:23:00.000Z",
            "1969-12-31T23:59:59.999999999Z",
            "0000-01-01T00:00:00Z",
            "9999-12-31T23:59:59.1Z",
        ] {
            assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_not_utc_in_rfc_3339_is_refused() {
        for text in [
            "",
            "2016-02-29",
            "2016-02-30T00:00:00Z",
            "2016-02-29T24:00:00Z",
            "2016-02-29T01:23:00",
            "2016-02-29T01:23:00+00:00",
            "2016-02-29T01:23:00.Z",
            "2016-02-29T01:23:00.0123456789Z",
            "2016-02-29t01:23:00z",
            "2016-02-29T01:23:0\u{e9}Z",
            "+016-02-29T01:23:00Z",
        ] {
            assert!(text.parse::<Timestamp>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn microseconds_before_1970_round_down() {
        let time = Timestamp::from_micros(-1);
        assert_eq!(time.to_string(), "1969-12-31T23:59:59.999999Z");
        assert_eq!(time.micros(), -1);
    }

    #[test]
    fn a_time_finer_than_its_decimals_is_refused() {
        assert!(Timestamp::new(0, 1_000, 6).is_ok());
        assert!(Timestamp::new(0, 1_001, 6).is_err());
        assert!(Timestamp::new(0, 0, 10).is_err());
        assert!(Timestamp::new(Timestamp::SECONDS_MAX + 1, 0, 0).is_err());
    }
}
