//! Shows the number of a cell as its format does.

/// Returns the format code of a built-in format, which a file does not contain.
pub(super) fn built_in(id: usize) -> &'static str {
    match id {
        1 => "0",
        2 => "0.00",
        3 | 37 | 38 => "#,##0",
        4 | 39 | 40 => "#,##0.00",
        9 => "0%",
        10 => "0.00%",
        14 => "yyyy-mm-dd",
        15 => "d mmm yyyy",
        16 => "d mmm",
        17 => "mmm yyyy",
        18 => "h:mm AM/PM",
        19 => "h:mm:ss AM/PM",
        20 => "h:mm",
        21 => "h:mm:ss",
        22 => "yyyy-mm-dd h:mm",
        45 => "mm:ss",
        46 => "[h]:mm:ss",
        47 => "mm:ss",
        41..=44 => "#,##0.00",
        _ => "General",
    }
}

/// A piece of a format code.
#[derive(Clone, Debug, PartialEq)]
enum Piece {
    /// A run of one placeholder letter or digit, such as `yyyy`, `00` or `##`.
    Run(char, usize),
    /// A count of all hours, minutes or seconds: `[h]`.
    Elapsed(char),
    Literal(String),
    AmPm,
}

/// Shows a value, which for dates is the number of days since the end of 1899, or since 1904.
pub(super) fn shown(value: f64, code: &str, since_1904: bool) -> String {
    let sections: Vec<Vec<Piece>> = sections(code);
    let (pieces, value) = match sections.as_slice() {
        [_, negative, ..] if value < 0.0 => (negative, -value),
        [_, _, zero, ..] if value == 0.0 => (zero, value),
        [first, ..] => (first, value),
        [] => return general(value),
    };
    let is_time = |piece: &Piece| {
        matches!(
            piece,
            Piece::Elapsed(_) | Piece::AmPm | Piece::Run('y' | 'm' | 'd' | 'h' | 's', _)
        )
    };
    let is_digit = |piece: &Piece| matches!(piece, Piece::Run('0' | '#' | '?', _));
    let text = if pieces.iter().any(is_time) {
        date(value, pieces, since_1904)
    } else if pieces.iter().any(is_digit) {
        number(value, pieces)
    } else {
        general(value)
    };
    text.trim().to_owned()
}

