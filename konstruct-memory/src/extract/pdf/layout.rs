//! Turns the glyphs of a page into lines in reading order.
//!
//! Glyphs of one baseline are a row, and a wide gap splits a row into cells. A region whose cells form columns of prose is cut
//! into them, again and again. Everything else, such as a table, stays in rows.

use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

use super::{
    bidi::{in_reading_order, is_right_to_left},
    glyph::Glyph,
};

/// Gaps, in font sizes: between words, and between the cells of a row.
const WORD: f64 = 0.15;
const CELL: f64 = 0.8;
/// How far baselines of one row may differ, in font sizes.
const BASELINE: f64 = 0.28;
/// The gap between baselines that ends a region of columns, in font sizes.
const APART: f64 = 3.5;
/// The most rows of a page that are searched for columns.
const ROWS: usize = 1000;

/// A line of a page.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) text: String,
    /// The font size of most of its letters.
    pub(super) size: f64,
    /// Whether a paragraph begins here.
    pub(super) starts: bool,
    /// How high it is on the page, among the lines of the page's main direction.
    pub(super) height: Option<f64>,
}

#[derive(Clone, Debug)]
struct Cell {
    glyphs: Vec<Glyph>,
    from: f64,
    to: f64,
    /// The number of its words, of those with a digit, and of its letters.
    words: usize,
    numbers: usize,
    letters: usize,
}

impl Cell {
    fn new(glyph: Glyph) -> Self {
        Self {
            from: glyph.u,
            to: glyph.end(),
            glyphs: vec![glyph],
            words: 0,
            numbers: 0,
            letters: 0,
        }
    }

    fn counted(mut self) -> Self {
        for word in text(&self.glyphs).split_whitespace() {
            self.words += 1;
            self.numbers += usize::from(word.contains(|c: char| c.is_ascii_digit()));
            self.letters += word.chars().count();
        }
        self
    }
}

#[derive(Clone, Debug)]
struct Row {
    v: f64,
    size: f64,
    cells: Vec<Cell>,
}

/// Returns the lines of a page: those of the main direction, then rotated text.
pub(super) fn lines(glyphs: Vec<Glyph>) -> Vec<Line> {
    let mut by_turn: Vec<(i8, Vec<Glyph>)> = Vec::new();
    for glyph in glyphs {
        match by_turn.iter_mut().find(|(turn, _)| *turn == glyph.turn) {
            Some((_, glyphs)) => glyphs.push(glyph),
            None => by_turn.push((glyph.turn, vec![glyph])),
        }
    }
    by_turn.sort_by_key(|(_, glyphs)| std::cmp::Reverse(glyphs.len()));
    let mut lines = Vec::new();
    for (at, (_, glyphs)) in by_turn.into_iter().enumerate() {
        let first = lines.len();
        read(rows(without_doubles(glyphs)), 0, &mut lines);
        for line in &mut lines[first..] {
            line.height = line.height.filter(|_| at == 0);
        }
    }
    lines
}

/// Drops letters that are painted twice in one place, for a bold look or to fill and stroke them.
fn without_doubles(glyphs: Vec<Glyph>) -> Vec<Glyph> {
    const NEAR: f64 = 0.12;
    let mut seen: std::collections::HashMap<(String, i64, i64), (f64, f64)> = Default::default();
    let mut kept = Vec::with_capacity(glyphs.len());
    for glyph in glyphs {
        let near = NEAR * glyph.size;
        let place = |value: f64| (value / near).floor() as i64;
        let (u, v) = (place(glyph.u), place(glyph.v));
        let double = !glyph.is_blank()
            && (-1..=1).any(|du| {
                (-1..=1).any(|dv| {
                    seen.get(&(glyph.text.clone(), u + du, v + dv))
                        .is_some_and(|(x, y)| {
                            (x - glyph.u).abs() < near && (y - glyph.v).abs() < near
                        })
                })
            });
        if !double {
            seen.insert((glyph.text.clone(), u, v), (glyph.u, glyph.v));
            kept.push(glyph);
        }
    }
    kept
}

