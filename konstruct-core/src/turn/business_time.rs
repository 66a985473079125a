//! Writes the time and the hours of the business in words, for the model.

use std::time::Duration;

use jiff::{ZonedDateTime, civil::Date, tz::TimeZone};

use crate::{
    Employee, Timestamp,
    employee::{HoursException, Opening, TimeSpan, WorkingHours, local},
};

const WEEKDAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];
/// The days of which exceptions are shown.
const SHOWN_DAYS: i32 = 14;
/// The age of the last message from which on its time is shown.
const OLD: Duration = Duration::from_secs(5 * 60);

/// Returns the hours of the week, which are the same in every turn.
pub(super) fn week(hours: &WorkingHours) -> String {
    let texts: Vec<String> = (1..=7).map(|day| spans(&hours.spans_of(day))).collect();
    let mut groups: Vec<(usize, usize)> = Vec::new();
    for day in 0..texts.len() {
        match groups.last_mut() {
            Some((_, to)) if texts[*to] == texts[day] => *to = day,
            _ => groups.push((day, day)),
        }
    }
    let groups = groups.into_iter().map(|(from, to)| {
        let days = match to - from {
            0 => WEEKDAYS[from].to_owned(),
            1 => format!("{} and {}", WEEKDAYS[from], WEEKDAYS[to]),
            6 => "every day".to_owned(),
            _ => format!("{} to {}", WEEKDAYS[from], WEEKDAYS[to]),
        };
        format!("{days}: {}", texts[from])
    });
    let week = groups.collect::<Vec<_>>().join("; ");
    format!(
        "The business's usual opening hours (time zone {}): {week}.",
        hours.time_zone
    )
}

/// Returns the time, whether the business is open, and the exceptions ahead.
///
/// `at` is when the turn began, `latest` the time of the last message.
pub(super) fn now(employee: &Employee, at: Timestamp, latest: Timestamp) -> Vec<String> {
    let hours = employee.hours.as_ref();
    // The names of the time zones are validated, but a later build may know fewer of them.
    let in_zone = hours.and_then(|hours| Some((hours, hours.local(at).ok()?)));
    let Some(now) = in_zone
        .as_ref()
        .map(|(_, now)| now.clone())
        .or_else(|| local(at, TimeZone::UTC).ok())
    else {
        return Vec::new();
    };
    let mut lines = vec![match &in_zone {
        Some((hours, now)) => {
            let at = day_and_time(now);
            format!("It is {at} in {}. {}", hours.time_zone, status(hours, now))
        }
        None => format!(
            "It is {} UTC. The time zone of the business is not known.",
            day_and_time(&now)
        ),
    }];
    if let Some((hours, now)) = &in_zone {
        lines.extend(exceptions(hours, now));
    }
    if latest != Timestamp::default()
        && at.since(latest) >= OLD
        && let Ok(latest) = local(latest, now.time_zone().clone())
    {
        let written = day_and_time(&latest);
        lines.push(format!("The last message was written on {written}."));
    }
    lines
}

/// Returns whether the business is open, when that changes, and the hours of the day.
fn status(hours: &WorkingHours, now: &ZonedDateTime) -> String {
    let status = match hours.opening(now) {
        Opening::Open(None) => "The business is open around the clock.".into(),
        Opening::Open(Some(until)) => {
            format!("The business is open until {}.", end(&until, now))
        }
        Opening::Closed(Some(next)) => {
            let (on, time) = (day(&next, now), time(&next));
            format!("The business is closed; it opens {on} at {time}. Say so if it matters.")
        }
        Opening::Closed(None) => {
            "The business is closed, and no opening is planned. Say so if it matters.".into()
        }
    };
    let today = now.date();
    let named = hours.exceptions.iter().find(|it| it.date == today);
    let name = named.map_or_else(String::new, name);
    let spans = spans(&hours.spans_on(today));
    format!("{status} Today's hours{name}: {spans}.")
}

