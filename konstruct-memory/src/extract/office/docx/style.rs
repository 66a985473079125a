//! What a style says about a paragraph or a run.

use std::collections::BTreeMap;

use super::{super::xml::Node, value};

/// How many styles a style may be based on, one on the other.
const DEPTH: usize = 20;

/// The word for a heading in the names of styles, in lower case. Word itself writes the English one in every language.
const HEADING: &[&str] = &[
    "heading",
    "überschrift",
    "titre",
    "título",
    "titulo",
    "titolo",
    "kop",
    "rubrik",
    "overskrift",
    "otsikko",
    "nagłówek",
    "nadpis",
    "címsor",
    "titlu",
    "başlık",
    "заголовок",
    "見出し",
    "标题",
    "제목",
];

#[derive(Clone, Debug, Default)]
pub(super) struct Style {
    /// The level of the heading, from 1.
    pub(super) heading: Option<usize>,
    /// The list and the level in it.
    pub(super) list: Option<String>,
    pub(super) list_level: Option<usize>,
    /// Whether the text is hidden.
    pub(super) hidden: bool,
}

#[derive(Debug, Default)]
pub(super) struct Styles {
    styles: BTreeMap<String, Style>,
    /// The style of a paragraph that names none.
    plain: Style,
}

impl Styles {
    pub(super) fn new(root: Option<Node>) -> Self {
        let nodes: BTreeMap<&str, &Node> = root
            .iter()
            .flat_map(|root| root.all("style"))
            .filter_map(|style| Some((style.get("styleId")?, style)))
            .collect();
        let styles = nodes
            .iter()
            .map(|(id, node)| ((*id).to_owned(), resolved(node, &nodes)))
            .collect();
        Self {
            styles,
            plain: Style::default(),
        }
    }

    pub(super) fn get(&self, id: Option<&str>) -> &Style {
        id.and_then(|id| self.styles.get(id)).unwrap_or(&self.plain)
    }
}

/// Follows the styles that a style is based on.
fn resolved(node: &Node, nodes: &BTreeMap<&str, &Node>) -> Style {
    let mut style = Style::default();
    let mut outline = None;
    let mut next = Some(node);
    for _ in 0..DEPTH {
        let Some(node) = next else { break };
        let paragraph = node.kid("pPr");
        let number = paragraph.and_then(|properties| properties.kid("numPr"));
        let set = |one: Option<&str>| one.and_then(|text| text.parse::<usize>().ok());
        outline = outline.or(set(
            paragraph.and_then(|properties| value(properties, "outlineLvl"))
        ));
        style.heading = style.heading.or(value(node, "name").and_then(level));
        let list = number.and_then(|number| value(number, "numId"));
        style.list = style.list.or(list.map(str::to_owned));
        style.list_level = style
            .list_level
            .or(set(number.and_then(|number| value(number, "ilvl"))));
        style.hidden |= node
            .kid("rPr")
            .and_then(|run| run.kid("vanish"))
            .is_some_and(|vanish| !matches!(vanish.get("val"), Some("0" | "false" | "off")));
        next = value(node, "basedOn").and_then(|id| nodes.get(id)).copied();
    }
    if let Some(outline) = outline {
        style.heading = (outline < 9).then_some(outline + 1);
    }
    style
}

/// Returns the level of a heading by the name of its style: `heading 2`, `Überschrift 2`, `Title`.
fn level(name: &str) -> Option<usize> {
    let name = name.to_lowercase();
    if name == "title" || name == "titel" {
        return Some(1);
    }
    let (word, number) = name.rsplit_once(' ').or_else(|| {
        let digit = name.find(|c: char| c.is_ascii_digit())?;
        Some(name.split_at(digit))
    })?;
    let level = number
        .parse()
        .ok()
        .filter(|level| (1..=9).contains(level))?;
    HEADING.contains(&word.trim()).then_some(level)
}
