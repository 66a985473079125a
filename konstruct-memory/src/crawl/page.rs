//! What a page holds: its text, its links, and what its owner says about it.

use std::collections::{BTreeSet, HashSet};

use konstruct_core::{DocumentFormat, http::Url};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    PRODUCT, Skip,
    address::{Site, Target},
    fetch::Answer,
};
use crate::{
    chunk::word_count,
    extract::{Block, Kind, WebPage, decode, extract, joined},
};

/// The most links of a page that are followed.
pub(super) const LINKS: usize = 500;
/// The most bytes of text of a page.
const TEXT: usize = 1 << 20;
/// The most characters of a title.
const TITLE: usize = 200;
/// A page that asks for a password and has fewer words is a login.
const LOGIN: usize = 150;
/// A shorter text is part of its section: "Yes." answers more than one question.
const OWN_WORDS: usize = 5;

/// What is remembered of a page, to read it again only if it has changed. Pass it to the next crawl as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PageState {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) etag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) modified: Option<String>,
    /// The hash of the text with what other pages repeat.
    pub(super) whole: String,
    /// The hash of the text that was returned.
    pub(super) text: String,
    /// The hashes of its blocks, and of those that were left out because other pages have them.
    pub(super) blocks: BTreeSet<u64>,
    pub(super) dropped: BTreeSet<u64>,
    pub(super) links: Vec<String>,
}

/// A page that was read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) title: String,
    pub(super) format: DocumentFormat,
    pub(super) content: Content,
    /// The addresses of the site that it links to, and of other hosts, each once. If there are more than [`LINKS`], one more.
    pub(super) links: Vec<Target>,
    pub(super) canonical: Option<Url>,
    /// What is remembered of it. The hash of the text that is returned is not known yet.
    pub(super) state: PageState,
}

#[derive(Debug)]
pub(super) enum Content {
    /// The blocks of a web page, with their hashes.
    Blocks(Vec<(Block, u64)>),
    /// Another document.
    Bytes(Vec<u8>),
}

