//! Sitemaps: the addresses that a site lists.

use quick_xml::{Reader, events::Event};

/// The most bytes of a sitemap, after decompression.
pub(super) const SIZE: usize = 10 << 20;
/// The most addresses of a site's sitemaps together.
pub(super) const URLS: usize = 1_000;
/// The most sitemaps of an index.
pub(super) const SITEMAPS: usize = 20;

/// The addresses in a sitemap, as written.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sitemap {
    pub(super) pages: Vec<String>,
    /// The sitemaps that an index lists.
    pub(super) sitemaps: Vec<String>,
}

impl Sitemap {
    /// Parses a sitemap or a sitemap index, up to the first error.
    pub(super) fn parse(xml: &str) -> Self {
        let mut found = Self::default();
        let mut reader = Reader::from_str(xml.trim_start_matches('\u{feff}'));
        // The names of the open elements, the innermost last.
        let mut open: Vec<String> = Vec::new();
        let mut address = String::new();
        while let Ok(event) = reader.read_event() {
            match event {
                Event::Start(start) => {
                    open.push(start.local_name().as_ref().to_ascii_lowercase());
                    // Nothing in a sitemap is nested deeper.
                    if open.len() > 10 {
                        break;
                    }
                    address.clear();
                }
                Event::Text(text) => address.push_str(&text.xml10_content()),
                Event::CData(text) => address.push_str(&text.xml10_content()),
                Event::GeneralRef(name) => match name.resolve_char_ref() {
                    Ok(Some(c)) => address.push(c),
                    _ if &*name.xml10_content() == "amp" => address.push('&'),
                    _ => {}
                },
                Event::End(_) => {
                    let written = address.trim();
                    // A picture has an address too, but not right below the page.
                    let list = match open.as_slice() {
                        [.., parent, name] if name == "loc" && !written.is_empty() => {
                            match parent.as_str() {
                                "url" => Some((&mut found.pages, URLS)),
                                "sitemap" => Some((&mut found.sitemaps, SITEMAPS)),
                                _ => None,
                            }
                        }
                        _ => None,
                    };
                    if let Some((list, most)) = list
                        && list.len() < most
                    {
                        list.push(written.to_owned());
                    }
                    address.clear();
                    open.pop();
                }
                Event::Eof => break,
                _ => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found() {
        let check = |xml: &str, pages: &[&str], sitemaps: &[&str]| {
            let found = Sitemap::parse(xml);
            assert_eq!(found.pages, pages, "{xml}");
            assert_eq!(found.sitemaps, sitemaps, "{xml}");
        };
        check(
            "\u{feff}<?xml version='1.0'?><urlset xmlns='http://www.sitemaps.org/schemas/sitemap/0.9'>\
             <url><loc> https://a.example/?a=1&amp;b=2\n</loc><lastmod>2026-01-01</lastmod></url>\
             <url><image:image><image:loc>https://a.example/a.png</image:loc></image:image><loc><![CDATA[/b]]></loc></url>\
             <url><loc></loc></url></urlset>",
            &["https://a.example/?a=1&b=2", "/b"],
            &[],
        );
        check(
            "<s:sitemapindex xmlns:s='x'><s:sitemap><s:loc>/1.xml</s:loc></s:sitemap></s:sitemapindex>",
            &[],
            &["/1.xml"],
        );
        check(
            "<urlset><url><loc>/a</loc></url><url><loc>/b</lo",
            &["/a"],
            &[],
        );
        check("<html><body>Not found</body></html>", &[], &[]);
        check(
            "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><urlset><url><loc>/&e;a</loc></url></urlset>",
            &["/a"],
            &[],
        );
        check("", &[], &[]);
    }

    #[test]
    fn a_large_sitemap_is_cut() {
        let urls = "<url><loc>/a</loc></url>".repeat(URLS + 1);
        assert_eq!(
            Sitemap::parse(&format!("<urlset>{urls}</urlset>"))
                .pages
                .len(),
            URLS
        );
    }
}
