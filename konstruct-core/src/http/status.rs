//! The meaning of HTTP status codes and of `Retry-After`.

use std::time::Duration;

use crate::ErrorKind;

/// Returns the error kind of an unsuccessful status code for a body that contains no better information.
///
/// A status after which the request may have been carried out is [`ErrorKind::Ambiguous`]. A busy server refuses requests with
/// 503 or 529, which are [`ErrorKind::Unavailable`]. A caller that must not repeat an action treats these as ambiguous as well,
/// because a gateway may have forwarded the request.
pub fn kind_of(status: u16) -> ErrorKind {
    match status {
        400 | 405 | 406 | 415 | 422 => ErrorKind::InvalidInput,
        401 => ErrorKind::Unauthorized,
        402 => ErrorKind::QuotaExhausted,
        403 => ErrorKind::Forbidden,
        404 | 410 => ErrorKind::NotFound,
        409 => ErrorKind::Conflict,
        413 => ErrorKind::TooLarge,
        429 => ErrorKind::RateLimited,
        499 => ErrorKind::Cancelled,
        501 => ErrorKind::Unsupported,
        // Refused before any work: the server is busy, overloaded or in maintenance.
        503 | 529 => ErrorKind::Unavailable,
        // A gateway timed out, or the server failed at an unknown point.
        408 | 500.. => ErrorKind::Ambiguous,
        _ => ErrorKind::Protocol,
    }
}

/// Parses `retry-after-ms`, or `retry-after` in seconds or as a date, which is compared with the server's own `date`. `header`
/// returns a header by name.
pub fn retry_after<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Option<Duration> {
    let text = |name: &str| header(name).map(str::trim);
    let seconds = |text: &str| Duration::try_from_secs_f64(text.parse().ok()?).ok();
    if let Some(wait) = text("retry-after-ms").and_then(seconds) {
        return Some(wait / 1000);
    }
    let after = text("retry-after")?;
    seconds(after).or_else(|| {
        let date = |text: &str| Some(jiff::fmt::rfc2822::parse(text).ok()?.timestamp());
        let until = date(after)?;
        let now = text("date")
            .and_then(date)
            .unwrap_or_else(jiff::Timestamp::now);
        Some(Duration::try_from(until.duration_since(now)).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses() {
        let check = |statuses: &[u16], kind| {
            for status in statuses {
                assert_eq!(kind_of(*status), kind, "{status}");
            }
        };
        check(&[400, 405, 422], ErrorKind::InvalidInput);
        check(&[402], ErrorKind::QuotaExhausted);
        check(&[404, 410], ErrorKind::NotFound);
        check(&[429], ErrorKind::RateLimited);
        check(&[503, 529], ErrorKind::Unavailable);
        check(
            &[408, 500, 502, 504, 520, 522, 524, 599],
            ErrorKind::Ambiguous,
        );
        check(&[100, 302, 418, 451], ErrorKind::Protocol);
    }

    #[test]
    fn retry_after_in_all_its_forms() {
        let check = |pairs: &[(&str, &'static str)], expected: Option<f64>| {
            let header = |name: &str| {
                let mut pairs = pairs.iter();
                pairs
                    .find(|(known, _)| *known == name)
                    .map(|(_, value)| *value)
            };
            let expected = expected.map(Duration::from_secs_f64);
            assert_eq!(retry_after(header), expected, "{pairs:?}");
        };
        check(&[], None);
        check(&[("retry-after", "2")], Some(2.0));
        check(&[("retry-after", "1.5")], Some(1.5));
        check(
            &[("retry-after", "1"), ("retry-after-ms", "300")],
            Some(0.3),
        );
        check(&[("retry-after", "-1")], None);
        check(&[("retry-after", "soon")], None);
        let date = ("date", "Wed, 21 Oct 2026 07:28:00 GMT");
        check(
            &[date, ("retry-after", "Wed, 21 Oct 2026 07:28:30 GMT")],
            Some(30.0),
        );
        check(
            &[date, ("retry-after", "Wed, 21 Oct 2026 07:00:00 GMT")],
            Some(0.0),
        );
    }
}
