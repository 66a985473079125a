//! A text as the parts that a channel takes.

/// Splits a text into parts of at most `max` characters: at paragraphs, else lines, sentences, words, and only then within
/// one. Nothing but the white space at the seams is lost.
pub(crate) fn split(text: &str, max: usize) -> Vec<String> {
    let max = max.max(1);
    let mut rest = text.trim();
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let end = rest
            .char_indices()
            .nth(max)
            .map_or(rest.len(), |(at, _)| at);
        let cut = if end == rest.len() {
            end
        } else {
            seam(&rest[..end])
        };
        let (part, after) = rest.split_at(cut);
        parts.push(part.trim_end().to_owned());
        rest = after.trim_start();
    }
    parts
}

/// Returns where to cut a text that is as long as a part may be. A seam in its first half would waste a message.
fn seam(text: &str) -> usize {
    ["\n\n", "\n", ". ", "! ", "? ", " "]
        .iter()
        .filter_map(|mark| text.rfind(mark).map(|at| at + mark.len()))
        .find(|at| *at > text.len() / 2)
        .unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_short_text_is_one_part_and_an_empty_one_none() {
        assert_eq!(split("  hello ", 10), ["hello"]);
        assert!(split(" \n ", 10).is_empty());
    }

    #[test]
    fn seams_are_found_and_no_word_is_lost() {
        assert_eq!(
            split("one two three four", 9),
            ["one two", "three", "four"].map(String::from)
        );
        assert_eq!(split("äöüäöü", 4), ["äöüä", "öü"]);
        let text =
            "First paragraph. It goes on.\n\nSecond paragraph, which is longer than the first one.";
        for max in 1..100 {
            let parts = split(text, max);
            assert!(
                parts
                    .iter()
                    .all(|part| part.chars().count() <= max && !part.is_empty()),
                "{max}: {parts:?}"
            );
            let letters = |text: &str| {
                text.chars()
                    .filter(|c| !c.is_whitespace())
                    .collect::<String>()
            };
            assert_eq!(letters(&parts.concat()), letters(text), "{max}");
        }
    }
}
