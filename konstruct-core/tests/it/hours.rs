//! Working hours: midnight, exceptions, and changes of the clocks.

use konstruct_core::{
    Employee, Timestamp,
    employee::{HoursException, TimeOfDay, WorkingHours},
};

fn hours(zone: &str, spans: &[(u8, &str, &str)]) -> WorkingHours {
    spans
        .iter()
        .fold(WorkingHours::new(zone), |hours, (day, from, to)| {
            hours.open(*day..=*day, from, to).unwrap()
        })
}

fn exception(date: &str, spans: &[(&str, &str)]) -> HoursException {
    spans
        .iter()
        .fold(HoursException::new(date, "").unwrap(), |it, (from, to)| {
            it.open(from, to).unwrap()
        })
}

fn check(hours: &WorkingHours, times: &[(&str, bool)]) {
    Employee::builder("Ava")
        .hours(hours.clone())
        .build()
        .unwrap();
    for (at, expected) in times {
        let open = hours.is_open(at.parse::<Timestamp>().unwrap()).unwrap();
        assert_eq!(open, *expected, "{at} with {hours:?}");
    }
}

#[test]
fn spans_pass_midnight_and_end_at_24() {
    let friday_night = hours("Europe/Berlin", &[(5, "21:00", "02:00")]);
    check(
        &friday_night,
        &[
            ("2026-11-27T19:59:59Z", false),
            ("2026-11-27T20:00:00Z", true),
            ("2026-11-28T00:59:59Z", true),
            ("2026-11-28T01:00:00Z", false),
            // The hours of the morning belong to the evening before, not to Friday itself.
            ("2026-11-27T00:30:00Z", false),
        ],
    );
    for end in ["24:00", "00:00"] {
        let day = hours("Europe/Berlin", &[(1, "09:00", end)]);
        check(
            &day,
            &[
                ("2026-11-30T22:59:59Z", true),
                ("2026-11-30T23:00:00Z", false),
                ("2026-11-29T23:30:00Z", false),
            ],
        );
    }
    // The end of the week and of the year.
    let sunday = hours("UTC", &[(7, "22:00", "03:00"), (4, "20:00", "04:00")]);
    check(
        &sunday,
        &[
            ("2026-11-30T02:59:00Z", true),
            ("2026-11-30T03:00:00Z", false),
            ("2027-01-01T03:59:00Z", true),
            ("2027-01-01T04:00:00Z", false),
        ],
    );
    let always = WorkingHours::new("Asia/Tokyo").open(1..=7, "00:00", "24:00");
    check(
        &always.unwrap(),
        &[
            ("2026-11-30T14:59:59.999999Z", true),
            ("2026-11-30T15:00:00Z", true),
        ],
    );
}

#[test]
fn the_day_is_that_of_the_time_zone() {
    let monday = hours("America/New_York", &[(1, "00:00", "24:00")]);
    check(
        &monday,
        &[
            ("2026-11-30T01:10:54Z", false),
            ("2026-11-30T05:00:00Z", true),
            ("2026-12-01T04:59:59Z", true),
            ("2026-12-01T05:00:00Z", false),
        ],
    );
}

#[test]
fn spans_follow_changes_of_the_clocks() {
    // 2026-03-29: 02:00 becomes 03:00 in Berlin. 2026-10-25: 03:00 becomes 02:00.
    let night = hours("Europe/Berlin", &[(6, "22:00", "04:00")]);
    check(
        &night,
        &[
            ("2026-03-28T21:00:00Z", true),
            ("2026-03-29T01:59:59Z", true),
            ("2026-03-29T02:00:00Z", false),
            ("2026-10-24T20:00:00Z", true),
            ("2026-10-25T02:59:59Z", true),
            ("2026-10-25T03:00:00Z", false),
        ],
    );
    // A start that does not exist is moved out of the gap; of an hour that is repeated, the first one counts.
    let early = hours("Europe/Berlin", &[(7, "02:30", "06:00")]);
    check(
        &early,
        &[
            ("2026-03-29T01:29:00Z", false),
            ("2026-03-29T01:30:00Z", true),
            ("2026-10-25T00:30:00Z", true),
            ("2026-10-25T01:15:00Z", true),
        ],
    );
    // In Beirut, midnight of 2026-03-29 is skipped.
    let beirut = hours(
        "Asia/Beirut",
        &[(6, "20:00", "24:00"), (7, "00:00", "02:00")],
    );
    check(
        &beirut,
        &[
            ("2026-03-28T21:59:59Z", true),
            ("2026-03-28T22:00:00Z", true),
            ("2026-03-28T23:00:00Z", false),
        ],
    );
}

