//! Working hours: the week, exceptions by date, and what is open at a time.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use jiff::{Timestamp as Instant, ZonedDateTime, civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, Timestamp};

/// The days in which the next opening is looked for.
const LOOK_AHEAD: usize = 400;
/// The seconds of coming openness from which on a business counts as always open: eight days.
const ALWAYS_SECS: i64 = 8 * 86_400;
/// The maximum numbers of spans and exceptions.
const MOST_SPANS: usize = 100;
const MOST_EXCEPTIONS: usize = 400;

/// The working hours of an employee.
///
/// ```
/// use konstruct_core::{Employee, employee::{HoursException, WorkingHours}};
///
/// let hours = WorkingHours::new("Europe/Berlin")
///     .open(1..=4, "09:00", "18:00")?
///     .open(5..=5, "21:00", "02:00")? // Until Saturday, 02:00.
///     .exception(HoursException::new("2026-12-24", "Christmas Eve")?.open("09:00", "13:00")?)
///     .exception(HoursException::new("2026-12-25", "Christmas Day")?);
/// let ava = Employee::builder("Ava").hours(hours).build()?;
/// assert!(WorkingHours::new("Europe/Berlin").open(1..=5, "9", "18:00").is_err());
/// # Ok::<(), konstruct_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkingHours {
    /// The IANA name of the time zone, such as `Europe/Berlin`.
    pub time_zone: String,
    /// The open spans of the week. Days without a span are closed.
    pub open: Vec<OpenSpan>,
    /// The dates with other hours, such as holidays. Dates in the past have no effect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<HoursException>,
    /// The reply outside of the working hours, at most once per turn. Empty: the model answers, and knows that the business is
    /// closed.
    #[serde(default)]
    pub closed_message: String,
}

/// An open span on a weekday.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSpan {
    /// The weekday on which the span begins, from 1 (Monday) to 7 (Sunday).
    pub weekday: u8,
    /// The start, inclusive.
    pub from: TimeOfDay,
    /// The end, exclusive. An end before the start is on the next day.
    pub to: TimeOfDay,
}

/// An open span on a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeSpan {
    /// The start, inclusive.
    pub from: TimeOfDay,
    /// The end, exclusive. An end before the start is on the next day.
    pub to: TimeOfDay,
}

/// A date whose hours are not those of its weekday. They replace the spans that begin on the date; a span that began on the day
/// before continues to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HoursException {
    /// The local date, `YYYY-MM-DD`.
    pub date: Date,
    /// The open spans. Empty: closed.
    #[serde(default)]
    pub open: Vec<TimeSpan>,
    /// The name of the day, such as `Christmas Day`, at most 80 characters; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// A time of day in whole minutes, from 00:00 to 24:00, written `HH:MM`.
///
/// ```
/// use konstruct_core::employee::TimeOfDay;
///
/// let midnight: TimeOfDay = "24:00".parse()?;
/// assert_eq!(midnight.to_string(), "24:00");
/// assert!("24:01".parse::<TimeOfDay>().is_err());
/// # Ok::<(), konstruct_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TimeOfDay {
    minutes: i16,
}

impl TimeOfDay {
    const MIDNIGHT: Self = Self { minutes: 0 };
    const END_OF_DAY: Self = Self { minutes: 24 * 60 };
}

impl FromStr for TimeOfDay {
    type Err = Error;

    /// Parses `HH:MM`, or `HH:MM:00`.
    fn from_str(text: &str) -> Result<Self> {
        let invalid = || Error::invalid("time", "must be a time as `HH:MM`, 00:00 to 24:00");
        let number = |digits: &str| match digits.as_bytes() {
            [b'0'..=b'9', b'0'..=b'9'] => digits.parse::<i16>().map_err(|_| invalid()),
            _ => Err(invalid()),
        };
        let (hour, minute) = text.split_once(':').ok_or_else(invalid)?;
        let minute = minute.strip_suffix(":00").unwrap_or(minute);
        let (hour, minute) = (number(hour)?, number(minute)?);
        let minutes = hour * 60 + minute;
        if minute > 59 || minutes > Self::END_OF_DAY.minutes {
            return Err(invalid());
        }
        Ok(Self { minutes })
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.minutes / 60, self.minutes % 60)
    }
}

impl From<TimeOfDay> for String {
    fn from(time: TimeOfDay) -> Self {
        time.to_string()
    }
}

