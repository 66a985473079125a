//! The numbers of lists.

use std::collections::BTreeMap;

use super::{super::xml::Node, value};

/// The levels of a list.
const LEVELS: usize = 9;

#[derive(Clone, Debug, Default)]
struct Level {
    format: String,
    /// The mark, with the numbers of this level and those above as `%1`, `%2`.
    text: String,
    start: usize,
}

#[derive(Debug, Default)]
pub(super) struct Lists {
    /// The definition of each list, and the levels that it starts with another number.
    lists: BTreeMap<String, (String, BTreeMap<usize, usize>)>,
    definitions: BTreeMap<String, Vec<Level>>,
    /// The last number of each level, by definition.
    counts: BTreeMap<String, [Option<usize>; LEVELS]>,
    /// The lists whose own start was used.
    started: Vec<String>,
}

impl Lists {
    pub(super) fn new(root: Option<Node>) -> Self {
        let mut lists = Self::default();
        for node in root.iter().flat_map(|root| root.all("abstractNum")) {
            let Some(id) = node.get("abstractNumId") else {
                continue;
            };
            let mut levels = vec![Level::default(); LEVELS];
            for level in node.all("lvl") {
                if let Some(known) = level.number("ilvl").and_then(|at| levels.get_mut(at)) {
                    let text = |name| value(level, name).unwrap_or_default().to_owned();
                    let start = value(level, "start").and_then(|start| start.parse().ok());
                    *known = Level {
                        format: text("numFmt"),
                        text: text("lvlText"),
                        start: start.unwrap_or(1),
                    };
                }
            }
            lists.definitions.insert(id.to_owned(), levels);
        }
        for node in root.iter().flat_map(|root| root.all("num")) {
            if let (Some(id), Some(definition)) = (node.get("numId"), value(node, "abstractNumId"))
            {
                let starts = node.all("lvlOverride").filter_map(|level| {
                    let start = value(level, "startOverride")?.parse().ok()?;
                    Some((level.number("ilvl")?, start))
                });
                let starts = starts.collect();
                lists
                    .lists
                    .insert(id.to_owned(), (definition.to_owned(), starts));
            }
        }
        lists
    }

    /// Returns the mark of the next item of a list, or `None` if it has none.
    pub(super) fn next(&mut self, list: &str, level: Option<usize>) -> Option<String> {
        let at = level.unwrap_or(0).min(LEVELS - 1);
        let (definition, starts) = self.lists.get(list)?;
        let levels = self.definitions.get(definition)?;
        let level = &levels[at];
        let counts = self.counts.entry(definition.clone()).or_default();
        if !starts.is_empty() && !self.started.iter().any(|started| started == list) {
            self.started.push(list.to_owned());
            for (level, start) in starts {
                if let Some(count) = counts.get_mut(*level) {
                    *count = start.checked_sub(1);
                }
            }
        }
        counts[at] = Some(counts[at].map_or(level.start, |count| count.saturating_add(1)));
        counts[at + 1..].fill(None);
        match level.format.as_str() {
            "none" => None,
            "bullet" => Some("-".to_owned()),
            _ => {
                let mut text = level.text.clone();
                for (above, level) in levels.iter().enumerate().take(at + 1) {
                    let number = counts[above].unwrap_or(level.start);
                    text =
                        text.replace(&format!("%{}", above + 1), &written(number, &level.format));
                }
                (!text.trim().is_empty()).then(|| text.trim().to_owned())
            }
        }
    }
}

fn written(number: usize, format: &str) -> String {
    let letters = || {
        let letter = char::from(b'a' + ((number.max(1) - 1) % 26) as u8);
        letter
            .to_string()
            .repeat(((number.max(1) - 1) / 26 + 1).min(8))
    };
    match format {
        "lowerLetter" => letters(),
        "upperLetter" => letters().to_uppercase(),
        "lowerRoman" => roman(number),
        "upperRoman" => roman(number).to_uppercase(),
        "decimalZero" => format!("{number:02}"),
        _ => number.to_string(),
    }
}

fn roman(number: usize) -> String {
    const DIGITS: [(usize, &str); 13] = [
        (1000, "m"),
        (900, "cm"),
        (500, "d"),
        (400, "cd"),
        (100, "c"),
        (90, "xc"),
        (50, "l"),
        (40, "xl"),
        (10, "x"),
        (9, "ix"),
        (5, "v"),
        (4, "iv"),
        (1, "i"),
    ];
    if number > 3999 {
        return number.to_string();
    }
    let mut rest = number;
    let mut out = String::new();
    for (value, digits) in DIGITS {
        while rest >= value {
            out.push_str(digits);
            rest -= value;
        }
    }
    out
}
