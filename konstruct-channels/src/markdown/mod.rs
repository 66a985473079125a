//! Translates the Markdown that models write into the notation of Slack and WhatsApp, and splits it into parts.
//!
//! | file | what it holds |
//! |---|---|
//! | `translate` | blocks: paragraphs, lists, tables, quotes, code |
//! | `inline` | emphasis, links and code within a line; escaping |
//! | `html` | the HTML tags that models write |
//! | `split` | parts within a limit, cut without breaking the markup |

mod html;
mod inline;
mod split;
#[cfg(test)]
mod tests;
mod translate;

use pulldown_cmark::Options;

pub(crate) use self::{
    split::{Limits, render},
    translate::translate,
};

/// The maximum length of parsed Markdown, in bytes. [`render`] returns the excess of a longer text as the rest.
pub(crate) const MAX_SOURCE: usize = 256 * 1024;

const OPTIONS: Options = Options::ENABLE_TABLES
    .union(Options::ENABLE_STRIKETHROUGH)
    .union(Options::ENABLE_TASKLISTS)
    .union(Options::ENABLE_FOOTNOTES);

/// The differences between the vendors' notations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Notation {
    /// Whether `&`, `<` and `>` are written as entities.
    pub(crate) entities: bool,
    /// Whether an address is a link only between `<` and `>`.
    pub(crate) brackets: bool,
}

impl Notation {
    /// Appends text that must be displayed literally.
    fn escape(self, text: &str, out: &mut String) {
        for c in text.chars() {
            match c {
                // These characters reverse the text after them, so that an address looks like another one.
                '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => {}
                '&' if self.entities => out.push_str("&amp;"),
                '<' if self.entities => out.push_str("&lt;"),
                '>' if self.entities => out.push_str("&gt;"),
                c => out.push(c),
            }
        }
    }

    /// Appends an address, which is always displayed.
    fn address(self, url: &str, out: &mut String) {
        if self.brackets && is_web(url) {
            let url = url
                .replace('|', "%7C")
                .replace('<', "%3C")
                .replace('>', "%3E");
            out.push('<');
            self.escape(&url, out);
            out.push('>');
        } else {
            self.escape(url, out);
        }
    }
}

fn is_web(url: &str) -> bool {
    let scheme = |scheme: &str| {
        url.get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    scheme("https://") || scheme("http://")
}
