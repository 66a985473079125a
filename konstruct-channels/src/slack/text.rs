//! Converts Slack's text to plain text.

use std::collections::HashMap;

/// Converts Slack's text to plain text: resolves mentions and links, removes the employee's own mention, and unescapes entities
/// last. Code is copied literally.
pub(super) fn read(text: &str, own: &[String]) -> String {
    let mut plain = String::with_capacity(text.len());
    for (code, span) in spans(text) {
        if code {
            plain.push_str(span);
        } else {
            resolve(span, own, &mut plain);
        }
    }
    unescape(plain.trim())
}

fn resolve(span: &str, own: &[String], plain: &mut String) {
    let mut rest = span;
    while let Some(open) = rest.find('<') {
        plain.push_str(&rest[..open]);
        let Some(length) = rest[open..].find('>') else {
            rest = &rest[open..];
            break;
        };
        let inner = &rest[open + 1..open + length];
        rest = &rest[open + length + 1..];
        match inner.strip_prefix('@').map(|user| split(user).0) {
            // The employee's own mention is only an address.
            Some(user) if own.iter().any(|id| id == user) => rest = rest.trim_start_matches(' '),
            _ => plain.push_str(&reference(inner)),
        }
    }
    plain.push_str(rest);
}

/// Resolves the content between `<` and `>`: a mention, a date or a link, optionally with a label.
fn reference(inner: &str) -> String {
    let (target, label) = split(inner);
    if let Some(user) = target.strip_prefix('@') {
        return format!("@{}", label.unwrap_or(user).trim_start_matches('@'));
    }
    if let Some(channel) = target.strip_prefix('#') {
        return format!("#{}", label.unwrap_or(channel).trim_start_matches('#'));
    }
    if let Some(special) = target.strip_prefix('!') {
        return match (special.split_once('^'), label) {
            (Some(("date", rest)), None) => rest.to_owned(),
            (Some(("date", _)), Some(fallback)) => fallback.to_owned(),
            (Some((_, id)), None) => format!("@{id}"),
            (_, Some(label)) => format!("@{}", label.trim_start_matches('@')),
            (None, None) => format!("@{special}"),
        };
    }
    let bare = target
        .strip_prefix("mailto:")
        .or_else(|| target.strip_prefix("tel:"))
        .unwrap_or(target);
    match label {
        Some(label) if label == bare || target.ends_with(&format!("://{label}")) => bare.to_owned(),
        Some(label) => format!("{label} ({bare})"),
        None => bare.to_owned(),
    }
}

fn split(inner: &str) -> (&str, Option<&str>) {
    match inner.split_once('|') {
        Some((target, label)) => (target, Some(label).filter(|label| !label.is_empty())),
        None => (inner, None),
    }
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
}

/// Splits text into code, with its back-ticks, and other text. A run of back-ticks opens code if a run of the same length closes
/// it.
fn spans(text: &str) -> Vec<(bool, &str)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (at, _) in text.match_indices('`') {
        match runs.last_mut() {
            Some((start, length)) if *start + *length == at => *length += 1,
            _ => runs.push((at, 1)),
        }
    }
    // For each run, the next run of the same length. It is computed from the end, so that the work is linear.
    let mut next_of: HashMap<usize, usize> = HashMap::new();
    let mut closing = vec![None; runs.len()];
    for (index, (_, length)) in runs.iter().enumerate().rev() {
        closing[index] = next_of.insert(*length, index);
    }
    let mut spans = Vec::new();
    let (mut start, mut index) = (0, 0);
    while let Some((open, _)) = runs.get(index) {
        match closing[index] {
            Some(close) => {
                let end = runs[close].0 + runs[close].1;
                spans.extend([(false, &text[start..*open]), (true, &text[*open..end])]);
                (start, index) = (end, close + 1);
            }
            None => index += 1,
        }
    }
    spans.push((false, &text[start..]));
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mentions_links_and_entities_are_resolved() {
        let own = ["UBOT".to_owned()];
        let check = |text: &str, expected: &str| assert_eq!(read(text, &own), expected, "{text}");
        check("<@UBOT> where is my bike?", "where is my bike?");
        check(
            "hey <@UBOT|ava>, and <@U1|sam> or <@U2>",
            "hey , and @sam or @U2",
        );
        check("<#C1|general> <#C2> <#C3|>", "#general #C2 #C3");
        check(
            "<!here> <!channel|channel> <!subteam^S1|@ops> <!subteam^S2>",
            "@here @channel @ops @S2",
        );
        check("<!date^1392734382^{date}|Feb 18, 2014>", "Feb 18, 2014");
        check(
            "<https://a.example/x|our shop> <https://b.example>",
            "our shop (https://a.example/x) https://b.example",
        );
        check(
            "<http://c.example|c.example> <mailto:a@b.example|a@b.example>",
            "http://c.example a@b.example",
        );
        check("1 &lt; 2 &amp;&amp; &amp;lt;", "1 < 2 && &lt;");
        check(
            "`<@U1>` and ```<!here>``` <@U3>",
            "`<@U1>` and ```<!here>``` @U3",
        );
        check("a < b", "a < b");
        check("", "");
    }
}
