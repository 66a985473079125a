//! What a page displays: hidden elements, panels that a button opens, and what surrounds the main content.

use std::collections::HashMap;

use super::dom::{Dom, Id, ROOT};

/// Elements without visible text.
const WITHOUT_TEXT: &[&str] = &[
    "script",
    "style",
    "noscript",
    "template",
    "svg",
    "head",
    "iframe",
    "object",
    "canvas",
    "select",
    "textarea",
    "audio",
    "video",
    "rt",
    "rp",
    "datalist",
    "annotation",
];
/// Attributes of a button or link that name the panel that it opens.
const OPENS: &[&str] = &[
    "aria-controls",
    "data-bs-target",
    "data-target",
    "data-controls",
    "popovertarget",
    "commandfor",
    "href",
];
/// Values of `data-toggle` that open a panel. Others are menus and hints.
const TOGGLES: &[&str] = &["collapse", "tab", "pill", "modal", "offcanvas", "list"];
/// Parts of the class of a button that opens the element after it.
const CLASSES: &[&str] = &[
    "accordion",
    "collaps",
    "toggle",
    "faq",
    "question",
    "expand",
];

/// The panels of a page that a reader can open.
#[derive(Debug, Default)]
pub(super) struct Panels {
    /// The title of each panel: the text of its button, unless a heading around the button has it already.
    titles: HashMap<Id, Option<String>>,
    /// The buttons whose text is the title of a panel.
    buttons: HashMap<Id, Id>,
}

impl Panels {
    pub(super) fn of(dom: &Dom) -> Self {
        let mut ids = HashMap::new();
        let mut openers = Vec::new();
        for id in dom.descendants(ROOT) {
            if let Some(name) = dom.attribute(id, "id") {
                ids.entry(name).or_insert(id);
            }
            if is_opener(dom, id) {
                openers.push(id);
            }
        }
        let mut panels = Self::default();
        for opener in openers {
            let named = OPENS.iter().filter_map(|name| dom.attribute(opener, name));
            let named = named.flat_map(str::split_whitespace);
            let mut targets: Vec<Id> = named
                .filter_map(|name| ids.get(name.trim_start_matches('#')).copied())
                .filter(|panel| !dom.ancestors(opener).any(|above| above == *panel))
                .collect();
            if targets.is_empty() && opens_the_next(dom, opener) {
                targets.extend(next_panel(dom, opener));
            }
            let is_heading = is_heading(dom.name(opener)) || dom.name(opener) == "dt";
            let titled = is_button(dom, opener) && !is_heading && !is_in_heading(dom, opener);
            for panel in targets {
                let title = panels.titles.entry(panel).or_default();
                if titled && title.is_none() {
                    *title = Some(dom.text(opener)).filter(|text| !text.is_empty());
                    panels.buttons.insert(opener, panel);
                }
            }
        }
        panels
    }

    pub(super) fn title(&self, panel: Id) -> Option<&str> {
        self.titles.get(&panel)?.as_deref()
    }

    /// Returns whether the text of an element is the title of a panel.
    pub(super) fn is_button(&self, id: Id) -> bool {
        self.buttons.contains_key(&id)
    }

    /// Returns whether an element is left out.
    ///
    /// Text that a reader does not see may be there to mislead.
    pub(super) fn is_left_out(&self, dom: &Dom, id: Id) -> bool {
        let name = dom.name(id);
        WITHOUT_TEXT.contains(&name)
            || is_consent(dom, id)
            || (!self.titles.contains_key(&id) && is_hidden(dom, id))
    }
}

fn is_opener(dom: &Dom, id: Id) -> bool {
    let opens = |name: &&str| {
        dom.attribute(id, name)
            .is_some_and(|value| *name != "href" || (value.starts_with('#') && value.len() > 1))
    };
    OPENS.iter().any(opens) || opens_the_next(dom, id)
}

/// Returns whether an element acts as a button of its panel, not as a link to a place in the page.
fn is_button(dom: &Dom, id: Id) -> bool {
    let toggles = ["data-bs-toggle", "data-toggle"]
        .iter()
        .find_map(|name| dom.attribute(id, name));
    let role = dom.attribute(id, "role");
    let class = dom.attribute(id, "class").unwrap_or_default();
    if ["navbar", "menu", "hamburger"]
        .iter()
        .any(|part| class.contains(part))
    {
        return false;
    }
    toggles.is_some_and(|value| TOGGLES.contains(&value))
        || role.is_some_and(|role| matches!(role, "tab" | "button"))
        || dom.attribute(id, "aria-expanded").is_some()
        || (dom.name(id) == "button" && dom.attribute(id, "data-bs-slide").is_none())
        || opens_the_next(dom, id)
}

