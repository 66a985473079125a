//! A tree of XML elements, without namespaces.

use konstruct_core::Result;
use quick_xml::{
    Reader, XmlVersion,
    events::{BytesStart, Event},
};

use super::{super::invalid, unreadable};

/// The most elements of a part, and how deep they may be nested.
const ELEMENTS: usize = 1_000_000;
const DEPTH: usize = 200;

/// An element, or a text if it has no name.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) name: String,
    attributes: Vec<(String, String)>,
    pub(super) kids: Vec<Node>,
    pub(super) text: String,
}

impl Node {
    /// Parses a document and returns its root. References to entities that XML does not define are left out.
    pub(super) fn parse(xml: &str) -> Result<Self> {
        let mut reader = Reader::from_str(xml);
        let mut open = vec![Self::default()];
        let mut elements = 0;
        loop {
            let event = reader
                .read_event()
                .map_err(|error| unreadable().with_source(error))?;
            let text = match &event {
                Event::Start(start) | Event::Empty(start) => {
                    elements += 1;
                    if elements > ELEMENTS || open.len() > DEPTH {
                        return Err(invalid("is an Office file that is too large: split it"));
                    }
                    let node = Self::of(start);
                    match event {
                        Event::Start(_) => open.push(node),
                        _ => push(&mut open, node),
                    }
                    continue;
                }
                Event::End(_) => {
                    if let Some(node) = open.pop_if(|_| true) {
                        push(&mut open, node);
                    }
                    continue;
                }
                Event::Text(text) => text.xml10_content().into_owned(),
                Event::CData(text) => text.xml10_content().into_owned(),
                Event::GeneralRef(name) => match name.resolve_char_ref() {
                    Ok(Some(c)) => c.to_string(),
                    _ => match &*name.xml10_content() {
                        "amp" => "&".to_owned(),
                        "lt" => "<".to_owned(),
                        "gt" => ">".to_owned(),
                        "quot" => "\"".to_owned(),
                        "apos" => "'".to_owned(),
                        _ => continue,
                    },
                },
                Event::Eof => break,
                _ => continue,
            };
            push(
                &mut open,
                Self {
                    text,
                    ..Self::default()
                },
            );
        }
        let root = open.into_iter().next().map(|top| top.kids);
        root.and_then(|kids| kids.into_iter().find(|node| !node.name.is_empty()))
            .ok_or_else(unreadable)
    }

    fn of(start: &BytesStart<'_>) -> Self {
        let mut attributes = start.attributes();
        let attributes = attributes.with_checks(false).flatten();
        Self {
            name: start.local_name().as_ref().to_owned(),
            attributes: attributes
                .filter_map(|attribute| {
                    let value = attribute
                        .normalized_value(XmlVersion::Implicit1_0)
                        .ok()?
                        .into_owned();
                    Some((attribute.key.local_name().as_ref().to_owned(), value))
                })
                .collect(),
            ..Self::default()
        }
    }

    pub(super) fn is(&self, name: &str) -> bool {
        self.name == name
    }

    /// Returns an attribute.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn number(&self, name: &str) -> Option<usize> {
        self.get(name)?.parse().ok()
    }

    /// Returns the first child with a name.
    pub(super) fn kid(&self, name: &str) -> Option<&Self> {
        self.kids.iter().find(|kid| kid.is(name))
    }

    /// Returns the children with a name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.kids.iter().filter(move |kid| kid.is(name))
    }

    /// Returns the texts within it, joined.
    pub(super) fn content(&self) -> String {
        let mut out = self.text.clone();
        for kid in &self.kids {
            out.push_str(&kid.content());
        }
        out
    }
}

fn push(open: &mut [Node], node: Node) {
    if let Some(parent) = open.last_mut() {
        // Texts with a reference between them come in pieces.
        match parent.kids.last_mut() {
            Some(last) if last.name.is_empty() && node.name.is_empty() => {
                last.text.push_str(&node.text);
            }
            _ => parent.kids.push(node),
        }
    }
}
