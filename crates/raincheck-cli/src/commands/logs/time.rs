//! Times as logs write them.

use serde::{Deserialize, Serialize};

const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
const DAY: i64 = 86_400;

/// A moment, as the clock of the server showed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Seconds since 1970 began on that clock: what a log's reader calls the time.
    pub(crate) wall: i64,
    /// How far that clock is ahead of UTC, in seconds.
    pub(crate) offset: i32,
}

impl Stamp {
    /// Seconds since 1970 began in Greenwich.
    pub(crate) fn utc(self) -> i64 {
        self.wall - i64::from(self.offset)
    }
}

/// How a log writes its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TimeFormat {
    /// `10/Oct/2000:13:55:36 -0700`
    Common,
    /// So many ticks of a second since 1970, with or without a fraction.
    Epoch { ticks: i64 },
    /// As `strftime` was told.
    Items(Vec<Item>),
}

/// A piece of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Literal(u8),
    Day,
    MonthName,
    Month,
    Year,
    ShortYear,
    Hour,
    Minute,
    Second,
    Zone,
    Epoch,
}

impl TimeFormat {
    /// `2000-10-10T13:55:36-07:00`
    pub(crate) fn iso() -> Self {
        Self::strftime("%Y-%m-%dT%H:%M:%S%z").expect("every directive of it is known")
    }

    /// Reads a format of `strftime`. Returns the directive that is not known, if there is one.
    pub(crate) fn strftime(format: &str) -> Result<Self, String> {
        let mut items = Vec::new();
        let mut rest = format.bytes();
        while let Some(byte) = rest.next() {
            if byte != b'%' {
                items.push(Item::Literal(byte));
                continue;
            }
            let within = |format| match Self::strftime(format) {
                Ok(Self::Items(items)) => items,
                _ => Vec::new(),
            };
            match rest.next() {
                Some(b'd' | b'e') => items.push(Item::Day),
                Some(b'b' | b'h') => items.push(Item::MonthName),
                Some(b'm') => items.push(Item::Month),
                Some(b'Y') => items.push(Item::Year),
                Some(b'y') => items.push(Item::ShortYear),
                Some(b'H' | b'k') => items.push(Item::Hour),
                Some(b'M') => items.push(Item::Minute),
                Some(b'S') => items.push(Item::Second),
                Some(b'z') => items.push(Item::Zone),
                Some(b's') => items.push(Item::Epoch),
                Some(b'T') => items.extend(within("%H:%M:%S")),
                Some(b'R') => items.extend(within("%H:%M")),
                Some(b'F') => items.extend(within("%Y-%m-%d")),
                Some(b'D') => items.extend(within("%m/%d/%y")),
                Some(b'%') => items.push(Item::Literal(b'%')),
                Some(other) => return Err(format!("%{}", char::from(other))),
                None => return Err("%".into()),
            }
        }
        Ok(Self::Items(items))
    }
}

/// Reads times of one log, where most lines are of the day of the line before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock {
    date: [u8; 11],
    day: i64,
}

impl Clock {
    /// The time that stands here, if it is one.
    pub(crate) fn read(&mut self, text: &[u8], format: &TimeFormat) -> Option<Stamp> {
        match format {
            TimeFormat::Common => self.common(text),
            TimeFormat::Epoch { ticks } => {
                let whole = text.split(|byte| *byte == b'.').next()?;
                Some(Stamp { wall: number(whole)? / ticks, offset: 0 })
            }
            TimeFormat::Items(items) => read_items(text, items),
        }
    }

    fn common(&mut self, text: &[u8]) -> Option<Stamp> {
        let text: &[u8; 26] = text.try_into().ok()?;
        let date = &text[..11];
        if date != self.date {
            self.day = common_date(date)?;
            self.date.copy_from_slice(date);
        }
        if [text[11], text[14], text[17], text[20]] != *b"::: " {
            return None;
        }
        let (hour, minute, second) = (two(&text[12..14])?, two(&text[15..17])?, two(&text[18..20])?);
        let offset = zone(&text[21..])?.0;
        Some(Stamp { wall: self.day * DAY + time_of_day(hour, minute, second)?, offset })
    }
}

/// `10/Oct/2000` as a day.
fn common_date(date: &[u8]) -> Option<i64> {
    if date[2] != b'/' || date[6] != b'/' {
        return None;
    }
    day(number(&date[7..])?, month_named(&date[3..6])?, two(&date[..2])?)
}