fn exceptions(hours: &WorkingHours, now: &ZonedDateTime) -> Option<String> {
    let today = now.date();
    let mut ahead: Vec<&HoursException> = hours
        .exceptions
        .iter()
        .filter(|it| (1..=SHOWN_DAYS).contains(&(it.date - today).get_days()))
        .collect();
    ahead.sort_unstable_by_key(|it| it.date);
    let ahead = ahead.into_iter().map(|it| {
        let (weekday, date) = (weekday(it.date), it.date);
        format!(
            "{weekday} {date}{}: {}",
            name(it),
            spans(&hours.spans_on(date))
        )
    });
    let ahead = ahead.collect::<Vec<_>>().join("; ");
    (!ahead.is_empty()).then(|| format!("Other hours in the next two weeks: {ahead}."))
}

/// Returns the name of a day in parentheses, on one line.
fn name(exception: &HoursException) -> String {
    let name = exception.name.split_whitespace().collect::<Vec<_>>();
    match name.join(" ") {
        name if name.is_empty() => name,
        name => format!(" ({name})"),
    }
}

fn spans(spans: &[TimeSpan]) -> String {
    if spans.is_empty() {
        return "closed".into();
    }
    let spans = spans.iter().map(ToString::to_string);
    spans.collect::<Vec<_>>().join(", ")
}

fn weekday(date: Date) -> &'static str {
    WEEKDAYS[usize::from(date.weekday().to_monday_zero_offset().unsigned_abs())]
}

fn time(at: &ZonedDateTime) -> String {
    format!("{:02}:{:02}", at.hour(), at.minute())
}

fn day_and_time(at: &ZonedDateTime) -> String {
    format!("{} {}, {}", weekday(at.date()), at.date(), time(at))
}

/// Returns the day of a time in words. The name of a weekday is enough within a week.
fn day(at: &ZonedDateTime, now: &ZonedDateTime) -> String {
    match (at.date() - now.date()).get_days() {
        0 => "today".into(),
        1..=6 => format!("on {}", weekday(at.date())),
        _ => format!("on {} {}", weekday(at.date()), at.date()),
    }
}

