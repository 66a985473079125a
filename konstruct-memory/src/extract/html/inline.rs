//! The text of a block while it is read: a string with a few marks of private use, which no page may contain.

/// Where struck text begins or ends.
pub(super) const STRIKE: char = '\u{E000}';
/// A link is `LINK text TO address END`.
pub(super) const LINK: char = '\u{E001}';
pub(super) const TO: char = '\u{E002}';
pub(super) const END: char = '\u{E003}';

/// Appends text with single blanks. Characters of private use are icons.
pub(super) fn push(line: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_whitespace() {
            blank(line);
        } else if !matches!(c, '\u{E000}'..='\u{F8FF}' | '\u{AD}' | '\0') {
            line.push(c);
        }
    }
}

pub(super) fn blank(line: &mut String) {
    if !line.is_empty() && !line.ends_with(char::is_whitespace) {
        line.push(' ');
    }
}

/// Removes blanks around each line, and empty lines.
pub(super) fn trim(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

/// Joins all lines.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns the text as a reader sees it. Struck text keeps its marks, and a link shows its address.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            STRIKE => out.push_str("~~"),
            LINK => {}
            TO => out.push_str(" ("),
            END => out.push(')'),
            c => out.push(c),
        }
    }
    out
}

/// Returns the text as Markdown.
pub(super) fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 16);
    let mut address: Option<String> = None;
    for c in text.chars() {
        match (c, &mut address) {
            (END, Some(to)) => {
                out.push_str("](");
                out.push_str(to);
                out.push(')');
                address = None;
            }
            (c, Some(to)) => to.push(c),
            (TO, None) => address = Some(String::new()),
            (LINK, None) => out.push('['),
            (STRIKE, None) => out.push_str("~~"),
            (c, None) => out.push(c),
        }
    }
    out
}

/// Escapes what Markdown would take for a mark, in each line of a text.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 16);
    for (at, line) in text.split('\n').enumerate() {
        if at > 0 {
            out.push('\n');
        }
        let mut before = ' ';
        let mut in_address = false;
        let start = line_mark(line);
        for (at, c) in line.char_indices() {
            let next = line[at + c.len_utf8()..].chars().next().unwrap_or(' ');
            match c {
                TO => in_address = true,
                END => in_address = false,
                _ => {}
            }
            let is_mark = match c {
                '\\' | '`' | '*' | '[' | ']' | '<' | '~' => true,
                '_' => !(before.is_alphanumeric() && next.is_alphanumeric()),
                '&' => next.is_ascii_alphanumeric() || next == '#',
                '{' => true,
                _ => Some(at) == start,
            };
            if is_mark && !in_address {
                out.push('\\');
            }
            out.push(c);
            before = c;
        }
    }
    out
}

/// Returns the position of the mark of a list, heading or quote at the start of a line.
fn line_mark(line: &str) -> Option<usize> {
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let after = line.as_bytes().get(digits + 1).unwrap_or(&b' ');
    match line.as_bytes().get(digits)? {
        b'.' | b')' if (1..=9).contains(&digits) && *after == b' ' => Some(digits),
        b'#' | b'+' | b'-' | b'=' | b'>' | b'|' | b':' if digits == 0 => Some(0),
        _ => None,
    }
}

/// Returns raised text as it is appended to the text before it: digits of a price, an exponent, a footnote mark or an ordinal.
pub(super) fn raised(before: &str, text: &str, is_price: bool) -> String {
    let number: String = before
        .chars()
        .rev()
        .take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ','))
        .collect();
    let after_digit = number.starts_with(|c: char| c.is_ascii_digit());
    let digits = text.chars().all(|c| c.is_ascii_digit());
    if after_digit && digits && text.len() == 2 && (is_price || number != "01") {
        // In "1.299" the point parts thousands.
        let mark = if number.contains('.') { ',' } else { '.' };
        return format!("{mark}{text}");
    }
    let small: Option<String> = text.chars().map(superscript).collect();
    if let Some(small) = small.filter(|_| !number.starts_with(['.', ','])) {
        return small;
    }
    let is_ordinal = text.chars().count() <= 3 && text.chars().all(char::is_lowercase);
    let is_joined = is_ordinal
        || text.starts_with([
            '[', '(', '.', ',', '*', '€', '$', '£', '™', '®', '©', 'º', 'ª',
        ])
        || number.starts_with(['.', ',']);
    if is_joined {
        text.to_owned()
    } else {
        format!(" {text}")
    }
}

fn superscript(c: char) -> Option<char> {
    Some(match c {
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        '0' | '4'..='9' => char::from_u32('⁰' as u32 + c.to_digit(10)?)?,
        '+' => '⁺',
        '-' | '\u{2212}' => '⁻',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raised_text_stays_apart() {
        let check = |before: &str, text: &str, is_price, expected: &str| {
            assert_eq!(
                raised(before, text, is_price),
                expected,
                "{before} ^ {text}"
            );
        };
        check("9", "99", false, ".99");
        check("1.299", "00", true, ",00");
        check("1,299", "00", true, ".00");
        check("9,", "99", true, "99");
        check("9", ",99", true, ",99");
        check("m", "2", false, "²");
        check("10", "12", false, "¹²");
        check("10", "50", true, ".50");
        check("10", "-3", false, "⁻³");
        check("Helmets", "1", false, "¹");
        check("Helmets", "[1]", false, "[1]");
        check("1", "st", false, "st");
        check("Brand", "TM", false, " TM");
        check("9", "€", false, "€");
    }

    #[test]
    fn marks_of_markdown_are_escaped() {
        let check = |text: &str, expected: &str| assert_eq!(escaped(text), expected);
        check(
            "2*3 a_b _c [x] <y> &amp;",
            r"2\*3 a_b \_c \[x\] \<y> \&amp;",
        );
        check("1. one\n- two\n# three", "1\\. one\n\\- two\n\\# three");
        check("2026 was - good & cheap", "2026 was - good & cheap");
    }
}
