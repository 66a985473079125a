//! Writes the lines of pages as Markdown.

use std::collections::{BTreeMap, BTreeSet};

use super::layout::Line;

/// How much larger than the body a heading's letters are, at least, and its most words.
const LARGER: f64 = 1.18;
const WORDS: usize = 16;
/// The lines at the head and foot of a page that may be running heads.
const EDGE: usize = 2;

/// Returns the pages with a heading for each, and below it headings for lines in larger letters.
pub(super) fn markdown(mut pages: Vec<(u32, Vec<Line>)>) -> String {
    drop_running_heads(&mut pages);
    let body = body_size(&pages);
    let sizes = heading_sizes(&pages, body);
    let mut out = String::new();
    for (number, lines) in &pages {
        if lines.is_empty() {
            continue;
        }
        out.push_str(&format!("## Page {number}\n\n"));
        let mut page = String::new();
        let mut rest = lines.as_slice();
        while let [line, ..] = rest {
            let (heading, more) = rest.split_at(heading_lines(rest, &sizes));
            if let Some(level) = level(line, &sizes).filter(|_| !heading.is_empty()) {
                let texts: Vec<&str> = heading.iter().map(|line| &*line.text).collect();
                let mark = "#".repeat(3 + level.min(3));
                page.truncate(page.trim_end().len());
                page.push_str(&format!("\n\n{mark} {}\n\n", texts.join(" ")));
                rest = more;
            } else {
                if line.starts && !page.is_empty() && !page.ends_with("\n\n") {
                    page.push('\n');
                }
                push_line(&mut page, &line.text);
                rest = &rest[1..];
            }
        }
        out.push_str(page.trim());
        out.push_str("\n\n");
    }
    out
}

/// Returns how many lines make up the heading that begins here: none if the text in large letters is too long for one.
fn heading_lines(lines: &[Line], sizes: &[i64]) -> usize {
    let Some(first) = lines.first().map(|line| level(line, sizes)) else {
        return 0;
    };
    let more = lines[1..]
        .iter()
        .take_while(|line| first.is_some() && level(line, sizes) == first && !line.starts);
    let count = 1 + more.count();
    let words = lines[..count]
        .iter()
        .flat_map(|line| line.text.split_whitespace());
    if first.is_none() || words.count() > WORDS {
        return 0;
    }
    count
}

/// Adds a line, and rejoins a word that was hyphenated at the end of the line above.
fn push_line(page: &mut String, line: &str) {
    let parted = page
        .strip_suffix("-\n")
        .or_else(|| page.strip_suffix("\u{ad}\n"))
        .filter(|before| before.ends_with(char::is_alphabetic))
        .map(str::len);
    if let Some(before) = parted
        && line.starts_with(char::is_lowercase)
    {
        page.truncate(before);
    }
    // Text that looks like a heading, a code fence or a rule is escaped.
    let rule = line
        .chars()
        .all(|c| matches!(c, '-' | '=' | '*' | '_' | ' '));
    if line.starts_with('#') || line.starts_with("```") || line.starts_with("~~~") || rule {
        page.push('\u{200b}');
    }
    page.push_str(line);
    page.push('\n');
}

/// Returns the font size of most letters.
fn body_size(pages: &[(u32, Vec<Line>)]) -> f64 {
    let mut letters: BTreeMap<i64, usize> = BTreeMap::new();
    for line in pages.iter().flat_map(|(_, lines)| lines) {
        *letters.entry(rounded(line.size)).or_default() += line.text.chars().count();
    }
    let most = letters.into_iter().max_by_key(|(_, count)| *count);
    most.map_or(0.0, |(size, _)| size as f64 / 4.0)
}

/// Returns a size in quarters of a point.
fn rounded(size: f64) -> i64 {
    (4.0 * size).round() as i64
}

/// Returns the sizes of headings, the largest first. There are none if too much of the text would be one.
fn heading_sizes(pages: &[(u32, Vec<Line>)], body: f64) -> Vec<i64> {
    let (mut sizes, mut large, mut all) = (BTreeSet::new(), 0, 0);
    for line in pages.iter().flat_map(|(_, lines)| lines) {
        let count = line.text.chars().count();
        all += count;
        if line.size >= LARGER * body && looks_like_heading(&line.text) {
            large += count;
            sizes.insert(rounded(line.size));
        }
    }
    if 3 * large > all {
        return Vec::new();
    }
    sizes.into_iter().rev().collect()
}

fn looks_like_heading(text: &str) -> bool {
    text.split_whitespace().count() <= WORDS
        && text.chars().filter(|c| c.is_alphabetic()).count() > 1
}

fn level(line: &Line, sizes: &[i64]) -> Option<usize> {
    let size = rounded(line.size);
    sizes
        .iter()
        .position(|known| *known == size)
        .filter(|_| looks_like_heading(&line.text))
}

/// Drops lines at the head and foot of pages that are on most pages, but for their numbers. The first of equal ones stays.
fn drop_running_heads(pages: &mut [(u32, Vec<Line>)]) {
    let key = |text: &str| -> String {
        let digits = text.chars().map(|c| if c.is_numeric() { '0' } else { c });
        let mut key: String = digits.collect();
        while key.contains("00") {
            key = key.replace("00", "0");
        }
        key
    };
    let mut counts: BTreeMap<String, (usize, BTreeSet<String>)> = BTreeMap::new();
    let edges: Vec<BTreeSet<usize>> = pages.iter().map(|(_, lines)| edge(lines)).collect();
    for ((_, lines), edge) in pages.iter().zip(&edges) {
        let texts: BTreeSet<&str> = edge.iter().map(|at| lines[*at].text.as_str()).collect();
        let keys: BTreeSet<String> = texts.iter().map(|text| key(text)).collect();
        for text in texts {
            let (count, known) = counts.entry(key(text)).or_default();
            known.insert(text.to_owned());
            if keys.contains(&key(text)) {
                *count += 1;
            }
        }
    }
    let enough = (pages.len() / 2 + 1).max(3);
    let mut shown: BTreeSet<String> = BTreeSet::new();
    for ((_, lines), edge) in pages.iter_mut().zip(edges) {
        let mut at = 0;
        lines.retain(|line| {
            at += 1;
            if !edge.contains(&(at - 1)) {
                return true;
            }
            let key = key(&line.text);
            match counts.get(&key) {
                Some((count, texts)) if *count >= enough => texts.len() == 1 && shown.insert(key),
                _ => true,
            }
        });
    }
}

/// Returns the highest and lowest lines of a page.
fn edge(lines: &[Line]) -> BTreeSet<usize> {
    let mut placed: Vec<(f64, usize)> = lines
        .iter()
        .enumerate()
        .filter_map(|(at, line)| Some((line.height?, at)))
        .collect();
    placed.sort_by(|a, b| a.0.total_cmp(&b.0));
    // A short page has little that is not its own.
    let most = EDGE.min(lines.len() / 6 + 1);
    let ends = placed
        .iter()
        .take(most)
        .chain(placed.iter().rev().take(most));
    ends.map(|(_, at)| *at).collect()
}