impl Read {
    /// Reads a page.
    ///
    /// # Errors
    /// Why it is not read, and its links.
    pub(super) fn of(url: &Url, answer: &Answer, site: &Site) -> Result<Self, (Skip, Vec<Target>)> {
        let format = format_of(&answer.media, url).ok_or((Skip::Type, Vec::new()))?;
        let unreadable = |_| (Skip::Unreadable, Vec::new());
        let mut told: Vec<String> = answer
            .robots
            .iter()
            .filter_map(|value| for_us(value))
            .collect();
        let state = PageState {
            etag: answer.etag.clone(),
            modified: answer.modified.clone(),
            ..PageState::default()
        };
        if format != DocumentFormat::Html {
            if tells(&told, "noindex") {
                return Err((Skip::NoIndex, Vec::new()));
            }
            let content = match format {
                DocumentFormat::Text | DocumentFormat::Markdown | DocumentFormat::Csv => {
                    let text = decode(format, &answer.body, answer.charset.as_deref());
                    text.map_err(unreadable)?.into_bytes()
                }
                _ => answer.body.to_vec(),
            };
            let text = extract(format, &content).map_err(unreadable)?.text;
            let whole = hash(text.as_bytes());
            return Ok(Self {
                title: name_of(url),
                format,
                content: Content::Bytes(content),
                links: Vec::new(),
                canonical: None,
                state: PageState { whole, ..state },
            });
        }
        let text = decode(format, &answer.body, answer.charset.as_deref()).map_err(unreadable)?;
        let page = WebPage::parse(&text);
        let by_name = page
            .robots
            .iter()
            .filter(|(name, _)| name == "robots" || name == PRODUCT);
        told.extend(by_name.map(|(_, value)| value.clone()));
        let base = page.base.as_deref().and_then(|base| url.join(base).ok());
        let base = base.as_ref().unwrap_or(url);
        let links = if tells(&told, "nofollow") {
            Vec::new()
        } else {
            let mut seen = HashSet::new();
            let links = page.links.iter().map(|link| site.resolve(base, link));
            let new = links.filter(|link| match link {
                Target::Page(to) | Target::OtherHost(to) => to != url && seen.insert(to.clone()),
                Target::Nothing => false,
            });
            new.take(LINKS + 1).collect()
        };
        if tells(&told, "noindex") {
            return Err((Skip::NoIndex, links));
        }
        let words: usize = page
            .blocks
            .iter()
            .map(|block| word_count(&block.plain()))
            .sum();
        if words == 0 {
            let reason = if page.has_scripts {
                Skip::EmptyWithoutJavaScript
            } else {
                Skip::Empty
            };
            return Err((reason, links));
        }
        if page.has_password && words < LOGIN {
            return Err((Skip::Login, links));
        }
        let markdown = joined(&page.blocks);
        if markdown.len() > TEXT {
            return Err((Skip::TooLarge, links));
        }
        let heading = page
            .blocks
            .iter()
            .find(|block| matches!(block.kind, Kind::Heading(_)));
        let title = match heading {
            _ if !page.title.is_empty() => page.title.clone(),
            Some(heading) => heading.plain(),
            None => name_of(url),
        };
        let canonical = page.canonical.and_then(|it| match site.resolve(base, &it) {
            Target::Page(it) if it != *url => Some(it),
            _ => None,
        });
        let pages = links.iter().filter_map(|link| match link {
            Target::Page(url) => Some(url.to_string()),
            _ => None,
        });
        let links_of_site = pages.collect();
        let blocks = hashed(page.blocks);
        Ok(Self {
            title: title.chars().take(TITLE).collect(),
            format: DocumentFormat::Markdown,
            links,
            canonical,
            state: PageState {
                whole: hash(markdown.as_bytes()),
                blocks: blocks.iter().map(|(_, hash)| *hash).collect(),
                links: links_of_site,
                ..state
            },
            content: Content::Blocks(blocks),
        })
    }

    /// Returns the content without the blocks that other pages have, and the state to remember; `None` if nothing is left.
    pub(super) fn finish(self, is_repeated: impl Fn(u64) -> bool) -> Option<(Vec<u8>, PageState)> {
        let mut state = self.state;
        let content = match self.content {
            Content::Bytes(content) => {
                state.text.clone_from(&state.whole);
                return Some((content, state));
            }
            Content::Blocks(blocks) => blocks,
        };
        let mut kept = Vec::with_capacity(content.len());
        // From the end: a heading is repeated only if all of its section is. `open` is the lowest level of a heading between here
        // and the nearest text that is kept.
        let mut open: Option<u8> = None;
        for (block, hash) in content.into_iter().rev() {
            let level = match block.kind {
                Kind::Heading(level) => Some(level),
                _ => None,
            };
            let has_text = level.zip(open).is_some_and(|(level, open)| level < open);
            if is_repeated(hash) && !has_text {
                state.dropped.insert(hash);
                continue;
            }
            open = match level {
                Some(level) => Some(level),
                None if block.kind == Kind::Rule => open,
                None => Some(u8::MAX),
            };
            kept.push(block);
        }
        kept.reverse();
        let is_heading = |block: &Block| matches!(block.kind, Kind::Heading(_) | Kind::Rule);
        if !state.dropped.is_empty() && kept.iter().all(is_heading) {
            return None;
        }
        let text = joined(&kept).into_bytes();
        state.text = hash(&text);
        Some((text, state))
    }
}