/// Returns the end of an open period. Midnight belongs to the day before.
fn end(until: &ZonedDateTime, now: &ZonedDateTime) -> String {
    let midnight = until.hour() == 0 && until.minute() == 0;
    let before = until.yesterday().ok().filter(|_| midnight);
    let (day_of, time) = match &before {
        Some(before) => (before, "24:00".to_owned()),
        None => (until, time(until)),
    };
    format!("{time} {}", day(day_of, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exception(date: &str, name: &str) -> HoursException {
        HoursException::new(date, name).unwrap()
    }

    fn office_hours(zone: &str) -> WorkingHours {
        WorkingHours::new(zone)
            .open(1..=5, "09:00", "17:00")
            .unwrap()
    }

    #[test]
    fn the_week_is_grouped() {
        let check = |hours: WorkingHours, expected: &str| {
            let text = week(&hours);
            assert_eq!(
                text,
                format!("The business's usual opening hours (time zone UTC): {expected}.")
            );
        };
        let new = || WorkingHours::new("UTC");
        check(
            office_hours("UTC"),
            "Monday to Friday: 09:00 to 17:00; Saturday and Sunday: closed",
        );
        check(new(), "every day: closed");
        check(
            new().open(1..=7, "00:00", "24:00").unwrap(),
            "every day: all day",
        );
        check(
            new()
                .open(5..=5, "21:00", "02:00")
                .unwrap()
                .open(5..=5, "09:00", "12:00")
                .unwrap()
                .open(6..=6, "18:00", "00:00")
                .unwrap(),
            "Monday to Thursday: closed; Friday: 09:00 to 12:00, 21:00 to 02:00 the next day; Saturday: 18:00 to 24:00; \
             Sunday: closed",
        );
    }

    #[test]
    fn the_time_and_the_next_change_are_in_words() {
        let check = |hours: Option<WorkingHours>, at: &str, expected: &str| {
            let mut builder = Employee::builder("Ava");
            if let Some(hours) = hours {
                builder = builder.hours(hours);
            }
            let at: Timestamp = at.parse().unwrap();
            let lines = now(&builder.build().unwrap(), at, at);
            assert_eq!(lines.join("\n"), expected);
        };
        let new_york = || Some(office_hours("America/New_York"));
        check(
            new_york(),
            "2026-11-30T01:10:54Z",
            "It is Sunday 2026-11-29, 20:10 in America/New_York. The business is closed; it opens on Monday at 09:00. \
             Say so if it matters. Today's hours: closed.",
        );
        check(
            new_york(),
            "2026-11-30T13:59:59Z",
            "It is Monday 2026-11-30, 08:59 in America/New_York. The business is closed; it opens today at 09:00. \
             Say so if it matters. Today's hours: 09:00 to 17:00.",
        );
        check(
            new_york(),
            "2026-11-30T14:00:00Z",
            "It is Monday 2026-11-30, 09:00 in America/New_York. The business is open until 17:00 today. \
             Today's hours: 09:00 to 17:00.",
        );
        check(
            None,
            "2026-11-30T01:10:54Z",
            "It is Monday 2026-11-30, 01:10 UTC. The time zone of the business is not known.",
        );
        let always = WorkingHours::new("UTC").open(1..=7, "00:00", "24:00");
        check(
            Some(always.unwrap()),
            "2026-11-30T01:10:54Z",
            "It is Monday 2026-11-30, 01:10 in UTC. The business is open around the clock. Today's hours: all day.",
        );
        check(
            Some(WorkingHours::new("UTC")),
            "2026-11-30T01:10:54Z",
            "It is Monday 2026-11-30, 01:10 in UTC. The business is closed, and no opening is planned. \
             Say so if it matters. Today's hours: closed.",
        );
        // Spans that touch are one period, and midnight is the end of a day.
        let nights = WorkingHours::new("UTC")
            .open(5..=5, "21:00", "24:00")
            .unwrap()
            .open(6..=6, "00:00", "02:00")
            .unwrap()
            .open(7..=7, "18:00", "24:00")
            .unwrap();
        check(
            Some(nights.clone()),
            "2026-11-27T22:00:00Z",
            "It is Friday 2026-11-27, 22:00 in UTC. The business is open until 02:00 on Saturday. \
             Today's hours: 21:00 to 24:00.",
        );
        check(
            Some(nights),
            "2026-11-29T22:00:00Z",
            "It is Sunday 2026-11-29, 22:00 in UTC. The business is open until 24:00 today. \
             Today's hours: 18:00 to 24:00.",
        );
        // A week from now, the name of the weekday is not enough.
        check(
            Some(
                WorkingHours::new("UTC")
                    .open(1..=1, "09:00", "10:00")
                    .unwrap(),
            ),
            "2026-11-30T10:00:00Z",
            "It is Monday 2026-11-30, 10:00 in UTC. The business is closed; it opens on Monday 2026-12-07 at 09:00. \
             Say so if it matters. Today's hours: 09:00 to 10:00.",
        );
    }

    #[test]
    fn exceptions_of_the_next_two_weeks_are_listed() {
        let hours = office_hours("Europe/Berlin")
            .exception(exception("2027-01-01", "New Year's Day"))
            .exception(exception("2026-12-25", "Christmas\nDay"))
            .exception(exception("2026-12-24", "").open("09:00", "13:00").unwrap())
            .exception(exception("2027-01-09", "too far ahead"))
            .exception(exception("2026-12-20", "over"));
        let employee = Employee::builder("Ava").hours(hours).build().unwrap();
        let at: Timestamp = "2026-12-25T09:00:00Z".parse().unwrap();
        assert_eq!(
            now(&employee, at, at - Duration::from_secs(3600)),
            [
                "It is Friday 2026-12-25, 10:00 in Europe/Berlin. The business is closed; it opens on Monday at 09:00. \
                 Say so if it matters. Today's hours (Christmas Day): closed.",
                "Other hours in the next two weeks: Friday 2027-01-01 (New Year's Day): closed.",
                "The last message was written on Friday 2026-12-25, 09:00.",
            ]
        );
    }
}
