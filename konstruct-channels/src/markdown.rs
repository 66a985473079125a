//! The little Markdown that models write anyway, in the notation that Slack and WhatsApp share.

/// Converts bold, struck and heading text and links, outside of code. `link` writes a link from its label and address.
pub(crate) fn convert(text: &str, link: impl Fn(&str, &str) -> String) -> String {
    let mut converted = String::with_capacity(text.len());
    for (code, span) in spans(text) {
        if code {
            converted.push_str(span);
            continue;
        }
        for line in span.split_inclusive('\n') {
            converted.push_str(&inline(&heading(line), &link));
        }
    }
    converted
}

/// Cuts text into what is code, with its backticks, and what is not. A run of backticks opens code if one as long closes it.
pub(crate) fn spans(text: &str) -> Vec<(bool, &str)> {
    let mut spans = Vec::new();
    let (mut start, mut at) = (0, 0);
    while let Some(open) = text[at..].find('`').map(|found| at + found) {
        let ticks = run(&text[open..]);
        let mut close = open + ticks;
        at = close;
        while let Some(found) = text[close..].find('`') {
            close += found;
            let length = run(&text[close..]);
            close += length;
            if length == ticks {
                spans.extend([(false, &text[start..open]), (true, &text[open..close])]);
                (start, at) = (close, close);
                break;
            }
        }
    }
    spans.push((false, &text[start..]));
    spans
}

fn run(text: &str) -> usize {
    text.len() - text.trim_start_matches('`').len()
}

/// Makes a heading a bold line.
fn heading(line: &str) -> String {
    let title = line.trim_start_matches('#');
    let level = line.len() - title.len();
    match title.strip_prefix(' ') {
        Some(title) if (1..=6).contains(&level) && !title.trim().is_empty() => {
            let end = if title.ends_with('\n') { "\n" } else { "" };
            format!("**{}**{end}", title.trim().replace("**", ""))
        }
        _ => line.to_owned(),
    }
}

fn inline(line: &str, link: &impl Fn(&str, &str) -> String) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(['*', '~', '[']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let (written, taken) = pair(rest, "**", '*')
            .or_else(|| pair(rest, "~~", '~'))
            .or_else(|| {
                let (label, url, taken) = parse_link(rest)?;
                Some((link(label, url), taken))
            })
            .unwrap_or_else(|| (rest[..1].to_owned(), 1));
        out.push_str(&written);
        rest = &rest[taken..];
    }
    out.push_str(rest);
    out
}

/// Rewrites `**x**` as `*x*`, where `x` neither begins nor ends with a space.
fn pair(text: &str, mark: &str, single: char) -> Option<(String, usize)> {
    let inner = text.strip_prefix(mark)?;
    let length = inner.find(mark)?;
    let inner = &inner[..length];
    let tight = !inner.is_empty() && inner.trim() == inner && !inner.starts_with(single);
    tight.then(|| (format!("{single}{inner}{single}"), length + 2 * mark.len()))
}

/// Reads `[label](https://…)`.
fn parse_link(text: &str) -> Option<(&str, &str, usize)> {
    let (label, rest) = text.strip_prefix('[')?.split_once("](")?;
    let (url, _) = rest.split_once(')')?;
    let web = url.starts_with("https://") || url.starts_with("http://");
    let plain = |text: &str| !text.contains(['|', '<', '>', '[', ']', '\n', ' ']);
    let labelled = !label.is_empty() && !label.contains(['|', '<', '>', '[', ']', '\n']);
    (web && labelled && plain(url)).then(|| (label, url, label.len() + url.len() + 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_models_write_is_converted_and_the_rest_is_kept() {
        let check = |text: &str, expected: &str| {
            let converted = convert(text, |label, url| format!("{label} ({url})"));
            assert_eq!(converted, expected, "{text}");
            assert!(
                converted.chars().count() <= text.chars().count(),
                "{text}: grew"
            );
        };
        check("**bold** *it* ~~gone~~", "*bold* *it* ~gone~");
        check("# Title\n## Two\nbody", "*Title*\n*Two*\nbody");
        check("#hash ####### seven", "#hash ####### seven");
        check("2 ** 3 ** 4", "2 ** 3 ** 4");
        check("**open", "**open");
        check("```\n# no\n**no**\n```", "```\n# no\n**no**\n```");
        check(
            "see [us](https://a.example), [x](y)",
            "see us (https://a.example), [x](y)",
        );
        check("```a `**b**` c``` **d**", "```a `**b**` c``` *d*");
        check("5` **a** ``b", "5` *a* ``b");
        check("****", "****");
        check("é*é[é", "é*é[é");
    }
}
