//! Questions and answers as JSON.

use konstruct_core::Result;
use serde::Deserialize;

use super::invalid;

#[derive(Debug, Deserialize)]
struct Pair {
    question: String,
    answer: String,
}

/// Turns a JSON array of pairs into `Q:` and `A:` lines. Other text is returned unchanged.
pub(super) fn lines(text: String) -> Result<String> {
    if !text.trim_start().starts_with('[') {
        return Ok(text);
    }
    let pairs: Vec<Pair> = serde_json::from_str(&text).map_err(|error| {
        invalid("is not a JSON array of objects with `question` and `answer`").with_source(error)
    })?;
    let line = |pair: Pair| {
        let question: Vec<&str> = pair.question.split_whitespace().collect();
        format!("Q: {}\nA: {}\n\n", question.join(" "), pair.answer.trim())
    };
    Ok(pairs.into_iter().map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_pairs_become_lines() {
        let json = r#" [{"question": "Where\nare you?", "answer": " Here. ", "id": 1}, {"question": "q", "answer": "a"}]"#;
        let expected = "Q: Where are you?\nA: Here.\n\nQ: q\nA: a\n\n";
        assert_eq!(lines(json.into()).unwrap(), expected);
        assert_eq!(lines("Q: q\nA: a".into()).unwrap(), "Q: q\nA: a");
        assert!(lines("[1]".into()).is_err());
    }
}
