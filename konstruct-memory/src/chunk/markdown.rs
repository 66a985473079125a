//! Markdown.

use super::Section;

/// Returns a section for each heading, with the headings above it. Code blocks are left unchanged.
pub(super) fn sections(text: &str) -> Vec<Section> {
    let mut sections = vec![Section::default()];
    let mut path: Vec<(usize, String)> = Vec::new();
    let mut lines: Vec<String> = Vec::new();
    let mut fence: Option<&str> = None;
    let mut open = |sections: &mut Vec<Section>, level: usize, title: String| {
        path.retain(|(above, _)| *above < level);
        path.push((level, title));
        sections.push(Section {
            path: path.iter().map(|(_, title)| title.clone()).collect(),
            paragraphs: Vec::new(),
        });
    };
    for line in without_front_matter(text).lines() {
        let trimmed = line.trim();
        let mark = ["```", "~~~"]
            .into_iter()
            .find(|mark| trimmed.starts_with(mark));
        match (fence, mark) {
            (None, Some(_)) => fence = mark,
            (Some(open), Some(mark)) if open == mark => fence = None,
            (Some(_), _) => lines.push(line.trim_end().to_owned()),
            (None, None) => {
                if let Some((level, title)) = heading(trimmed) {
                    flush(&mut sections, &mut lines);
                    open(&mut sections, level, title);
                } else if let Some(level) = underline(trimmed).filter(|_| lines.len() == 1) {
                    let title = lines.remove(0);
                    open(&mut sections, level, title);
                } else if trimmed.is_empty() {
                    flush(&mut sections, &mut lines);
                } else if !rule(trimmed) {
                    lines.push(without_marks(trimmed));
                }
            }
        }
    }
    flush(&mut sections, &mut lines);
    sections.retain(|section| !section.path.is_empty() || !section.paragraphs.is_empty());
    sections
}

/// Ends a paragraph.
fn flush(sections: &mut [Section], lines: &mut Vec<String>) {
    if let Some(section) = sections.last_mut()
        && !lines.is_empty()
    {
        section.paragraphs.push(lines.join("\n"));
    }
    lines.clear();
}

/// Returns the text and level of a heading: `## Title`, or a line that is entirely bold.
fn heading(line: &str) -> Option<(usize, String)> {
    let level = line.bytes().take_while(|byte| *byte == b'#').count();
    if (1..=6).contains(&level) && line[level..].starts_with([' ', '\t']) {
        let title = without_marks(line[level..].trim().trim_end_matches('#').trim());
        return (!title.is_empty()).then_some((level, title));
    }
    let bold = ["**", "__"].iter().find_map(|mark| {
        line.strip_prefix(mark)
            .and_then(|rest| rest.strip_suffix(mark))
            .filter(|title| !title.contains(mark))
    })?;
    let title = without_marks(bold.trim().trim_end_matches(':'));
    (!title.is_empty()).then_some((7, title))
}

/// Returns the level of a setext underline, which makes the line above it a heading.
fn underline(line: &str) -> Option<usize> {
    let all = |mark: char| line.len() >= 2 && line.chars().all(|c| c == mark);
    if all('=') {
        Some(1)
    } else if all('-') {
        Some(2)
    } else {
        None
    }
}

/// Returns whether a line is a thematic break or the delimiter row of a table.
fn rule(line: &str) -> bool {
    line.len() >= 3
        && line
            .chars()
            .all(|c| matches!(c, '-' | '*' | '_' | '|' | ':' | ' '))
}

fn without_front_matter(text: &str) -> &str {
    text.strip_prefix("---\n")
        .and_then(|rest| rest.split_once("\n---\n"))
        .map_or(text, |(_, body)| body)
}

/// Removes inline formatting, which a channel would show literally.
fn without_marks(line: &str) -> String {
    let line = line.trim_start_matches("> ");
    let line = links(line);
    let line = line.replace("**", "").replace("__", "").replace('`', "");
    match line.strip_prefix("* ").or(line.strip_prefix("+ ")) {
        Some(item) => format!("- {item}"),
        None => line,
    }
}

/// Turns `[text](address)` into `text (address)`.
fn links(line: &str) -> String {
    let mut plain = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('[') {
        let link = after
            .split_once("](")
            .and_then(|(text, tail)| Some((text, tail.split_once(')')?)))
            .filter(|(text, _)| !text.contains('['));
        if let Some((text, (address, tail))) = link {
            plain.push_str(before.strip_suffix('!').unwrap_or(before));
            plain.push_str(&format!("{text} ({address})"));
            rest = tail;
        } else {
            plain.push_str(before);
            plain.push('[');
            rest = after;
        }
    }
    plain + rest
}
