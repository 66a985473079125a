//! What a crawler needs of a page besides its text: where it leads, and what its owner says about it.

use super::{
    Block,
    dom::{Dom, Id, ROOT},
    main_blocks,
    panel::says_contact,
    walk,
};

/// A page of a website.
#[derive(Debug, Default)]
pub(crate) struct WebPage {
    /// Its title; empty if there is none.
    pub(crate) title: String,
    pub(crate) blocks: Vec<Block>,
    /// The address that the page's addresses are relative to.
    pub(crate) base: Option<String>,
    /// The address under which the owner wants the page to be known.
    pub(crate) canonical: Option<String>,
    /// The instructions for crawlers: the name of the crawler, or `robots` for all, and what it is told.
    pub(crate) robots: Vec<(String, String)>,
    /// The addresses of its links, without those marked `nofollow`.
    pub(crate) links: Vec<String>,
    pub(crate) has_scripts: bool,
    /// Whether it asks for a password.
    pub(crate) has_password: bool,
}

impl WebPage {
    pub(crate) fn parse(page: &str) -> Self {
        let mut dom = Dom::parse(page, false);
        let mut read = Self::default();
        for id in dom.descendants(ROOT) {
            let get = |name| dom.attribute(id, name).unwrap_or_default();
            let is_rel = |wanted: &str| {
                get("rel")
                    .split_whitespace()
                    .any(|one| one.eq_ignore_ascii_case(wanted))
            };
            match dom.name(id) {
                "a" | "area" if !get("href").is_empty() && !is_rel("nofollow") => {
                    read.links.push(get("href").to_owned());
                }
                "base" if read.base.is_none() => {
                    read.base = dom.attribute(id, "href").map(str::to_owned);
                }
                "link" if is_rel("canonical") && read.canonical.is_none() => {
                    read.canonical = dom.attribute(id, "href").map(str::to_owned);
                }
                "meta" if get("http-equiv").eq_ignore_ascii_case("refresh") => {
                    read.links.extend(refresh(get("content")));
                }
                "meta" if !get("name").is_empty() => {
                    let (name, content) = (get("name"), get("content"));
                    read.robots
                        .push((name.to_ascii_lowercase(), content.to_ascii_lowercase()));
                }
                "script" => read.has_scripts = true,
                "input" => read.has_password |= get("type").eq_ignore_ascii_case("password"),
                _ => {}
            }
        }
        let title = walk::title(&dom);
        read.title = title.map(|title| title.plain()).unwrap_or_default();
        let heads: Vec<Id> = dom
            .descendants(ROOT)
            .filter(|id| is_head(&dom, *id))
            .collect();
        for head in heads {
            dom.nodes[head].first = None;
        }
        read.blocks = main_blocks(&dom);
        read
    }
}

/// Returns whether an element is the head of the site: a logo and a menu. One with a heading or contact details is kept.
fn is_head(dom: &Dom, id: Id) -> bool {
    let is_banner = dom.name(id) == "header" || dom.attribute(id, "role") == Some("banner");
    is_banner
        && dom
            .ancestors(id)
            .all(|above| !matches!(dom.name(above), "main" | "article" | "section"))
        && !dom.descendants(id).any(|below| {
            matches!(dom.name(below), "h1" | "h2" | "h3" | "h4" | "h5" | "h6")
                || says_contact(dom, below)
        })
}

/// Returns the address that a page sends its readers to: `0; url=/next`, or `0; /next`.
fn refresh(content: &str) -> Option<String> {
    let (_, address) = content.split_once([';', ','])?;
    let named = address.split_once('=');
    let named = named.filter(|(name, _)| name.trim().eq_ignore_ascii_case("url"));
    let address = named.map_or(address, |(_, address)| address);
    let address = address.trim().trim_matches(['"', '\'']);
    (!address.is_empty()).then(|| address.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_where_it_leads() {
        let page = WebPage::parse(
            "<head><meta http-equiv=refresh content='0; /now'><meta http-equiv=refresh content=60>\
             <title> A &amp; B </title><base href=/b/><link rel='x Canonical' href=/c>\
             <meta name=Robots content='NoIndex, follow'><meta http-equiv=Refresh content=\"3; URL='/later'\">\
             <script>1</script></head>\
             <nav><a href=one>1</a></nav><a rel='me NOFOLLOW' href=two>2</a><a name=x>3</a><map><area href='#top'></map>\
             <header>Acme <a href=/shop>Shop</a></header><footer>Imprint</footer>\
             <article><header>By Ann</header></article><input type=Password><p>Text",
        );
        let texts: Vec<String> = page.blocks.iter().map(Block::plain).collect();
        assert_eq!(texts, ["A & B", "23", "By Ann", "Text"]);
        assert_eq!(page.title, "A & B");
        assert_eq!(page.base.as_deref(), Some("/b/"));
        assert_eq!(page.canonical.as_deref(), Some("/c"));
        assert_eq!(
            page.robots,
            [("robots".to_owned(), "noindex, follow".to_owned())]
        );
        assert_eq!(page.links, ["/now", "/later", "one", "#top", "/shop"]);
        assert!(page.has_scripts && page.has_password);
    }
}