/// Collects glyphs into rows, from top to bottom.
fn rows(mut glyphs: Vec<Glyph>) -> Vec<Row> {
    glyphs.sort_by(|a, b| b.v.total_cmp(&a.v));
    let mut lines: Vec<(f64, f64, Vec<Glyph>)> = Vec::new();
    for glyph in glyphs {
        match lines.last_mut() {
            Some((v, size, line)) if *v - glyph.v <= BASELINE * size.min(glyph.size) => {
                *size = size.max(glyph.size);
                line.push(glyph);
            }
            _ => lines.push((glyph.v, glyph.size, vec![glyph])),
        }
    }
    lines.retain(|(.., line)| line.iter().any(|glyph| !glyph.is_blank()));
    for (.., line) in &mut lines {
        line.sort_by(|a, b| a.u.total_cmp(&b.u));
    }
    raise(&mut lines);
    lines.into_iter().map(|(v, _, line)| row(v, line)).collect()
}

/// Moves superscripts and subscripts into the rows that they belong to.
fn raise(lines: &mut Vec<(f64, f64, Vec<Glyph>)>) {
    let mut at = 0;
    while at < lines.len() {
        let (v, size, small) = &lines[at];
        let belongs = |(base, large, line): &(f64, f64, Vec<Glyph>)| {
            let near = (base - v).abs() < 0.6 * large && *size < 0.85 * large;
            near && small.iter().all(|glyph| {
                let after = line.partition_point(|other| other.u <= glyph.u);
                let before = line[..after].iter().rev().find(|other| !other.is_blank());
                let own = small
                    .iter()
                    .any(|other| other.u < glyph.u && (glyph.u - other.end()).abs() < 0.4 * size);
                let label = small.len() <= 2
                    && line
                        .get(after)
                        .is_some_and(|base| (base.u - glyph.end()).abs() < 0.5 * large);
                own || label
                    || before.is_some_and(|base| {
                        (-0.6 * large..0.4 * size).contains(&(glyph.u - base.end()))
                    })
            })
        };
        let base = [at + 1, at.wrapping_sub(1)]
            .into_iter()
            .find(|other| lines.get(*other).is_some_and(belongs));
        let Some(base) = base else {
            at += 1;
            continue;
        };
        let mut moved = lines[at].2.clone();
        // A raised number after a number is a part of its own, as the cents of a price are.
        let digit = |glyph: &Glyph| glyph.text.starts_with(|c: char| c.is_ascii_digit());
        for glyph in moved.iter_mut().filter(|glyph| digit(glyph)) {
            let after = lines[base]
                .2
                .iter()
                .any(|other| digit(other) && (glyph.u - other.end()).abs() < 0.3 * glyph.size);
            if after {
                glyph.text.insert(0, ' ');
            }
        }
        lines[base].2.append(&mut moved);
        lines[base].2.sort_by(|a, b| a.u.total_cmp(&b.u));
        lines.remove(at);
        at = at.saturating_sub(1);
    }
}

fn row(v: f64, glyphs: Vec<Glyph>) -> Row {
    let mut sizes: Vec<f64> = glyphs.iter().map(|glyph| glyph.size).collect();
    sizes.sort_unstable_by(f64::total_cmp);
    let size = sizes[sizes.len() / 2];
    let mut cells: Vec<Cell> = Vec::new();
    for glyph in glyphs {
        match cells.last_mut() {
            Some(cell) if glyph.is_blank() => cell.glyphs.push(glyph),
            Some(cell) if glyph.u - cell.to <= CELL * size => {
                cell.to = cell.to.max(glyph.end());
                cell.glyphs.push(glyph);
            }
            _ if glyph.is_blank() => {}
            _ => cells.push(Cell::new(glyph)),
        }
    }
    let cells = cells.into_iter().map(Cell::counted).collect();
    Row { v, size, cells }
}

/// Writes the lines of a region.
fn read(rows: Vec<Row>, depth: usize, out: &mut Vec<Line>) {
    let cut = (depth < 20 && rows.len() <= ROWS)
        .then(|| columns(&rows))
        .flatten();
    let Some((first, last, at)) = cut else {
        return write(rows, out);
    };
    let mut rows = rows;
    let below = rows.split_off(last + 1);
    let middle = rows.split_off(first);
    let (left, right) = part(middle, at);
    let to_left = is_right_to_left(&plain(&left)) && is_right_to_left(&plain(&right));
    let (one, two) = if to_left {
        (right, left)
    } else {
        (left, right)
    };
    for region in [rows, one, two, below] {
        if !region.is_empty() {
            read(region, depth + 1, out);
        }
    }
}

