//! Questions and answers: marked lines, lines that end like questions, numbered lists, or headings.

use super::{
    Section,
    mark::{Mark, Marks, bare, is_question, without_number},
    markdown, plain,
};
use crate::chunk::word_count;

/// The most words of a question without a mark.
const QUESTION: usize = 30;

/// Returns a section for each pair. Text before the first question is plain text, and so is a text without questions.
pub(super) fn sections(text: &str) -> Vec<Section> {
    if let Some(marks) = Marks::of(text) {
        return marked(text, marks);
    }
    if text.lines().any(is_heading) {
        let mut sections = markdown::sections(text);
        let titles = sections
            .iter_mut()
            .filter_map(|section| section.path.last_mut());
        for title in titles {
            *title = without_number(title).to_owned();
        }
        return sections;
    }
    let is_asked = |line: &str| is_question(line) && word_count(line) <= QUESTION;
    if text.lines().any(is_asked) {
        return by_line(text, is_asked);
    }
    if is_numbered(text) {
        return by_line(text, has_number);
    }
    plain::sections(text)
}

/// Returns whether a plain text consists of questions and answers: it has marks of both, or several numbered questions.
pub(super) fn is_faq(text: &str) -> bool {
    let is_asked = |line: &&str| has_number(line) && is_question(line);
    Marks::of(text).is_some_and(Marks::are_paired) || text.lines().filter(is_asked).count() > 1
}

/// A question, the lines that continue it, and the lines of its answer.
#[derive(Debug, Default)]
struct Pair {
    category: Option<String>,
    question: Vec<String>,
    answer: Vec<String>,
    is_answered: bool,
}

/// Reads questions and answers with marks. A line between the marks of a question and of its answer continues the question. A
/// heading is a category.
fn marked(text: &str, marks: Marks) -> Vec<Section> {
    let mut before = Vec::new();
    let mut category = None;
    let mut pairs: Vec<Pair> = Vec::new();
    for line in text.lines() {
        let heading = line
            .trim_start()
            .strip_prefix('#')
            .map(|rest| rest.trim_start_matches('#'));
        match (marks.read(line), pairs.last_mut()) {
            (Some(Mark::Question(question)), _) => {
                let (question, answer) = split(question, marks);
                pairs.push(Pair {
                    category: category.clone(),
                    question: vec![question.to_owned()],
                    is_answered: answer.is_some(),
                    answer: answer.into_iter().map(str::to_owned).collect(),
                });
            }
            (None, _) if heading.is_some_and(|rest| rest.starts_with(' ')) => {
                category = heading.map(|rest| bare(rest).to_owned());
            }
            (Some(Mark::Answer(answer)), Some(pair)) => {
                // What seemed the answer continues the question.
                if !pair.is_answered {
                    pair.question.append(&mut pair.answer);
                }
                pair.is_answered = true;
                pair.answer.push(answer.to_owned());
            }
            (_, Some(pair)) => pair.answer.push(line.trim().to_owned()),
            (_, None) => before.push(line),
        }
    }
    let mut sections = plain::sections(&before.join("\n"));
    sections.extend(pairs.into_iter().map(Pair::section));
    sections
}

/// Splits `Where? A: Here.`.
fn split(line: &str, marks: Marks) -> (&str, Option<&str>) {
    let starts = line.match_indices(char::is_whitespace).map(|(at, _)| at);
    for at in starts {
        if line[..at].ends_with(['?', '？', '؟'])
            && let Some(Mark::Answer(answer)) = marks.read(&line[at..])
        {
            return (bare(&line[..at]), Some(answer));
        }
    }
    (line, None)
}

impl Pair {
    fn section(self) -> Section {
        let question = self.question.join(" ");
        let question = question.split_whitespace().collect::<Vec<_>>().join(" ");
        let answer = self.answer.join("\n");
        let paragraphs: Vec<String> = answer
            .split("\n\n")
            .map(|paragraph| bare(paragraph).to_owned())
            .filter(|paragraph| !paragraph.is_empty())
            .collect();
        let mut path: Vec<String> = self.category.into_iter().chain([question]).collect();
        path.retain(|title| !title.is_empty());
        path.dedup();
        if paragraphs.is_empty() {
            // A question without an answer is indexed too.
            let paragraphs = path.pop().into_iter().collect();
            return Section { path, paragraphs };
        }
        Section { path, paragraphs }
    }
}

/// Reads lines that are questions by themselves, each with the lines below it.
fn by_line(text: &str, is_question: impl Fn(&str) -> bool) -> Vec<Section> {
    let mut before = Vec::new();
    let mut pairs: Vec<Pair> = Vec::new();
    for line in text.lines() {
        if is_question(line) {
            pairs.push(Pair {
                question: vec![without_number(line).to_owned()],
                ..Pair::default()
            });
        } else if let Some(pair) = pairs.last_mut() {
            pair.answer.push(line.trim().to_owned());
        } else {
            before.push(line);
        }
    }
    let mut sections = plain::sections(&before.join("\n"));
    sections.extend(pairs.into_iter().map(Pair::section));
    sections
}

fn has_number(line: &str) -> bool {
    line.trim_start().starts_with(|c: char| c.is_ascii_digit())
        && without_number(line).len() < line.trim().len()
}

/// Returns whether numbered lines have text below each of them: a list of steps has none.
fn is_numbered(text: &str) -> bool {
    let mut lines = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(has_number)
        .skip_while(|number| !number);
    let mut before = false;
    let mut count = 0;
    let mut is_list = false;
    for number in lines.by_ref() {
        is_list |= number && before;
        count += usize::from(number);
        before = number;
    }
    count > 1 && !is_list && !before
}

/// Returns whether a line is a heading of Markdown, or entirely bold.
fn is_heading(line: &str) -> bool {
    let line = line.trim();
    let level = line.bytes().take_while(|byte| *byte == b'#').count();
    let is_bold = ["**", "__"].iter().any(|mark| {
        let inner = line
            .strip_prefix(mark)
            .and_then(|rest| rest.strip_suffix(mark));
        inner.is_some_and(|inner| !inner.is_empty() && !inner.contains(mark))
    });
    ((1..=6).contains(&level) && line[level..].starts_with(' ')) || is_bold
}
