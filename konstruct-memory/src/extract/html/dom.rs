//! The tree of a page, as a browser would build it.

use std::{
    borrow::Cow,
    cell::{Cell, Ref, RefCell},
};

use html5ever::{
    Attribute, QualName, TokenizerResult,
    buffer_queue::BufferQueue,
    interface::{ElementFlags, NodeOrText, QuirksMode, Tracer, TreeSink},
    tendril::StrTendril,
    tokenizer::{EndTag, StartTag, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts},
    tree_builder::{TreeBuilder, TreeBuilderOpts},
};

/// The most elements that are open at a time. The parser takes quadratic time in it, so deeper start tags are ignored, as browsers
/// do.
const DEPTH: usize = 512;
/// The most nodes of a page. The rest is ignored: only a hostile page has more within the limit of text.
const NODES: usize = 1 << 20;
/// Elements whose content is not parsed. An example in Markdown, such as `<title>`, would swallow the text after it.
const RAW: &[&str] = &[
    "title",
    "textarea",
    "xmp",
    "iframe",
    "noembed",
    "noframes",
    "plaintext",
];

/// The index of a node.
pub(super) type Id = usize;

/// The document node.
pub(super) const ROOT: Id = 0;

#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) parent: Option<Id>,
    pub(super) first: Option<Id>,
    last: Option<Id>,
    pub(super) next: Option<Id>,
    previous: Option<Id>,
    pub(super) data: Data,
}

#[derive(Debug, Default)]
pub(super) enum Data {
    /// The document, a comment, or the content of a template.
    #[default]
    Other,
    Text(String),
    Element(QualName, Vec<Attribute>),
}

/// The nodes of a page. The document node is the first.
#[derive(Debug)]
pub(super) struct Dom {
    pub(super) nodes: Vec<Node>,
}

impl Dom {
    /// Parses a page. With `is_fragment` it is HTML inside Markdown.
    pub(super) fn parse(page: &str, is_fragment: bool) -> Self {
        let builder = TreeBuilder::new(
            Sink::default(),
            TreeBuilderOpts {
                // Without scripts, the content of `noscript` is parsed.
                scripting_enabled: false,
                ..TreeBuilderOpts::default()
            },
        );
        let capped = Capped {
            builder,
            open: Cell::new(0),
            is_full: Cell::new(false),
            is_fragment,
        };
        let tokenizer = Tokenizer::new(capped, TokenizerOpts::default());
        let input = BufferQueue::default();
        input.push_back(StrTendril::from_slice(page));
        while !matches!(tokenizer.feed(&input), TokenizerResult::Done) {}
        tokenizer.end();
        Self {
            nodes: tokenizer.sink.builder.sink.nodes.into_inner(),
        }
    }

    /// Returns the name of an HTML element; empty for other nodes.
    pub(super) fn name(&self, id: Id) -> &str {
        match &self.nodes[id].data {
            Data::Element(name, _) => &name.local,
            _ => "",
        }
    }

    pub(super) fn attribute(&self, id: Id, name: &str) -> Option<&str> {
        let Data::Element(_, attributes) = &self.nodes[id].data else {
            return None;
        };
        let attribute = attributes.iter().find(|one| &*one.name.local == name)?;
        Some(attribute.value.trim())
    }

    pub(super) fn children(&self, id: Id) -> impl Iterator<Item = Id> {
        std::iter::successors(self.nodes[id].first, |id| self.nodes[*id].next)
    }

    /// Returns the nodes above, the nearest first.
    pub(super) fn ancestors(&self, id: Id) -> impl Iterator<Item = Id> {
        std::iter::successors(self.nodes[id].parent, |id| self.nodes[*id].parent)
    }

    /// Returns the node after this one and all that it contains, up to the end of `within`.
    fn after(&self, id: Id, within: Id) -> Option<Id> {
        let mut at = id;
        while at != within {
            if let Some(next) = self.nodes[at].next {
                return Some(next);
            }
            at = self.nodes[at].parent?;
        }
        None
    }

    /// Returns a node and all that it contains, in document order.
    pub(super) fn descendants(&self, within: Id) -> impl Iterator<Item = Id> {
        std::iter::successors(Some(within), move |id| {
            self.nodes[*id].first.or_else(|| self.after(*id, within))
        })
    }

    /// Returns the nodes after a node and its content, in document order.
    pub(super) fn following(&self, id: Id) -> impl Iterator<Item = Id> {
        std::iter::successors(self.after(id, ROOT), |id| {
            self.nodes[*id].first.or_else(|| self.after(*id, ROOT))
        })
    }