/// Returns the text of rows in the order of the eye, to look at its letters.
fn plain(rows: &[Row]) -> String {
    let cells = rows.iter().flat_map(|row| &row.cells);
    let glyphs = cells.flat_map(|cell| &cell.glyphs);
    glyphs.map(|glyph| glyph.text.as_str()).collect()
}

/// Parts rows at a place of the baseline.
fn part(rows: Vec<Row>, at: f64) -> (Vec<Row>, Vec<Row>) {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for row in rows {
        let (one, two): (Vec<Cell>, Vec<Cell>) =
            row.cells.into_iter().partition(|cell| cell.from < at);
        for (side, cells) in [(&mut left, one), (&mut right, two)] {
            if !cells.is_empty() {
                side.push(Row {
                    v: row.v,
                    size: row.size,
                    cells,
                });
            }
        }
    }
    (left, right)
}

/// Finds the longest run of rows with two columns of prose: its first and last row, and a place in the gutter.
fn columns(rows: &[Row]) -> Option<(usize, usize, f64)> {
    let mut best: Option<(usize, usize, f64)> = None;
    let mut tried: Vec<(usize, usize, f64)> = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        for pair in row.cells.windows(2) {
            let mut gutter = (pair[0].to, pair[1].from);
            let known = tried.iter().any(|(first, last, place)| {
                (*first..=*last).contains(&at) && (gutter.0..gutter.1).contains(place)
            });
            if known {
                continue;
            }
            let narrowed = |gutter: (f64, f64), row: &Row| {
                let size = row.size;
                let mut gutter = gutter;
                for cell in &row.cells {
                    let middle = (gutter.0 + gutter.1) / 2.0;
                    if cell.to <= gutter.0 || cell.from >= gutter.1 {
                    } else if cell.to <= middle {
                        gutter.0 = cell.to;
                    } else if cell.from >= middle {
                        gutter.1 = cell.from;
                    } else {
                        return None;
                    }
                }
                (gutter.1 - gutter.0 >= 0.5 * size).then_some(gutter)
            };
            // A wide gap across both sides ends what belongs together.
            let beside = |at: usize, next: usize| {
                let (row, next) = (rows.get(at)?, rows.get(next)?);
                ((row.v - next.v).abs() < APART * row.size.max(next.size)).then_some(())
            };
            let (mut first, mut last) = (at, at);
            while let Some(next) =
                beside(last, last + 1).and_then(|()| narrowed(gutter, &rows[last + 1]))
            {
                (gutter, last) = (next, last + 1);
            }
            while let Some(next) = first
                .checked_sub(1)
                .and_then(|before| beside(first, before))
                .and_then(|()| narrowed(gutter, &rows[first - 1]))
            {
                (gutter, first) = (next, first - 1);
            }
            let place = (gutter.0 + gutter.1) / 2.0;
            tried.push((first, last, place));
            let longer = best.is_none_or(|(a, b, _)| b - a < last - first);
            let run = &rows[first..=last];
            if longer
                && is_prose(run, |cell| cell.from < place)
                && is_prose(run, |cell| cell.from >= place)
                && are_dense(run, place)
            {
                best = Some((first, last, place));
            }
        }
    }
    best
}

/// Returns whether the cells of one side look like running text: several lines of several words, that fill the width and are
/// not numbers.
fn is_prose(rows: &[Row], side: impl Fn(&Cell) -> bool) -> bool {
    let (mut from, mut to, mut filled) = (f64::MAX, f64::MIN, 0.0);
    let (mut lines, mut words, mut numbers, mut letters) = (0, 0, 0, 0);
    for row in rows {
        let before = words;
        for cell in row.cells.iter().filter(|cell| side(cell)) {
            (from, to) = (from.min(cell.from), to.max(cell.to));
            filled += cell.to - cell.from;
            words += cell.words;
            numbers += cell.numbers;
            letters += cell.letters;
        }
        lines += usize::from(words > before);
    }
    lines >= 3
        && (2 * words >= 5 * lines || letters >= 16 * lines)
        && filled >= 0.45 * (to - from) * lines as f64
        && 3 * numbers < words
}