/// Returns the format of a media type, or of the name of a file that the server does not know.
fn format_of(media: &str, url: &Url) -> Option<DocumentFormat> {
    let path = url.path().to_ascii_lowercase();
    let end = path
        .rsplit('/')
        .next()
        .and_then(|name| name.rsplit_once('.'))
        .map(|(_, end)| end);
    let office = "application/vnd.openxmlformats-officedocument";
    let format = match media {
        "text/html" | "application/xhtml+xml" => DocumentFormat::Html,
        "text/plain" if matches!(end, Some("md" | "markdown")) => DocumentFormat::Markdown,
        "text/plain" => DocumentFormat::Text,
        "text/markdown" | "text/x-markdown" => DocumentFormat::Markdown,
        "text/csv" => DocumentFormat::Csv,
        "application/pdf" | "application/x-pdf" => DocumentFormat::Pdf,
        "application/vnd.oasis.opendocument.spreadsheet" => DocumentFormat::Ods,
        _ if media.strip_prefix(office) == Some(".wordprocessingml.document") => {
            DocumentFormat::Docx
        }
        _ if media.strip_prefix(office) == Some(".spreadsheetml.sheet") => DocumentFormat::Xlsx,
        "" | "application/octet-stream" | "binary/octet-stream" => match end {
            Some("pdf") => DocumentFormat::Pdf,
            Some("docx") => DocumentFormat::Docx,
            Some("xlsx") => DocumentFormat::Xlsx,
            Some("ods") => DocumentFormat::Ods,
            Some("csv") => DocumentFormat::Csv,
            Some("md") => DocumentFormat::Markdown,
            Some("txt") => DocumentFormat::Text,
            None | Some("html" | "htm" | "php") if media.is_empty() => DocumentFormat::Html,
            _ => return None,
        },
        _ => return None,
    };
    let can_be_read = match format {
        DocumentFormat::Pdf => cfg!(feature = "pdf"),
        DocumentFormat::Docx | DocumentFormat::Xlsx | DocumentFormat::Ods => {
            cfg!(feature = "office")
        }
        _ => true,
    };
    can_be_read.then_some(format)
}

/// Returns whether a page of this media type can be read.
pub(super) fn accepts(media: &str, url: &Url) -> bool {
    format_of(media, url).is_some()
}