fn read_items(mut text: &[u8], items: &[Item]) -> Option<Stamp> {
    let (mut year, mut month, mut day_of_month) = (1970, 1, 1);
    let (mut hour, mut minute, mut second, mut offset) = (0, 0, 0, 0);
    let mut epoch = None;
    for item in items {
        let length = match item {
            Item::Literal(byte) => {
                text = text.strip_prefix(&[*byte])?;
                continue;
            }
            Item::Zone => {
                let (seconds, length) = zone(text)?;
                offset = seconds;
                text = &text[length..];
                continue;
            }
            Item::Epoch => text.iter().take_while(|byte| byte.is_ascii_digit()).count(),
            Item::Year => 4,
            Item::MonthName => 3,
            _ => 2,
        };
        let (here, rest) = text.split_at_checked(length)?;
        text = rest;
        match item {
            Item::Day => day_of_month = two(here)?,
            Item::Month => month = two(here)?,
            Item::MonthName => month = month_named(here)?,
            Item::Year => year = number(here)?,
            Item::ShortYear => year = 2000 + two(here)? - if two(here)? >= 69 { 100 } else { 0 },
            Item::Hour => hour = two(here)?,
            Item::Minute => minute = two(here)?,
            Item::Second => second = two(here)?,
            Item::Epoch => epoch = Some(number(here)?),
            Item::Literal(_) | Item::Zone => {}
        }
    }
    if !text.is_empty() {
        return None;
    }
    let wall = match epoch {
        Some(seconds) => seconds,
        None => day(year, month, day_of_month)? * DAY + time_of_day(hour, minute, second)?,
    };
    Some(Stamp { wall, offset })
}

/// A length of time that a log is cut into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub(crate) enum Span {
    Minute,
    Hour,
    Day,
    Month,
}

impl Span {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// Which one this time of the wall clock is in.
    pub(crate) fn of(self, wall: i64) -> i64 {
        match self {
            Self::Minute => wall.div_euclid(60),
            Self::Hour => wall.div_euclid(3600),
            Self::Day => wall.div_euclid(DAY),
            Self::Month => {
                let (year, month, _) = date(wall.div_euclid(DAY));
                year * 12 + month - 1
            }
        }
    }

    /// When it began: `2015-05-17`, `2015-05-17 10:00`.
    pub(crate) fn shown(self, number: i64) -> String {
        match self {
            Self::Minute => shown(number * 60)[..16].into(),
            Self::Hour => shown(number * 3600)[..16].into(),
            Self::Day => shown(number * DAY)[..10].into(),
            Self::Month => format!("{:04}-{:02}", number.div_euclid(12), number.rem_euclid(12) + 1),
        }
    }
}

/// A time of the wall clock: `2015-05-17 10:05:03`.
pub(crate) fn shown(wall: i64) -> String {
    let (year, month, day) = date(wall.div_euclid(DAY));
    let second = wall.rem_euclid(DAY);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// A time as a log in the common format has it, in Greenwich: `17/May/2015:10:05:03 +0000`.
pub(crate) fn common(wall: i64) -> String {
    let (year, month, day) = date(wall.div_euclid(DAY));
    let second = wall.rem_euclid(DAY);
    let name = std::str::from_utf8(MONTHS[month as usize - 1]).expect("the names are ASCII");
    format!("{day:02}/{name}/{year:04}:{:02}:{:02}:{:02} +0000", second / 3600, second / 60 % 60, second % 60)
}

/// A time that the user typed: by the log's own clock, unless it says how far that is from UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Moment {
    Wall(i64),
    Utc(i64),
}

impl Moment {
    /// Reads `2015-05-17`, `2015-05-17 10:05`, `2015-05-17T10:05:03+02:00` or `17/May/2015:10:05:03 +0000`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        const FORMATS: [(&str, bool); 8] = [
            ("%F", false),
            ("%F %R", false),
            ("%F %T", false),
            ("%FT%R", false),
            ("%FT%T", false),
            ("%FT%T%z", true),
            ("%F %T %z", true),
            ("%d/%b/%Y:%T %z", true),
        ];
        for (format, has_zone) in FORMATS {
            let format = TimeFormat::strftime(format).expect("every directive of it is known");
            if let Some(stamp) = Clock::default().read(text.as_bytes(), &format) {
                return Ok(if has_zone { Self::Utc(stamp.utc()) } else { Self::Wall(stamp.wall) });
            }
        }
        Err("write it as in 2015-05-17, \"2015-05-17 10:05\" or 2015-05-17T10:05:03+02:00".into())
    }

    /// Whether this is not before that.
    pub(crate) fn is_reached_by(self, stamp: Stamp) -> bool {
        match self {
            Self::Wall(wall) => stamp.wall >= wall,
            Self::Utc(utc) => stamp.utc() >= utc,
        }
    }
}

fn month_named(name: &[u8]) -> Option<i64> {
    MONTHS.iter().position(|month| name.eq_ignore_ascii_case(&month[..])).map(|index| index as i64 + 1)
}

fn time_of_day(hour: i64, minute: i64, second: i64) -> Option<i64> {
    // A second of 60 is a leap second.
    (hour < 24 && minute < 60 && second <= 60).then_some(hour * 3600 + minute * 60 + second)
}