    /// Returns the element before a node, beside it.
    pub(super) fn previous_element(&self, id: Id) -> Option<Id> {
        std::iter::successors(self.nodes[id].previous, |id| self.nodes[*id].previous)
            .find(|id| !self.name(*id).is_empty())
    }

    /// Returns whether there is nothing but blanks beside a node.
    pub(super) fn is_only_child(&self, id: Id) -> bool {
        let is_blank = |id: Option<Id>| {
            id.is_none_or(|id| match &self.nodes[id].data {
                Data::Text(text) => {
                    text.trim().is_empty()
                        && (self.nodes[id].next.is_none() || self.nodes[id].previous.is_none())
                }
                Data::Other => true,
                Data::Element(..) => false,
            })
        };
        is_blank(self.nodes[id].previous) && is_blank(self.nodes[id].next)
    }

    /// Returns the next element beside a node.
    pub(super) fn next_element(&self, id: Id) -> Option<Id> {
        std::iter::successors(self.nodes[id].next, |id| self.nodes[*id].next)
            .find(|id| !self.name(*id).is_empty())
    }

    /// Returns the text in an element with its white space and line breaks.
    pub(super) fn text_as_it_is(&self, within: Id) -> String {
        let mut text = String::new();
        for id in self.descendants(within) {
            match &self.nodes[id].data {
                Data::Text(part) => text.push_str(part),
                _ if self.name(id) == "br" => text.push('\n'),
                _ => {}
            }
        }
        text
    }