/// Returns the title of a page that has none: the last part of its path.
fn name_of(url: &Url) -> String {
    let mut segments = url.path_segments().into_iter().flatten();
    let last = segments.rfind(|segment| !segment.is_empty());
    let name = last.unwrap_or(url.host_str().unwrap_or("page"));
    let bytes = name.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = |at: usize| {
            bytes
                .get(at)
                .and_then(|byte| char::from(*byte).to_digit(16))
        };
        match hex(at + 1).zip(hex(at + 2)) {
            Some((high, low)) if *byte == b'%' => {
                out.push(u8::try_from(high * 16 + low).unwrap_or_default());
                at += 3;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).chars().take(TITLE).collect()
}

/// Returns what an `X-Robots-Tag` tells this crawler: `noindex`, or `otherbot: noindex` for another one.
fn for_us(value: &str) -> Option<String> {
    let value = value.to_ascii_lowercase();
    match value.split_once(':') {
        Some((name, rest)) if !name.contains(',') && name.trim() != "unavailable_after" => {
            (name.trim() == PRODUCT).then(|| rest.to_owned())
        }
        _ => Some(value),
    }
}

fn tells(told: &[String], what: &str) -> bool {
    let told = told.iter().flat_map(|value| value.split(','));
    told.map(str::trim).any(|one| one == what || one == "none")
}

/// Adds the hash of each block. Texts of a few words, and rows, are told apart by the heading above them.
fn hashed(blocks: Vec<Block>) -> Vec<(Block, u64)> {
    let mut heading = String::new();
    let hashed = blocks.into_iter().map(|block| {
        let text = block.plain();
        let is_heading = matches!(block.kind, Kind::Heading(_));
        let is_own = is_heading || word_count(&text) >= OWN_WORDS;
        let above = if is_own { "" } else { heading.as_str() };
        let digest = Sha256::digest(format!("{is_heading}\n{above}\n{text}"));
        if is_heading {
            heading = text;
        }
        let first = digest.first_chunk().copied().unwrap_or_default();
        (block, u64::from_be_bytes(first))
    });
    hashed.collect()
}

fn hash(text: &[u8]) -> String {
    hex::encode(&Sha256::digest(text)[..16])
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn url() -> Url {
        Url::parse("https://a.example/shop/open%20hours.html").unwrap()
    }

    fn read(page: &str, robots: &[&str]) -> Result<Read, Skip> {
        let answer = Answer {
            media: "text/html".into(),
            charset: None,
            etag: None,
            modified: None,
            robots: robots.iter().map(|one| (*one).to_owned()).collect(),
            body: Bytes::copy_from_slice(page.as_bytes()),
        };
        Read::of(&url(), &answer, &Site::of(&url())).map_err(|(skip, _)| skip)
    }

    #[test]
    fn pages_without_content_are_skipped() {
        let check = |page: &str, robots: &[&str], expected: Option<Skip>| {
            assert_eq!(read(page, robots).err(), expected, "{page} {robots:?}");
        };
        check("<p>Text", &[], None);
        check("<p>Text", &["noindex"], Some(Skip::NoIndex));
        check("<p>Text", &["nofollow", "NONE"], Some(Skip::NoIndex));
        check("<p>Text", &["otherbot: noindex"], None);
        check("<p>Text", &["Konstruct: noindex"], Some(Skip::NoIndex));
        check(
            "<p>Text",
            &["unavailable_after: 1 Jan 2030 00:00:00 GMT"],
            None,
        );
        check(
            "<meta name=robots content='noindex'><p>Text",
            &[],
            Some(Skip::NoIndex),
        );
        check("<meta name=googlebot content='noindex'><p>Text", &[], None);
        check(
            "<title>Shop</title><div id=app></div><script src=x></script>",
            &[],
            Some(Skip::EmptyWithoutJavaScript),
        );
        check("<title>Shop</title><img src=x>", &[], Some(Skip::Empty));
        check(
            "<h1>Sign in</h1><form><input type=password></form>",
            &[],
            Some(Skip::Login),
        );
        let long = format!("<p>{}<input type=password>", "word ".repeat(LOGIN));
        check(&long, &[], None);
    }

    #[test]
    fn a_page_has_a_title() {
        let check = |page: &str, expected: &str| {
            assert_eq!(read(page, &[]).unwrap().title, expected, "{page}");
        };
        check("<title>Hours</title><h1>When?</h1><p>Text", "Hours");
        check("<h1>When?</h1><p>Text", "When?");
        check("<p>Text", "open hours.html");
        check(
            &format!("<title>{}</title><p>Text", "t".repeat(300)),
            &"t".repeat(200),
        );
    }

    #[test]
    fn what_other_pages_repeat_is_left_out_with_its_heading() {
        let check = |page: &str, repeated: &[&str], expected: Option<&str>| {
            let read = read(page, &[]).unwrap();
            let Content::Blocks(blocks) = &read.content else {
                panic!("no blocks")
            };
            let hashes: Vec<u64> = blocks
                .iter()
                .filter(|(block, _)| repeated.contains(&block.plain().as_str()))
                .map(|(_, hash)| *hash)
                .collect();
            let text = read.finish(|hash| hashes.contains(&hash));
            let text = text.map(|(text, _)| String::from_utf8(text).unwrap());
            assert_eq!(text.as_deref(), expected, "{page}");
        };
        let page = "<h1>A</h1><p>one</p><h2>News</h2><p>two</p><h2>Hours</h2><p>three</p>";
        check(
            page,
            &["News", "two"],
            Some("# A\n\none\n\n## Hours\n\nthree\n"),
        );
        check(
            page,
            &["News"],
            Some("# A\n\none\n\n## News\n\ntwo\n\n## Hours\n\nthree\n"),
        );
        check(
            page,
            &["A", "News", "Hours", "one", "two"],
            Some("# A\n\n## Hours\n\nthree\n"),
        );
        check(page, &["one", "two", "three"], None);
        check(page, &["A", "one", "News", "two", "Hours", "three"], None);
    }
}
