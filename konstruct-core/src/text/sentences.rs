//! Splits a text into sentences.

/// Splits a text at line ends, after `.`, `!` or `?` where a capital or a digit follows, and after `。`, `！` or `？`.
pub fn sentences(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut from = 0;
        for (at, mark) in line.match_indices(['.', '!', '?', '。', '！', '？']) {
            let end = at + mark.len();
            let rest = &line[end..];
            let next = rest.strip_prefix(' ').and_then(|rest| rest.chars().next());
            let begins = next.is_some_and(|c| c.is_uppercase() || c.is_ascii_digit());
            if begins || !mark.is_ascii() {
                found.push(line[from..end].trim());
                from = end;
            }
        }
        found.push(line[from..].trim());
    }
    found.retain(|sentence| !sentence.is_empty());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_end_where_a_new_one_begins() {
        assert_eq!(
            sentences("Open 9.30 a.m. to 6 p.m. on weekdays. Closed on Sunday!\n- Parking: none"),
            [
                "Open 9.30 a.m. to 6 p.m. on weekdays.",
                "Closed on Sunday!",
                "- Parking: none"
            ]
        );
        assert_eq!(
            sentences("年中無休です。予約は？電話で"),
            ["年中無休です。", "予約は？", "電話で"]
        );
    }
}