    /// Returns the text in an element, with single blanks.
    pub(super) fn text(&self, within: Id) -> String {
        let mut text = String::new();
        for id in self.descendants(within) {
            match &self.nodes[id].data {
                Data::Text(part) => text.push_str(part),
                Data::Element(..) => text.push(' '),
                Data::Other => {}
            }
        }
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// Builds the nodes.
#[derive(Debug)]
struct Sink {
    nodes: RefCell<Vec<Node>>,
}

impl Default for Sink {
    fn default() -> Self {
        Self {
            nodes: RefCell::new(vec![Node::default()]),
        }
    }
}

impl Sink {
    fn create(&self, data: Data) -> Id {
        let mut nodes = self.nodes.borrow_mut();
        nodes.push(Node {
            data,
            ..Node::default()
        });
        nodes.len() - 1
    }

    /// Inserts a node or text before a child, or at the end.
    fn insert(&self, parent: Id, before: Option<Id>, child: NodeOrText<Id>) {
        let child = match child {
            NodeOrText::AppendNode(id) => {
                self.remove_from_parent(&id);
                id
            }
            NodeOrText::AppendText(text) => {
                let mut nodes = self.nodes.borrow_mut();
                let previous = match before {
                    Some(before) => nodes[before].previous,
                    None => nodes[parent].last,
                };
                if let Some(previous) = previous
                    && let Data::Text(last) = &mut nodes[previous].data
                {
                    last.push_str(&text);
                    return;
                }
                drop(nodes);
                self.create(Data::Text(text.to_string()))
            }
        };
        let mut nodes = self.nodes.borrow_mut();
        let previous = match before {
            Some(before) => nodes[before].previous.replace(child),
            None => nodes[parent].last.replace(child),
        };
        nodes[child].parent = Some(parent);
        nodes[child].next = before;
        nodes[child].previous = previous;
        match previous {
            Some(previous) => nodes[previous].next = Some(child),
            None => nodes[parent].first = Some(child),
        }
    }
}

impl TreeSink for Sink {
    type Handle = Id;
    type Output = ();
    type ElemName<'a> = Ref<'a, QualName>;

    fn finish(self) {}

    fn parse_error(&self, _: Cow<'static, str>) {}

    fn get_document(&self) -> Id {
        ROOT
    }

    fn elem_name<'a>(&'a self, target: &'a Id) -> Ref<'a, QualName> {
        Ref::map(self.nodes.borrow(), |nodes| match &nodes[*target].data {
            Data::Element(name, _) => name,
            _ => unreachable!("the tree builder asks only for names of elements"),
        })
    }

    fn create_element(&self, name: QualName, attributes: Vec<Attribute>, _: ElementFlags) -> Id {
        self.create(Data::Element(name, attributes))
    }

    fn create_comment(&self, _: StrTendril) -> Id {
        self.create(Data::Other)
    }

    fn create_pi(&self, _: StrTendril, _: StrTendril) -> Id {
        self.create(Data::Other)
    }

    fn append(&self, parent: &Id, child: NodeOrText<Id>) {
        self.insert(*parent, None, child);
    }

    fn append_based_on_parent_node(&self, element: &Id, previous: &Id, child: NodeOrText<Id>) {
        let parent = self.nodes.borrow()[*element].parent;
        match parent {
            Some(parent) => self.insert(parent, Some(*element), child),
            None => self.insert(*previous, None, child),
        }
    }

    fn append_doctype_to_document(&self, _: StrTendril, _: StrTendril, _: StrTendril) {}

    /// The content of a template is not displayed: it is kept apart from the tree.
    fn get_template_contents(&self, _: &Id) -> Id {
        self.create(Data::Other)
    }

    fn same_node(&self, x: &Id, y: &Id) -> bool {
        x == y
    }

    fn set_quirks_mode(&self, _: QuirksMode) {}

    fn append_before_sibling(&self, sibling: &Id, child: NodeOrText<Id>) {
        let parent = self.nodes.borrow()[*sibling].parent;
        if let Some(parent) = parent {
            self.insert(parent, Some(*sibling), child);
        }
    }

    fn add_attrs_if_missing(&self, target: &Id, attributes: Vec<Attribute>) {
        if let Data::Element(_, existing) = &mut self.nodes.borrow_mut()[*target].data {
            for attribute in attributes {
                if !existing.iter().any(|one| one.name == attribute.name) {
                    existing.push(attribute);
                }
            }
        }
    }

    fn remove_from_parent(&self, target: &Id) {
        let mut nodes = self.nodes.borrow_mut();
        let node = &mut nodes[*target];
        let (parent, previous, next) = (node.parent.take(), node.previous.take(), node.next.take());
        let Some(parent) = parent else { return };
        match previous {
            Some(previous) => nodes[previous].next = next,
            None => nodes[parent].first = next,
        }
        match next {
            Some(next) => nodes[next].previous = previous,
            None => nodes[parent].last = previous,
        }
    }

    fn reparent_children(&self, node: &Id, parent: &Id) {
        loop {
            let Some(child) = self.nodes.borrow()[*node].first else {
                return;
            };
            self.insert(*parent, None, NodeOrText::AppendNode(child));
        }
    }
}

/// Bounds the depth and the size of the tree.
struct Capped {
    builder: TreeBuilder<Id, Sink>,
    /// The most elements that may be open.
    open: Cell<usize>,
    /// Whether the limit is reached, until an end tag.
    is_full: Cell<bool>,
    is_fragment: bool,
}

#[derive(Debug, Default)]
struct Count(Cell<usize>);

impl Tracer for Count {
    type Handle = Id;

    fn trace_handle(&self, _: &Id) {
        self.0.set(self.0.get() + 1);
    }
}

impl Capped {
    fn is_ignored(&self, token: &Token) -> bool {
        let Token::TagToken(tag) = token else {
            return self.is_large() && !matches!(token, Token::EOFToken);
        };
        match tag.kind {
            StartTag => {
                if self.is_fragment && RAW.contains(&&*tag.name) {
                    return true;
                }
                self.open.set(self.open.get() + 1);
                if self.open.get() > DEPTH && !self.is_full.get() {
                    let count = Count::default();
                    self.builder.trace_handles(&count);
                    self.open.set(count.0.get());
                    self.is_full.set(count.0.get() > DEPTH);
                }
                let is_raw = matches!(&*tag.name, "script" | "style") || RAW.contains(&&*tag.name);
                (self.is_full.get() && !is_raw) || self.is_large()
            }
            EndTag => {
                self.is_full.set(false);
                self.is_large()
            }
        }
    }

    fn is_large(&self) -> bool {
        self.builder.sink.nodes.borrow().len() > NODES
    }
}

impl TokenSink for Capped {
    type Handle = Id;

    fn process_token(&self, token: Token, line: u64) -> TokenSinkResult<Id> {
        if self.is_ignored(&token) {
            return TokenSinkResult::Continue;
        }
        match self.builder.process_token(token, line) {
            // Scripts are not run.
            TokenSinkResult::Script(_) => TokenSinkResult::Continue,
            result => result,
        }
    }

    fn end(&self) {
        self.builder.end();
    }

    fn adjusted_current_node_present_but_not_in_html_namespace(&self) -> bool {
        self.builder
            .adjusted_current_node_present_but_not_in_html_namespace()
    }
}