/// Shows a number without a format: up to eleven digits.
fn general(value: f64) -> String {
    if value.abs() >= 1e15 || (value != 0.0 && value.abs() < 1e-9) {
        return format!("{value:e}");
    }
    let whole = value.abs().log10().floor().max(0.0) as usize;
    let text = format!("{value:.*}", 10_usize.saturating_sub(whole));
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

fn sections(code: &str) -> Vec<Vec<Piece>> {
    let mut sections = vec![Vec::new()];
    let mut rest = code.chars().peekable();
    while let Some(c) = rest.next() {
        let piece = match c {
            ';' => {
                sections.push(Vec::new());
                continue;
            }
            '"' => Piece::Literal(rest.by_ref().take_while(|c| *c != '"').collect()),
            '\\' => Piece::Literal(rest.next().into_iter().collect()),
            // As wide as a letter, or filled with it.
            '_' | '*' => {
                rest.next();
                Piece::Literal(if c == '_' {
                    " ".to_owned()
                } else {
                    String::new()
                })
            }
            '[' => {
                let inside: String = rest.by_ref().take_while(|c| *c != ']').collect();
                match inside.to_ascii_lowercase().chars().next() {
                    Some('$') => {
                        let symbol = inside[1..].split('-').next().unwrap_or_default();
                        Piece::Literal(symbol.to_owned())
                    }
                    Some(unit @ ('h' | 'm' | 's'))
                        if inside.chars().all(|c| c.eq_ignore_ascii_case(&unit)) =>
                    {
                        Piece::Elapsed(unit)
                    }
                    // A colour or a condition.
                    _ => continue,
                }
            }
            'A' | 'a'
                if rest
                    .clone()
                    .take(4)
                    .collect::<String>()
                    .eq_ignore_ascii_case("m/pm") =>
            {
                rest.by_ref().take(4).for_each(drop);
                Piece::AmPm
            }
            'G' if rest.clone().take(6).collect::<String>() == "eneral" => {
                rest.by_ref().take(6).for_each(drop);
                continue;
            }
            '0' | '#' | '?' | 'y' | 'm' | 'd' | 'h' | 's' | 'Y' | 'M' | 'D' | 'H' | 'S' => {
                let c = c.to_ascii_lowercase();
                let mut count = 1;
                while rest
                    .next_if(|next| next.to_ascii_lowercase() == c)
                    .is_some()
                {
                    count += 1;
                }
                Piece::Run(c, count)
            }
            c => Piece::Literal(c.to_string()),
        };
        if let Some(section) = sections.last_mut() {
            section.push(piece);
        }
    }
    sections
}

fn number(value: f64, pieces: &[Piece]) -> String {
    let literal = |text: &str| pieces.contains(&Piece::Literal(text.to_owned()));
    let percent = literal("%");
    let value = if percent { value * 100.0 } else { value };
    let is_digit = |piece: &Piece| matches!(piece, Piece::Run('0' | '#' | '?', _));
    let first = pieces.iter().position(is_digit).unwrap_or(0);
    let last = pieces.iter().rposition(is_digit).unwrap_or(0);
    let digits = &pieces[first..=last];
    let point = digits
        .iter()
        .position(|piece| *piece == Piece::Literal(".".to_owned()));
    let (before, after) = digits.split_at(point.unwrap_or(digits.len()));
    let count = |pieces: &[Piece], wanted: &[char]| {
        let counts = pieces.iter().map(|piece| match piece {
            Piece::Run(c, count) if wanted.contains(c) => *count,
            _ => 0,
        });
        counts.sum::<usize>()
    };
    let (most, least) = (count(after, &['0', '#', '?']), count(after, &['0']));
    let mut text = format!("{:.*}", most.min(20), value.abs());
    let dot = text.find('.').unwrap_or(text.len());
    while text.len() > dot + 1 + least && text.ends_with('0') {
        text.pop();
    }
    let text = text.trim_end_matches('.');
    let whole = text.find('.').unwrap_or(text.len());
    let zeros = count(before, &['0']).min(20).saturating_sub(whole);
    let text = "0".repeat(zeros) + text;
    let grouped = digits.contains(&Piece::Literal(",".to_owned()));
    let text = if grouped { in_thousands(&text) } else { text };
    let mut out = String::new();
    for (at, piece) in pieces.iter().enumerate() {
        if at == first {
            if value < 0.0 {
                out.push('-');
            }
            out.push_str(&text);
        }
        match piece {
            Piece::Literal(text) if !(first..=last).contains(&at) && text != "," => {
                out.push_str(text);
            }
            _ => {}
        }
    }
    out
}

fn in_thousands(text: &str) -> String {
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut out = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out + rest
}

fn date(value: f64, pieces: &[Piece], since_1904: bool) -> String {
    let seconds = (value.clamp(-1e6, 3e6) * 86_400.0).round() as i64;
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let days = days + if since_1904 { 1462 } else { 0 };
    // Excel counts a 29 February 1900.
    let days = if (0..60).contains(&days) {
        days + 1
    } else {
        days
    };
    let (year, month, day) = civil(days - 25_569);
    let twelve = pieces.contains(&Piece::AmPm);
    let hour = second / 3600;
    let shown_hour = match hour % 12 {
        hour_of_half if twelve => (hour_of_half + 11) % 12 + 1,
        _ => hour,
    };
    let padded = |value: i64, count: usize| format!("{value:0width$}", width = count.min(2));
    let mut out = String::new();
    for (at, piece) in pieces.iter().enumerate() {
        // An `m` beside hours or seconds is a minute.
        let is_unit = |piece: &&Piece| !matches!(piece, Piece::Literal(_));
        let is = |unit: char, piece: Option<&Piece>| matches!(piece, Some(Piece::Run(c, _) | Piece::Elapsed(c)) if *c == unit);
        let minute = is('h', pieces[..at].iter().rfind(is_unit))
            || is('s', pieces[at + 1..].iter().find(is_unit));
        let text = match piece {
            Piece::Literal(text) => text.clone(),
            Piece::AmPm => if hour < 12 { "AM" } else { "PM" }.to_owned(),
            Piece::Elapsed('h') => (seconds / 3600).to_string(),
            Piece::Elapsed('m') => (seconds / 60).to_string(),
            Piece::Elapsed(_) => seconds.to_string(),
            Piece::Run('y', 1..=2) => padded(year.rem_euclid(100), 2),
            Piece::Run('y', _) => year.to_string(),
            Piece::Run('m', count) if minute => padded(second % 3600 / 60, *count),
            Piece::Run('m', count @ 1..=2) => padded(month, *count),
            Piece::Run('m', count) => name(&MONTHS, month - 1, *count == 3),
            Piece::Run('d', count @ 1..=2) => padded(day, *count),
            Piece::Run('d', count) => name(&DAYS, (days - 1).rem_euclid(7), *count == 3),
            Piece::Run('h', count) => padded(shown_hour, *count),
            Piece::Run('s', count) => padded(second % 60, *count),
            Piece::Run(..) => String::new(),
        };
        out.push_str(&text);
    }
    // Fractions of a second.
    out.trim_end_matches('.').to_owned()
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

fn name(names: &[&str], at: i64, short: bool) -> String {
    let name = usize::try_from(at).ok().and_then(|at| names.get(at));
    let name = name.copied().unwrap_or_default();
    name.chars()
        .take(if short { 3 } else { name.len() })
        .collect()
}

/// Returns the year, month and day of a number of days since 1970 (Howard Hinnant's algorithm).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}