/// Returns whether an element is a button of an accordion, or a heading that acts as one, which opens the element after it.
fn opens_the_next(dom: &Dom, id: Id) -> bool {
    let name = dom.name(id);
    let is_button = name == "button" || dom.attribute(id, "role") == Some("button");
    if !is_button && !is_heading(name) && name != "dt" {
        return false;
    }
    let class = dom.attribute(id, "class").unwrap_or_default();
    let class = class.to_lowercase();
    dom.attribute(id, "aria-expanded").is_some()
        || CLASSES.iter().any(|part| class.contains(part))
        || (!is_button && dom.attribute(id, "onclick").is_some())
        || (is_button && dom.text(id).ends_with('?'))
}

/// Returns the element after a button, or after the heading that consists of it.
fn next_panel(dom: &Dom, button: Id) -> Option<Id> {
    let mut at = button;
    loop {
        if let Some(next) = dom.next_element(at) {
            let is_panel = matches!(dom.name(next), "div" | "section" | "p" | "ul" | "ol" | "dd");
            return is_panel.then_some(next);
        }
        at = dom.nodes[at].parent?;
        if !matches!(
            dom.name(at),
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "dt" | "div" | "span"
        ) {
            return None;
        }
    }
}

pub(super) fn is_in_heading(dom: &Dom, id: Id) -> bool {
    dom.ancestors(id).any(|above| {
        let name = dom.name(above);
        is_heading(name) || matches!(name, "summary" | "dt" | "th" | "legend")
    })
}

fn is_heading(name: &str) -> bool {
    matches!(name, "h1" | "h2" | "h3" | "h4" | "h5" | "h6")
}

fn is_hidden(dom: &Dom, id: Id) -> bool {
    let style = style(dom, id);
    dom.attribute(id, "hidden").is_some()
        || dom.attribute(id, "aria-hidden") == Some("true")
        || style.contains("display:none")
        || style.contains("visibility:hidden")
        || dom.attribute(id, "popover").is_some()
        || (dom.name(id) == "dialog" && dom.attribute(id, "open").is_none())
}

/// Returns the style of an element in lower case and without blanks.
pub(super) fn style(dom: &Dom, id: Id) -> String {
    let style = dom.attribute(id, "style").unwrap_or_default();
    let style = style.chars().filter(|c| !c.is_whitespace());
    style.collect::<String>().to_lowercase()
}

/// Returns whether an element asks for consent to cookies.
fn is_consent(dom: &Dom, id: Id) -> bool {
    let names = ["id", "class", "aria-label"].map(|name| dom.attribute(id, name).unwrap_or(""));
    let names = names.join(" ").to_lowercase();
    let is_dialog = dom
        .attribute(id, "role")
        .is_some_and(|role| matches!(role, "dialog" | "alertdialog" | "region" | "banner"));
    let parts = [
        "banner", "consent", "notice", "bar", "popup", "modal", "dialog",
    ];
    (names.contains("cookie") && (is_dialog || parts.iter().any(|part| names.contains(part))))
        || (is_dialog && names.contains("consent"))
}

/// Returns whether an element surrounds the main content. A footer or sidebar that says how to reach a business is kept.
pub(super) fn is_surrounding(dom: &Dom, id: Id) -> bool {
    match (dom.name(id), dom.attribute(id, "role")) {
        ("nav", _) => true,
        // A menu is nothing but links; what has a heading may be more.
        (_, Some("navigation" | "menubar" | "menu")) => {
            !dom.descendants(id).any(|id| is_heading(dom.name(id)))
        }
        ("footer" | "aside", _) => !dom.descendants(id).any(|id| says_contact(dom, id)),
        _ => false,
    }
}

pub(super) fn says_contact(dom: &Dom, id: Id) -> bool {
    let href = dom.attribute(id, "href").unwrap_or_default();
    matches!(dom.name(id), "address" | "table" | "details")
        || href.starts_with("tel:")
        || dom
            .attribute(id, "itemprop")
            .is_some_and(|name| matches!(name, "address" | "telephone" | "openingHours"))
}