#[test]
fn exceptions_replace_the_spans_that_begin_on_their_date() {
    let hours = hours(
        "Europe/Berlin",
        &[(4, "21:00", "02:00"), (5, "09:00", "17:00")],
    )
    .exception(exception("2026-12-25", &[]))
    .exception(exception(
        "2026-12-31",
        &[("09:00", "12:00"), ("20:00", "01:00")],
    ))
    .exception(exception("2001-01-01", &[]));
    check(
        &hours,
        &[
            // Christmas Day is closed, except for the end of Christmas Eve's night.
            ("2026-12-25T00:59:00Z", true),
            ("2026-12-25T01:00:00Z", false),
            ("2026-12-25T10:00:00Z", false),
            ("2026-12-31T09:00:00Z", true),
            ("2026-12-31T11:30:00Z", false),
            ("2026-12-31T23:59:00Z", true),
            ("2027-01-01T00:30:00Z", false),
            ("2027-01-01T10:00:00Z", true),
        ],
    );
}

#[test]
fn errors_name_the_field_and_the_way_out() {
    let check = |hours: WorkingHours, expected: &str| {
        let error = Employee::builder("Ava").hours(hours).build().unwrap_err();
        assert_eq!(error.message(), expected);
    };
    let utc = || WorkingHours::new("UTC");
    check(
        WorkingHours::new("Europe/Atlantis"),
        "hours.time_zone: unknown time zone; use an IANA name such as `Europe/Berlin`",
    );
    check(
        hours("UTC", &[(1, "09:00", "17:00"), (8, "09:00", "17:00")]),
        "hours.open[1].weekday: must be 1 (Monday) to 7 (Sunday)",
    );
    check(
        hours("UTC", &[(1, "00:00", "00:00")]),
        "hours.open[0].to: must differ from `from`; a whole day is 00:00 to 24:00",
    );
    check(
        hours("UTC", &[(1, "24:00", "02:00")]),
        "hours.open[0].from: must be before 24:00; use 00:00 of the next day",
    );
    check(
        utc().exception(exception("2026-12-24", &[("10:00", "10:00")])),
        "hours.exceptions[0].open[0].to: must differ from `from`; a whole day is 00:00 to 24:00",
    );
    check(
        utc()
            .exception(exception("2026-12-24", &[]))
            .exception(exception("2026-12-24", &[])),
        "hours.exceptions[1].date: is listed twice; put all spans of a date into one entry",
    );
    check(
        utc().exception(HoursException::new("2026-12-24", "x".repeat(81)).unwrap()),
        "hours.exceptions[0].name: must be 0 to 80 characters",
    );
    let many = (0..101).fold(utc(), |hours, _| {
        hours.open(1..=1, "09:00", "10:00").unwrap()
    });
    check(
        many,
        "hours.open: must be at most 100 spans; remove those that are no longer needed",
    );
    for wrong in [
        "", "9", "9:00", "24:01", "12:60", "12:00:30", "+1:00", "12.00",
    ] {
        assert!(wrong.parse::<TimeOfDay>().is_err(), "{wrong}");
    }
    assert!(HoursException::new("2026-02-30", "").is_err());
}

#[test]
fn hours_keep_their_json() {
    let json = r#"{"time_zone":"UTC","open":[{"weekday":5,"from":"21:00","to":"24:00"}],"exceptions":[{"date":"2026-12-24","open":[{"from":"09:00","to":"13:00"}],"name":"Eve"},{"date":"2026-12-25","open":[]}],"closed_message":""}"#;
    let hours: WorkingHours = serde_json::from_str(json).unwrap();
    assert_eq!(serde_json::to_string(&hours).unwrap(), json);
    let seconds: TimeOfDay = serde_json::from_str("\"09:30:00\"").unwrap();
    assert_eq!(seconds.to_string(), "09:30");
}