impl TryFrom<String> for TimeOfDay {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl TimeSpan {
    /// Returns the beginning and the end of the span on a date; `None` outside the calendar.
    fn on(self, date: Date, zone: &TimeZone) -> Option<(Instant, Instant)> {
        let at = |date: Date, minutes: i16| {
            let (hour, minute) = (minutes / 60, minutes % 60);
            let (hour, minute) = (i8::try_from(hour).ok()?, i8::try_from(minute).ok()?);
            // A time that a change of the clocks skips or repeats is taken as after the gap, and as its first occurrence.
            let zoned = date.at(hour, minute, 0, 0).to_zoned_datetime(zone.clone());
            Some(zoned.ok()?.timestamp())
        };
        let end = match self.to {
            to if to <= self.from || to == TimeOfDay::END_OF_DAY => {
                at(date.tomorrow().ok()?, to.minutes % (24 * 60))
            }
            to => at(date, to.minutes),
        };
        Some((at(date, self.from.minutes)?, end?))
    }

    fn validate(self, field: &str) -> Result<()> {
        if self.from == TimeOfDay::END_OF_DAY {
            return Err(Error::invalid(
                &format!("{field}.from"),
                "must be before 24:00; use 00:00 of the next day",
            ));
        }
        if self.from == self.to {
            return Err(Error::invalid(
                &format!("{field}.to"),
                "must differ from `from`; a whole day is 00:00 to 24:00",
            ));
        }
        Ok(())
    }
}

impl fmt::Display for TimeSpan {
    /// Writes the span in words, such as `21:00 to 02:00 the next day`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to } = self;
        match (*from, *to) {
            (TimeOfDay::MIDNIGHT, TimeOfDay::END_OF_DAY) => f.write_str("all day"),
            (_, TimeOfDay::MIDNIGHT) => write!(f, "{from} to 24:00"),
            _ if to <= from => write!(f, "{from} to {to} the next day"),
            _ => write!(f, "{from} to {to}"),
        }
    }
}

fn time(field: &str, text: &str) -> Result<TimeOfDay> {
    text.parse().map_err(|error| {
        Error::invalid(&format!("hours.{field}"), "expected a time as `HH:MM`").with_source(error)
    })
}

impl HoursException {
    /// Creates a closed date, given as `YYYY-MM-DD`, with a name that may be empty.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a date that is not `YYYY-MM-DD`.
    pub fn new(date: &str, name: impl Into<String>) -> Result<Self> {
        let date = Date::strptime("%Y-%m-%d", date).map_err(|error| {
            Error::invalid("hours.date", "expected a date as `YYYY-MM-DD`").with_source(error)
        })?;
        Ok(Self {
            date,
            open: Vec::new(),
            name: name.into(),
        })
    }

    /// Adds an open span, given as `HH:MM`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a time that is not `HH:MM`.
    pub fn open(mut self, from: &str, to: &str) -> Result<Self> {
        let (from, to) = (time("from", from)?, time("to", to)?);
        self.open.push(TimeSpan { from, to });
        Ok(self)
    }
}

/// Whether a business is open, and when that changes next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Opening {
    /// It is open until this time; `None`: for at least a week.
    Open(Option<ZonedDateTime>),
    /// It is closed until this time; `None`: for at least a year.
    Closed(Option<ZonedDateTime>),
}

impl WorkingHours {
    /// Creates hours without an open day, in an IANA time zone such as `Europe/Berlin`.
    pub fn new(time_zone: impl Into<String>) -> Self {
        Self {
            time_zone: time_zone.into(),
            open: Vec::new(),
            exceptions: Vec::new(),
            closed_message: String::new(),
        }
    }

    /// Adds an open span, given as `HH:MM`, on a range of weekdays from 1 (Monday) to 7 (Sunday). A span may end at 24:00, or on
    /// the next day, such as `21:00` to `02:00`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a time that is not `HH:MM`.
    pub fn open(mut self, weekdays: RangeInclusive<u8>, from: &str, to: &str) -> Result<Self> {
        let (from, to) = (time("from", from)?, time("to", to)?);
        let spans = weekdays.map(|weekday| OpenSpan { weekday, from, to });
        self.open.extend(spans);
        Ok(self)
    }

    /// Adds a date with other hours.
    #[must_use]
    pub fn exception(mut self, exception: HoursException) -> Self {
        self.exceptions.push(exception);
        self
    }

    /// Sets the reply outside of the working hours.
    #[must_use]
    pub fn closed_message(mut self, text: impl Into<String>) -> Self {
        self.closed_message = text.into();
        self
    }

    /// Returns whether a time is within the working hours.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for an unknown time zone.
    pub fn is_open(&self, at: Timestamp) -> Result<bool> {
        let local = self.local(at)?;
        Ok(matches!(self.opening(&local), Opening::Open(_)))
    }

