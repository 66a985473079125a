//! Lists and the marks of their items.

use super::dom::{Dom, Id};

#[derive(Debug)]
pub(super) struct List {
    /// The number of the next item, if they are numbered, and the step to the one after it.
    next: Option<(i64, i64)>,
    /// How numbers are written: the attribute `type`.
    style: char,
}

#[derive(Debug)]
pub(super) struct Item {
    pub(super) mark: String,
    /// How far the text of the item is indented. Zero before the mark is written.
    pub(super) width: usize,
    pub(super) is_written: bool,
}

impl List {
    pub(super) fn of(dom: &Dom, id: Id) -> Self {
        let number = |name| dom.attribute(id, name).and_then(|value| value.parse().ok());
        let is_reversed = dom.attribute(id, "reversed").is_some();
        let items = || {
            let items = dom.children(id).filter(|id| dom.name(*id) == "li");
            i64::try_from(items.count()).unwrap_or(1)
        };
        let first = number("start").unwrap_or_else(|| if is_reversed { items() } else { 1 });
        let step = if is_reversed { -1 } else { 1 };
        let style = dom
            .attribute(id, "type")
            .and_then(|value| value.chars().next());
        Self {
            next: (dom.name(id) == "ol").then_some((first, step)),
            style: style.unwrap_or('1'),
        }
    }

    /// Returns the mark of the next item.
    pub(super) fn mark(&mut self, dom: &Dom, item: Id) -> String {
        let Some((next, step)) = &mut self.next else {
            return "- ".to_owned();
        };
        let value = dom
            .attribute(item, "value")
            .and_then(|value| value.parse().ok());
        let number: i64 = value.unwrap_or(*next);
        *next = number.saturating_add(*step);
        format!("{}. ", numbered(number, self.style))
    }
}

/// Writes the number of a list item as `type` says: a number, a letter or a Roman numeral.
fn numbered(number: i64, style: char) -> String {
    let letter = |first: u8| match u8::try_from(number) {
        Ok(at @ 1..=26) => Some(char::from(first + at - 1).to_string()),
        _ => None,
    };
    let written = match style {
        'a' => letter(b'a'),
        'A' => letter(b'A'),
        'i' => roman(number),
        'I' => roman(number).map(|roman| roman.to_uppercase()),
        _ => None,
    };
    written.unwrap_or_else(|| number.to_string())
}

fn roman(number: i64) -> Option<String> {
    const LETTERS: &[(usize, &str)] = &[
        (50, "l"),
        (40, "xl"),
        (10, "x"),
        (9, "ix"),
        (5, "v"),
        (4, "iv"),
        (1, "i"),
    ];
    let number = usize::try_from(number).ok();
    let mut rest = number.filter(|number| (1..90).contains(number))?;
    let mut roman = String::new();
    for (value, letters) in LETTERS {
        while rest >= *value {
            roman.push_str(letters);
            rest -= value;
        }
    }
    Some(roman)
}
