//! Inline content of a block: emphasis, links and code in the vendor's marks; everything else is displayed literally.

use super::{Notation, is_web};

/// A style of text. The order is the nesting order of marks with the same extent, outermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Style {
    Bold,
    Italic,
    Strike,
}

impl Style {
    fn mark(self) -> char {
        match self {
            Self::Bold => '*',
            Self::Italic => '_',
            Self::Strike => '~',
        }
    }
}

/// A piece of a block's text.
#[derive(Clone, Debug)]
enum Token {
    /// Displayed literally.
    Text(String),
    /// Code, without its marks.
    Code(String),
    /// An address.
    Address(String),
    /// A line break.
    Break,
    /// A style's start, with its mark in the source.
    Open(Style, &'static str),
    Close(Style),
    /// An emphasis mark of the source that is displayed literally, or a removed token.
    Mark(&'static str),
}

/// The text of a paragraph, heading, cell or list item while it is parsed.
#[derive(Debug, Default)]
pub(super) struct Inline {
    tokens: Vec<Token>,
    /// The start of open links' labels, with their addresses.
    links: Vec<(usize, String)>,
}

impl Inline {
    pub(super) fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    pub(super) fn text(&mut self, text: &str) {
        match self.tokens.last_mut() {
            Some(Token::Text(last)) => last.push_str(text),
            _ => self.tokens.push(Token::Text(text.to_owned())),
        }
    }

    pub(super) fn code(&mut self, code: &str) {
        self.tokens.push(Token::Code(code.to_owned()));
    }

    pub(super) fn line_break(&mut self) {
        self.tokens.push(Token::Break);
    }

    /// Starts emphasis; `mark` is its mark in the source.
    pub(super) fn open(&mut self, style: Style, mark: &'static str) {
        self.tokens.push(Token::Open(style, mark));
    }

    pub(super) fn close(&mut self, style: Style) {
        self.tokens.push(Token::Close(style));
    }

    pub(super) fn open_link(&mut self, address: &str) {
        let address = address
            .strip_prefix("mailto:")
            .or_else(|| address.strip_prefix("tel:"))
            .unwrap_or(address);
        // White space would end the address early.
        let mut plain = String::with_capacity(address.len());
        for c in address.chars() {
            match c {
                c if c.is_control() => {}
                c if c.is_whitespace() => plain.push_str("%20"),
                c => plain.push(c),
            }
        }
        // The label starts with a token of its own.
        self.tokens.push(Token::Mark(""));
        self.links.push((self.tokens.len(), plain));
    }

    /// Ends a link: the address is shown beside the label, so that no label can hide it.
    pub(super) fn close_link(&mut self) {
        let Some((start, address)) = self.links.pop() else {
            return;
        };
        let label: String = self.tokens[start..]
            .iter()
            .filter_map(|token| match token {
                Token::Text(text) | Token::Code(text) => Some(text.as_str()),
                _ => None,
            })
            .collect();
        let label = label.trim();
        if address.is_empty() {
            return;
        }
        if label.is_empty() || is_same(label, &address) {
            self.tokens.truncate(start);
            self.tokens.push(Token::Address(address));
        } else {
            self.text(" (");
            self.tokens.push(Token::Address(address));
            self.text(")");
        }
    }

    /// Writes the text. With `bold` all of it is bold, as in a heading. With `plain` emphasis is dropped, as in a table cell.
    pub(super) fn finish(mut self, notation: Notation, bold: bool, plain: bool) -> String {
        while !self.links.is_empty() {
            self.close_link();
        }
        let mut tokens = self.tokens;
        for token in &mut tokens {
            if let Token::Text(text) = token {
                *text = footnotes(text);
            }
        }
        if bold {
            tokens.insert(0, Token::Open(Style::Bold, ""));
            tokens.push(Token::Close(Style::Bold));
        }
        let pairs = pairs(&mut tokens, plain);
        order(&mut tokens, &pairs);
        let pairs = self::pairs(&mut tokens, false);
        drop_impossible(&mut tokens, &pairs);
        write(&tokens, notation)
    }
}

/// Returns whether a label only repeats the address.
fn is_same(label: &str, address: &str) -> bool {
    let bare = |text: &str| {
        let text = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"))
            .unwrap_or(text);
        text.trim_end_matches('/').to_owned()
    };
    label == address || bare(label) == bare(address)
}

/// Writes footnote references without the `^`, even if the footnote is in another part.
fn footnotes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("[^") {
        out.push_str(&rest[..=at]);
        rest = &rest[at + 2..];
        let label = rest.split(|c: char| !c.is_alphanumeric() && !matches!(c, '-' | '_'));
        let length = label.map(str::len).next().unwrap_or(0);
        if length == 0 || !rest[length..].starts_with(']') {
            out.push('^');
        }
    }
    out.push_str(rest);
    out
}

/// Matches opening with closing tokens. Removes tokens without a counterpart, styles within the same style and, with `plain`, all
/// styles except strikethrough, which changes the meaning.
fn pairs(tokens: &mut [Token], plain: bool) -> Vec<(usize, usize)> {
    let mut open: Vec<(Style, usize, bool)> = Vec::new();
    let mut pairs = Vec::new();
    for at in 0..tokens.len() {
        match tokens[at] {
            Token::Open(style, _) => {
                let within = open.iter().any(|(outer, ..)| *outer == style);
                open.push((style, at, within));
            }
            Token::Close(style) => match open.pop_if(|(opened, ..)| *opened == style) {
                Some((style, from, within)) if within || (plain && style != Style::Strike) => {
                    tokens[from] = Token::Mark("");
                    tokens[at] = Token::Mark("");
                }
                Some((_, from, _)) => pairs.push((from, at)),
                None => tokens[at] = Token::Mark(""),
            },
            _ => {}
        }
    }
    for (_, at, _) in open {
        tokens[at] = Token::Mark("");
    }
    pairs
}

/// Normalises the nesting of styles with the same extent: `***x***` becomes `*_x_*`.
fn order(tokens: &mut [Token], pairs: &[(usize, usize)]) {
    let end: std::collections::HashMap<usize, usize> = pairs.iter().copied().collect();
    let mut at = 0;
    while at < tokens.len() {
        // The styles that open here and close together.
        let mut run = Vec::new();
        let mut next = at;
        while let Some(&close) = end.get(&next) {
            let together = run.last().is_none_or(|(_, outer)| close + 1 == *outer);
            if !together {
                break;
            }
            run.push((next, close));
            next += 1;
        }
        let mut styles: Vec<(Style, &'static str)> = run
            .iter()
            .filter_map(|(open, _)| match tokens[*open] {
                Token::Open(style, mark) => Some((style, mark)),
                _ => None,
            })
            .collect();
        styles.sort_unstable();
        for ((open, close), (style, mark)) in run.iter().zip(styles) {
            tokens[*open] = Token::Open(style, mark);
            tokens[*close] = Token::Close(style);
        }
        at = next.max(at + 1);
    }
}

/// Removes styles that neither vendor displays: within a word, around nothing, or with white space at an end. The marks stay next
/// to a digit, because `2*3*4` is a product, and in an address.
fn drop_impossible(tokens: &mut [Token], pairs: &[(usize, usize)]) {
    for &(open, close) in pairs {
        let Token::Open(_, mark) = tokens[open] else {
            continue;
        };
        let before = tokens[..open].iter().rev().find_map(last_char);
        let after = tokens[close + 1..].iter().find_map(first_char);
        let first = tokens[open + 1..close].iter().find_map(first_char);
        let last = tokens[open + 1..close].iter().rev().find_map(last_char);
        let word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let blank = |c: Option<char>| c.is_none_or(char::is_whitespace);
        let product = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        let address = in_bare_address(&tokens[..open]);
        if address || word(before) || word(after) || blank(first) || blank(last) {
            let kept = address || product(before) || product(after);
            let mark = if kept { mark } else { "" };
            tokens[open] = Token::Mark(mark);
            tokens[close] = Token::Mark(mark);
        }
    }
}

/// Returns whether the text ends within an address that is not marked as a link.
fn in_bare_address(tokens: &[Token]) -> bool {
    // A mark within the address is a separate token.
    let mut word = String::new();
    for token in tokens.iter().rev().take(16) {
        let text = match token {
            Token::Text(text) => text.as_str(),
            Token::Mark(mark) => mark,
            Token::Open(..) | Token::Close(_) => continue,
            Token::Code(_) | Token::Address(_) | Token::Break => break,
        };
        let from = text.rfind(char::is_whitespace);
        word.insert_str(0, from.map_or(text, |from| &text[from..]));
        if from.is_some() {
            break;
        }
    }
    word.contains("://")
}

fn first_char(token: &Token) -> Option<char> {
    match token {
        Token::Text(text) | Token::Address(text) => text.chars().next(),
        Token::Mark(mark) => mark.chars().next(),
        Token::Code(_) => Some('`'),
        Token::Break => Some('\n'),
        Token::Open(..) | Token::Close(_) => None,
    }
}

fn last_char(token: &Token) -> Option<char> {
    match token {
        Token::Text(text) | Token::Address(text) => text.chars().next_back(),
        Token::Mark(mark) => mark.chars().next_back(),
        other => first_char(other),
    }
}

/// A piece of a line, before escaping.
enum Piece<'a> {
    Literal(&'a str),
    Mark(char),
    Code(&'a str),
    Address(&'a str),
}

/// Writes tokens line by line, because neither vendor's marks extend over a line break.
fn write(tokens: &[Token], notation: Notation) -> String {
    let mut out = String::new();
    let mut line: Vec<Piece<'_>> = Vec::new();
    let mut styles: Vec<Style> = Vec::new();
    for token in tokens {
        match token {
            Token::Text(text) => {
                for (index, part) in text.split('\n').enumerate() {
                    if index > 0 {
                        next_line(&mut line, &styles, notation, &mut out);
                    }
                    line.push(Piece::Literal(part));
                }
            }
            Token::Mark(mark) => line.push(Piece::Literal(mark)),
            Token::Code(code) => line.push(Piece::Code(code)),
            Token::Address(address) => line.push(Piece::Address(address)),
            Token::Break => next_line(&mut line, &styles, notation, &mut out),
            Token::Open(style, _) => {
                styles.push(*style);
                line.push(Piece::Mark(style.mark()));
            }
            Token::Close(style) => {
                styles.pop();
                line.push(Piece::Mark(style.mark()));
            }
        }
    }
    write_line(&line, notation, &mut out);
    out.trim_matches([' ', '\n']).to_owned()
}

fn next_line(line: &mut Vec<Piece<'_>>, styles: &[Style], notation: Notation, out: &mut String) {
    line.extend(styles.iter().rev().map(|style| Piece::Mark(style.mark())));
    write_line(line, notation, out);
    out.push('\n');
    line.clear();
    line.extend(styles.iter().map(|style| Piece::Mark(style.mark())));
}

fn write_line(line: &[Piece<'_>], notation: Notation, out: &mut String) {
    // Marks around nothing would be displayed.
    if line.iter().all(|piece| match piece {
        Piece::Mark(_) => true,
        Piece::Literal(text) => text.trim().is_empty(),
        Piece::Code(_) | Piece::Address(_) => false,
    }) {
        return;
    }
    let chars = defused(line);
    let mut literals = chars.into_iter();
    let mut pending = String::new();
    for piece in line {
        match piece {
            Piece::Literal(text) => {
                pending.extend(literals.by_ref().take(text.chars().count()));
            }
            other => {
                literal(&pending, notation, out);
                pending.clear();
                match other {
                    Piece::Mark(mark) => {
                        literals.next();
                        out.push(*mark);
                    }
                    Piece::Code(code) => {
                        literals.next();
                        write_code(code, notation, out);
                    }
                    Piece::Address(address) => {
                        literals.next();
                        notation.address(address, out);
                    }
                    Piece::Literal(_) => {}
                }
            }
        }
    }
    literal(&pending, notation, out);
}

/// Writes code between back-ticks, or as text if it contains a back-tick, which the vendors cannot display in code.
fn write_code(code: &str, notation: Notation, out: &mut String) {
    if code.contains('`') {
        notation.escape(&code.replace('`', "ˋ"), out);
    } else {
        out.push('`');
        notation.escape(code, out);
        out.push('`');
    }
}

fn literal(text: &str, notation: Notation, out: &mut String) {
    // A line that starts with `>` would be a quotation.
    if text.starts_with('>') && (out.is_empty() || out.ends_with('\n')) {
        out.push('\u{200B}');
    }
    if !notation.brackets {
        return notation.escape(text, out);
    }
    let mut rest = text;
    while let Some(at) = rest.find("http").filter(|_| rest.contains("://")) {
        let (before, from) = rest.split_at(at);
        let length = from
            .find(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '|' | '"'))
            .unwrap_or(from.len());
        let address = from[..length].trim_end_matches(['.', ',', ';', ':', '!', '?', ')', '\'']);
        notation.escape(before, out);
        if is_web(address) {
            notation.address(address, out);
            rest = &from[address.len()..];
        } else {
            notation.escape(&from[..4], out);
            rest = &from[4..];
        }
    }
    notation.escape(rest, out);
}

/// Returns the characters of a line, with one placeholder for each piece that is not literal. Every literal character that would
/// act as a mark is replaced by one that looks the same.
fn defused(line: &[Piece<'_>]) -> Vec<char> {
    let mut chars = Vec::new();
    let mut literal = Vec::new();
    for piece in line {
        match piece {
            Piece::Literal(text) => {
                chars.extend(text.chars());
                literal.resize(chars.len(), true);
            }
            other => {
                chars.push(match other {
                    Piece::Mark(mark) => *mark,
                    // For the mark rules, the piece is one object.
                    _ => '\u{FFFC}',
                });
                literal.push(false);
            }
        }
    }
    let in_address = in_address(&chars);
    for (mark, lookalike) in [('*', '∗'), ('_', 'ˍ'), ('~', '∼'), ('`', 'ˋ')] {
        let at = |index: usize| chars.get(index).copied();
        // Several marks in a row are displayed literally, except back-ticks and marks next to an active mark.
        let mut single = vec![false; chars.len()];
        let mut beside = vec![false; chars.len()];
        let runs = (0..chars.len()).collect::<Vec<_>>();
        for run in runs.chunk_by(|one, next| {
            chars[*one] == mark && chars[*next] == mark && literal[*one] && literal[*next]
        }) {
            let (first, last) = (run[0], run[run.len() - 1]);
            let acts = |other: Option<usize>| {
                other.is_some_and(|other| at(other) == Some(mark) && !literal[other])
            };
            let touches = acts(first.checked_sub(1)) || acts(Some(last + 1));
            single[first..=last].fill(run.len() == 1 || mark == '`' || touches);
            beside[first..=last].fill(touches);
        }
        let marks: Vec<usize> = (0..chars.len())
            .filter(|index| chars[*index] == mark && single[*index] && !in_address[*index])
            .collect();
        let word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let blank = |c: Option<char>| c.is_none_or(char::is_whitespace);
        let opens = |index: usize| {
            mark == '`' || (!word(index.checked_sub(1).and_then(at)) && !blank(at(index + 1)))
        };
        let closes = |index: usize| {
            mark == '`' || (!blank(index.checked_sub(1).and_then(at)) && !word(at(index + 1)))
        };
        let last_closing = marks.iter().rposition(|index| closes(*index));
        let first_opening = marks.iter().position(|index| opens(*index));
        let acts: Vec<usize> = marks
            .iter()
            .enumerate()
            .filter(|(order, index)| {
                let opening = opens(**index) && last_closing.is_some_and(|last| last > *order);
                let closing = closes(**index) && first_opening.is_some_and(|first| first < *order);
                literal[**index] && (opening || closing || beside[**index])
            })
            .map(|(_, index)| *index)
            .collect();
        for index in acts {
            chars[index] = lookalike;
        }
    }
    chars
}

/// Returns for each character whether it belongs to an address, which the vendors detect automatically.
fn in_address(chars: &[char]) -> Vec<bool> {
    let mut marked = vec![false; chars.len()];
    let mut from = 0;
    while from < chars.len() {
        let length = chars[from..]
            .iter()
            .position(|c| c.is_whitespace())
            .unwrap_or(chars.len() - from);
        let word = &chars[from..from + length];
        if word.windows(3).any(|three| three == [':', '/', '/']) {
            marked[from..from + length].fill(true);
        }
        from += length + 1;
    }
    marked
}