    /// Returns a time on the clock of the business.
    pub(crate) fn local(&self, at: Timestamp) -> Result<ZonedDateTime> {
        let zone = TimeZone::get(&self.time_zone).map_err(|error| {
            Error::invalid(
                "hours.time_zone",
                "unknown time zone; use an IANA name such as `Europe/Berlin`",
            )
            .with_source(error)
        })?;
        local(at, zone)
    }

    /// Returns whether the business is open at a local time, and when that changes.
    pub(crate) fn opening(&self, local: &ZonedDateTime) -> Opening {
        let (now, zone) = (local.timestamp(), local.time_zone());
        let mut date = local.date().yesterday().ok();
        let mut open_until: Option<Instant> = None;
        for _ in 0..LOOK_AHEAD {
            let Some(day) = date else { break };
            let spans = self.spans_on(day).into_iter();
            let mut periods: Vec<_> = spans.filter_map(|span| span.on(day, zone)).collect();
            periods.sort_unstable();
            for (from, to) in periods {
                match open_until {
                    Some(until) if until < from => {
                        return Opening::Open(Some(until.to_zoned_datetime(zone.clone())));
                    }
                    Some(until) => open_until = Some(until.max(to)),
                    None if to <= now => {}
                    None if from <= now => open_until = Some(to),
                    None => return Opening::Closed(Some(from.to_zoned_datetime(zone.clone()))),
                }
            }
            if open_until.is_some_and(|until| until.as_second() - now.as_second() > ALWAYS_SECS) {
                return Opening::Open(None);
            }
            date = day.tomorrow().ok();
        }
        match open_until {
            Some(until) => Opening::Open(Some(until.to_zoned_datetime(zone.clone()))),
            None => Opening::Closed(None),
        }
    }

    /// Returns the open spans that begin on a date, in order.
    pub(crate) fn spans_on(&self, date: Date) -> Vec<TimeSpan> {
        let exception = self.exceptions.iter().find(|it| it.date == date);
        let Some(exception) = exception else {
            return self.spans_of(date.weekday().to_monday_one_offset());
        };
        let mut spans = exception.open.clone();
        spans.sort_unstable_by_key(|span| span.from);
        spans
    }

    /// Returns the open spans that begin on a weekday from 1 (Monday) to 7 (Sunday), in order.
    pub(crate) fn spans_of(&self, weekday: i8) -> Vec<TimeSpan> {
        let own = |span: &&OpenSpan| i8::try_from(span.weekday) == Ok(weekday);
        let span = |&OpenSpan { from, to, .. }: &OpenSpan| TimeSpan { from, to };
        let mut spans: Vec<_> = self.open.iter().filter(own).map(span).collect();
        spans.sort_unstable_by_key(|span| span.from);
        spans
    }

    pub(super) fn validate(&self) -> Result<()> {
        self.local(Timestamp::default())?;
        at_most("hours.open", self.open.len(), MOST_SPANS, "spans")?;
        for (i, &OpenSpan { weekday, from, to }) in self.open.iter().enumerate() {
            if !(1..=7).contains(&weekday) {
                return Err(Error::invalid(
                    &format!("hours.open[{i}].weekday"),
                    "must be 1 (Monday) to 7 (Sunday)",
                ));
            }
            TimeSpan { from, to }.validate(&format!("hours.open[{i}]"))?;
        }
        let dates = self.exceptions.len();
        at_most("hours.exceptions", dates, MOST_EXCEPTIONS, "dates")?;
        for (i, exception) in self.exceptions.iter().enumerate() {
            let field = format!("hours.exceptions[{i}]");
            let earlier = &self.exceptions[..i];
            if earlier.iter().any(|other| other.date == exception.date) {
                return Err(Error::invalid(
                    &format!("{field}.date"),
                    "is listed twice; put all spans of a date into one entry",
                ));
            }
            super::length(&format!("{field}.name"), &exception.name, 0, 80)?;
            let spans = exception.open.len();
            at_most(&format!("{field}.open"), spans, MOST_SPANS, "spans")?;
            for (n, span) in exception.open.iter().enumerate() {
                span.validate(&format!("{field}.open[{n}]"))?;
            }
        }
        Ok(())
    }
}

/// Returns a time on the clock of a time zone.
pub(crate) fn local(at: Timestamp, zone: TimeZone) -> Result<ZonedDateTime> {
    let instant = Instant::from_microsecond(at.as_micros())
        .map_err(|error| Error::invalid("time", "outside the calendar").with_source(error))?;
    Ok(instant.to_zoned_datetime(zone))
}

fn at_most(field: &str, count: usize, most: usize, what: &str) -> Result<()> {
    if count <= most {
        return Ok(());
    }
    Err(Error::invalid(
        field,
        format!("must be at most {most} {what}; remove those that are no longer needed"),
    ))
}