/// Returns whether both sides have about as many lines where they stand beside each other. The columns of a table do not, when a
/// cell has several lines.
fn are_dense(rows: &[Row], place: f64) -> bool {
    let has = |row: &Row, right: bool| row.cells.iter().any(|cell| (cell.from >= place) == right);
    let lines = |right: bool| {
        let lines = rows
            .iter()
            .enumerate()
            .filter(move |(_, row)| has(row, right));
        lines.map(|(at, _)| at).collect::<Vec<usize>>()
    };
    let (left, right) = (lines(false), lines(true));
    let from = left.first().max(right.first());
    let to = left.last().min(right.last());
    let beside = |lines: &[usize]| {
        let beside = lines
            .iter()
            .filter(|at| Some(*at) >= from && Some(*at) <= to);
        beside.count()
    };
    let (left, right) = (beside(&left), beside(&right));
    4 * left.min(right) >= 3 * left.max(right)
}

/// Writes rows as lines. A gap that is wider than usual begins a paragraph.
fn write(rows: Vec<Row>, out: &mut Vec<Line>) {
    let mut steps: Vec<f64> = rows.windows(2).map(|pair| pair[0].v - pair[1].v).collect();
    steps.sort_unstable_by(f64::total_cmp);
    let usual = steps.get(steps.len() / 2).copied().unwrap_or(0.0);
    let mut above: Option<(f64, f64)> = None;
    for row in rows {
        let starts = above.is_none_or(|(v, size)| {
            let step = v - row.v;
            step > 1.5 * size.max(row.size)
                && (step > 1.25 * usual || step > 3.0 * size.max(row.size))
                || (size - row.size).abs() > 0.15 * row.size
        });
        above = Some((row.v, row.size));
        let clusters: Vec<Glyph> = row.cells.into_iter().flat_map(|cell| cell.glyphs).collect();
        let text = text(&clusters);
        if !text.is_empty() {
            out.push(Line {
                text,
                size: row.size,
                starts,
                height: Some(row.v),
            });
        }
    }
}

/// Returns the text of glyphs in reading order, with a blank at each gap.
fn text(glyphs: &[Glyph]) -> String {
    let mut clusters: Vec<String> = Vec::with_capacity(glyphs.len());
    let mut before: Option<&Glyph> = None;
    for glyph in glyphs {
        if glyph.is_blank() {
            clusters.push(" ".to_owned());
            continue;
        }
        if let Some(before) = before {
            let gap = glyph.u - before.end();
            // An accent that is set over its letter.
            if gap < -0.3 * before.width.min(glyph.width)
                && let Some(composed) = accented(&before.text, &glyph.text)
                && clusters.last().is_some_and(|last| *last == before.text)
            {
                clusters.pop();
                clusters.push(composed);
                continue;
            }
            let wide = WORD
                * before
                    .size
                    .min(glyph.size)
                    .max(0.6 * before.size.max(glyph.size));
            if gap > wide && clusters.last().is_none_or(|last| last != " ") {
                clusters.push(" ".to_owned());
            }
        }
        clusters.push(glyph.text.clone());
        before = Some(glyph);
    }
    let text = in_reading_order(&clusters);
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").nfc().collect()
}

/// Composes a letter and a spacing accent, in any order.
fn accented(one: &str, two: &str) -> Option<String> {
    let mark = |text: &str| {
        Some(match text {
            "`" => '\u{300}',
            "´" => '\u{301}',
            "ˆ" | "^" => '\u{302}',
            "˜" | "~" => '\u{303}',
            "¯" => '\u{304}',
            "˘" => '\u{306}',
            "˙" => '\u{307}',
            "¨" => '\u{308}',
            "˚" => '\u{30a}',
            "˝" => '\u{30b}',
            "ˇ" => '\u{30c}',
            "¸" => '\u{327}',
            "˛" => '\u{328}',
            _ => return None,
        })
    };
    let (letter, mark) = match (mark(one), mark(two)) {
        (Some(mark), None) => (two, mark),
        (None, Some(mark)) => (one, mark),
        _ => return None,
    };
    let letter = match letter {
        "ı" => "i",
        "ȷ" => "j",
        letter => letter,
    };
    let composed: String = letter.chars().chain([mark]).nfc().collect();
    (!composed.contains(is_combining_mark)).then_some(composed)
}