/// `+0200`, `-07:00` or `Z`: the seconds, and how many bytes it takes.
fn zone(text: &[u8]) -> Option<(i32, usize)> {
    let sign = match text.first()? {
        b'Z' => return Some((0, 1)),
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let colon = usize::from(text.get(3) == Some(&b':'));
    let (hours, minutes) = (two(text.get(1..3)?)?, two(text.get(3 + colon..5 + colon)?)?);
    Some((sign * (hours * 3600 + minutes * 60) as i32, 5 + colon))
}

/// Two digits, the first of which may be a space.
fn two(text: &[u8]) -> Option<i64> {
    let tens = if text[0] == b' ' { 0 } else { text[0].wrapping_sub(b'0') };
    let ones = text[1].wrapping_sub(b'0');
    (tens < 10 && ones < 10).then(|| i64::from(tens * 10 + ones))
}

/// Digits and nothing else, few enough to fit.
fn number(text: &[u8]) -> Option<i64> {
    if text.is_empty() || text.len() > 18 {
        return None;
    }
    text.iter().try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0')))
}

/// The day of this date, counted from 1970, if there was one.
fn day(year: i64, month: i64, day: i64) -> Option<i64> {
    let number = day_number(year, month, day);
    (date(number) == (year, month, day)).then_some(number)
}

/// Counts the days of the Gregorian calendar in years that begin in March, so that the leap day is the last.
fn day_number(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The year, month and day of a day counted from 1970.
fn date(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let (era, day_of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day_of_year - (153 * month_from_march + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str, format: &TimeFormat) -> Option<(String, i32)> {
        Clock::default().read(text.as_bytes(), format).map(|stamp| (shown(stamp.wall), stamp.offset))
    }

    #[test]
    fn the_common_form_is_read() {
        let read = |text| read(text, &TimeFormat::Common);

        assert_eq!(read("10/Oct/2000:13:55:36 -0700"), Some(("2000-10-10 13:55:36".into(), -25_200)));
        assert_eq!(read("29/Feb/2024:23:59:60 +0000"), Some(("2024-03-01 00:00:00".into(), 0)), "a leap second");
        for wrong in [
            "29/Feb/2023:00:00:00 +0000",
            "00/Oct/2000:13:55:36 -0700",
            "10/Okt/2000:13:55:36 -0700",
            "10/Oct/2000:24:55:36 -0700",
            "10/Oct/2000 13:55:36 -0700",
            "10/Oct/2000:13:55:36",
            "-",
            "",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn other_forms_are_read() {
        let strftime = |format| TimeFormat::strftime(format).unwrap();

        assert_eq!(read("2015-05-17T10:05:03+02:00", &TimeFormat::iso()), Some(("2015-05-17 10:05:03".into(), 7200)));
        assert_eq!(read("1431857103.123", &TimeFormat::Epoch { ticks: 1 }), Some(("2015-05-17 10:05:03".into(), 0)));
        assert_eq!(read("1431857103123", &TimeFormat::Epoch { ticks: 1000 }), Some(("2015-05-17 10:05:03".into(), 0)));
        assert_eq!(read(" 7/05/15 10:05", &strftime("%e/%m/%y %R")), Some(("2015-05-07 10:05:00".into(), 0)));
        assert_eq!(read("May", &strftime("%d")), None);
        assert_eq!(TimeFormat::strftime("%d %Q"), Err("%Q".into()));
    }

    #[test]
    fn a_typed_time_is_by_the_log_s_clock_unless_it_names_another() {
        let noon_in_berlin = Stamp { wall: 1_431_864_000, offset: 7200 };

        assert!(Moment::parse("2015-05-17 12:00").unwrap().is_reached_by(noon_in_berlin));
        assert!(!Moment::parse("2015-05-17T12:00:00Z").unwrap().is_reached_by(noon_in_berlin));
        assert!(Moment::parse("17/May/2015:10:00:00 +0000").unwrap().is_reached_by(noon_in_berlin));
        assert!(Moment::parse("yesterday").unwrap_err().contains("2015-05-17"));
    }

    #[test]
    fn a_span_is_named_by_its_beginning() {
        let wall = 1_431_857_103;
        let named = [Span::Minute, Span::Hour, Span::Day, Span::Month].map(|span| span.shown(span.of(wall)));

        assert_eq!(named, ["2015-05-17 10:05", "2015-05-17 10:00", "2015-05-17", "2015-05"]);
    }

    proptest! {
        #[test]
        fn a_time_that_was_written_is_read_back(wall in -60_000_000_000_i64..250_000_000_000) {
            prop_assume!((0..=9999).contains(&date(wall.div_euclid(DAY)).0));
            let stamp = Clock::default().read(common(wall).as_bytes(), &TimeFormat::Common);

            prop_assert_eq!(stamp, Some(Stamp { wall, offset: 0 }));
        }

        #[test]
        fn nothing_makes_the_clock_panic(text in prop::collection::vec(any::<u8>(), 0..40), format in "[%a-zA-Z :/]{0,12}") {
            for format in [Ok(TimeFormat::Common), Ok(TimeFormat::iso()), TimeFormat::strftime(&format)].into_iter().flatten() {
                let _ = Clock::default().read(&text, &format);
            }
        }
    }
}
