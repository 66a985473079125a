//! The marks of questions and answers: `Q:`, `A1)`, `Frage:`, `**P:**`, `問：`.

/// Words that mark a question; [`ANSWER`] for answers.
const QUESTION: &[&str] = &[
    "question",
    "frage",
    "pregunta",
    "domanda",
    "pergunta",
    "vraag",
    "fråga",
    "spørgsmål",
    "pytanie",
    "soru",
    "вопрос",
    "問",
    "问",
    "質問",
    "问题",
    "問題",
    "질문",
    "سؤال",
    "السؤال",
];
const ANSWER: &[&str] = &[
    "answer",
    "antwort",
    "respuesta",
    "réponse",
    "reponse",
    "risposta",
    "resposta",
    "antwoord",
    "svar",
    "odpowiedź",
    "cevap",
    "ответ",
    "答",
    "回答",
    "答え",
    "答案",
    "답변",
    "답",
    "جواب",
    "الجواب",
];
/// Pairs of letters in use. A single letter may be an initial, so it counts only with its partner.
const LETTERS: &[(char, char)] = &[
    ('q', 'a'),
    ('q', 'r'),
    ('p', 'r'),
    ('d', 'r'),
    ('f', 'a'),
    ('v', 'a'),
    ('f', 's'),
    ('s', 's'),
    ('p', 'o'),
    ('s', 'c'),
    ('в', 'о'),
    ('س', 'ج'),
];

/// What a line is marked as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark<'a> {
    Question(&'a str),
    Answer(&'a str),
}

/// The marks of one document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks {
    letters: (char, char),
    are_paired: bool,
}

impl Marks {
    /// Returns the marks that a document uses, if it has any question with them.
    pub(super) fn of(text: &str) -> Option<Self> {
        let words: Vec<String> = text
            .lines()
            .filter_map(|line| Some(word(line)?.0))
            .collect();
        let count = |letter: char| {
            words
                .iter()
                .filter(|word| word.chars().eq([letter]))
                .count()
        };
        let named = |known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
        let pairs = |(question, answer): &(char, char)| count(*question).min(count(*answer));
        let mut best = ('q', 'a');
        for letters in LETTERS {
            if pairs(letters) > pairs(&best) {
                best = *letters;
            }
        }
        let are_paired = pairs(&best) > 0 || (named(QUESTION) && named(ANSWER));
        let is_used = are_paired || count('q') > 0 || named(QUESTION);
        is_used.then_some(Self {
            letters: best,
            are_paired,
        })
    }

    /// Returns whether there are marks of answers too. Without them a word may just begin a line.
    pub(super) fn are_paired(self) -> bool {
        self.are_paired
    }

    /// Returns what a line is, without its mark.
    pub(super) fn read<'a>(self, line: &'a str) -> Option<Mark<'a>> {
        let (word, rest) = word(line)?;
        let is = |letter: char, known: &[&str]| {
            word.chars().eq([letter]) || known.contains(&word.as_str())
        };
        if is(self.letters.0, QUESTION) {
            // Some mark both with one letter.
            return Some(Mark::Question(rest));
        }
        is(self.letters.1, ANSWER).then_some(Mark::Answer(rest))
    }
}

/// Splits a line into the word before its first `:`, `)`, `.` or dash, in lower case and without a number, and the text after it.
fn word(line: &str) -> Option<(String, &str)> {
    let is_decoration =
        |c: char| c.is_whitespace() || matches!(c, '*' | '_' | '#' | '>' | '•' | '-' | '\u{feff}');
    let start = line.trim_start_matches(is_decoration);
    let is_bold = line.len() > start.len() && line.trim_start().starts_with(['*', '_']);
    let length = start
        .find(|c: char| !c.is_alphabetic())
        .unwrap_or(start.len());
    let (name, rest) = start.split_at(length);
    if name.is_empty() || name.chars().count() > 12 {
        return None;
    }
    let numbered = rest.trim_start_matches([' ', '\u{a0}', '.', '#']);
    let after = numbered.trim_start_matches(char::is_numeric);
    let after = Some(after).filter(|after| after.len() < numbered.len());
    let text = after.and_then(after_mark).or_else(|| after_mark(rest));
    let name: String = name
        .chars()
        .map(narrow)
        .flat_map(char::to_lowercase)
        .collect();
    if let Some(text) = text {
        return Some((name, bare(text)));
    }
    // `**Q** Where?`
    let is_alone = is_bold && rest.starts_with(['*', '_']);
    is_alone.then(|| (name, bare(rest.trim_start_matches(['*', '_']))))
}

/// Returns the text after a mark such as `:`.
fn after_mark(rest: &str) -> Option<&str> {
    let spaced = rest.trim_start_matches([' ', '\u{a0}', '\u{202f}', '*', '_']);
    let mark = spaced.chars().next()?;
    let text = &spaced[mark.len_utf8()..];
    let is_mark = match mark {
        ':' | '：' | ')' | '）' | '、' => true,
        '．' => true,
        '.' => text.is_empty() || text.starts_with(char::is_whitespace),
        '-' | '–' | '—' => spaced.len() < rest.len() && text.starts_with(char::is_whitespace),
        _ => false,
    };
    is_mark.then_some(text)
}

/// Turns full-width letters into usual ones.
fn narrow(c: char) -> char {
    match c {
        'Ａ'..='Ｚ' | 'ａ'..='ｚ' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
        c => c,
    }
}

/// Removes blanks and the marks of bold text around a text.
pub(super) fn bare(text: &str) -> &str {
    let is_mark = |c: char| c.is_whitespace() || c == '\u{a0}';
    let mut text = text.trim_matches(is_mark);
    for mark in ["**", "__"] {
        // The opening marks may stand before the mark of the question.
        let count = text.matches(mark).count();
        if count % 2 == 1 {
            text = text
                .strip_suffix(mark)
                .or_else(|| text.strip_prefix(mark))
                .unwrap_or(text)
                .trim_matches(is_mark);
        }
        if let Some(inner) = text
            .strip_prefix(mark)
            .and_then(|text| text.strip_suffix(mark))
            && !inner.contains(mark)
        {
            text = inner.trim_matches(is_mark);
        }
    }
    text
}

/// Returns the text of a line without the number or bullet of a list.
pub(super) fn without_number(line: &str) -> &str {
    let start = line.trim_start_matches(|c: char| {
        c.is_whitespace() || matches!(c, '*' | '_' | '#' | '•' | '-' | '\u{feff}')
    });
    let digits = start.bytes().take_while(u8::is_ascii_digit).count();
    let rest = &start[digits..];
    if (1..=3).contains(&digits)
        && let Some(rest) = rest.strip_prefix(['.', ')', '．', '、'])
        && (rest.starts_with(char::is_whitespace)
            || !rest.starts_with(|c: char| c.is_ascii_digit()))
    {
        return bare(rest);
    }
    let is_bullet = |c: char| c.is_whitespace() || matches!(c, '•' | '◦' | '▪' | '·' | '-' | '–');
    bare(line.trim_start_matches(is_bullet))
}

/// Returns whether a line ends like a question.
pub(super) fn is_question(line: &str) -> bool {
    let end = line.trim_end_matches(|c: char| {
        c.is_whitespace() || matches!(c, '"' | '»' | '”' | '“' | ')' | '*' | '_' | ':')
    });
    end.ends_with(['?', '？', '؟', '\u{37e}'])
}
