//! `robots.txt`, by RFC 9309.

use std::time::Duration;

/// The most bytes of a file that are parsed.
pub(super) const SIZE: usize = 500 * 1024;
/// The longest wait between two requests that a site can ask for.
const LONGEST_DELAY: Duration = Duration::from_secs(10);
/// The most rules of a group. Each is compared with each address.
const RULES: usize = 5_000;
/// The most sitemaps of a file.
const SITEMAPS: usize = 20;

/// What a site allows one crawler.
#[derive(Debug, Default)]
pub(super) struct Robots {
    rules: Vec<Rule>,
    /// The wait between the starts of two requests.
    pub(super) delay: Option<Duration>,
    /// The addresses of the sitemaps, as written.
    pub(super) sitemaps: Vec<String>,
}

#[derive(Debug)]
struct Rule {
    is_allowed: bool,
    pattern: Pattern,
}

impl Robots {
    /// Parses a file for the crawler with this product token.
    pub(super) fn parse(file: &[u8], product: &str) -> Self {
        let text = String::from_utf8_lossy(&file[..file.len().min(SIZE)]);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let mut own = Group::default();
        let mut any = Group::default();
        let (mut has_own, mut names_own, mut names_any) = (false, false, false);
        // Several user agents in a row begin one group; the first line after them ends the row.
        let mut is_naming = false;
        let mut sitemaps = Vec::new();
        for line in text.split(['\n', '\r']) {
            let line = line.split('#').next().unwrap_or_default();
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.trim();
            match name.trim().to_ascii_lowercase().as_str() {
                "user-agent" => {
                    if !is_naming {
                        (names_own, names_any) = (false, false);
                    }
                    is_naming = true;
                    let is_token = |c: char| c.is_ascii_alphabetic() || c == '_' || c == '-';
                    let end = value.find(|c| !is_token(c)).unwrap_or(value.len());
                    names_own |= value[..end].eq_ignore_ascii_case(product);
                    names_any |= value.starts_with('*');
                    has_own |= names_own;
                }
                "sitemap" if sitemaps.len() < SITEMAPS => sitemaps.push(value.to_owned()),
                field @ ("allow" | "disallow" | "crawl-delay") => {
                    is_naming = false;
                    if names_own {
                        own.add(field, value);
                    }
                    if names_any {
                        any.add(field, value);
                    }
                }
                _ => {}
            }
        }
        let group = if has_own { own } else { any };
        Self {
            rules: group.rules,
            delay: group.delay,
            sitemaps,
        }
    }

    /// Returns whether a path with its query may be requested: by the longest rule, and by an allowing one of two that are equally
    /// long.
    pub(super) fn allows(&self, path: &str) -> bool {
        if path == "/robots.txt" {
            return true;
        }
        let path = normalised(path).replace('*', "%2A").replace('$', "%24");
        let matching = self.rules.iter().filter(|rule| rule.pattern.matches(&path));
        let rule = matching.max_by_key(|rule| (rule.pattern.length, rule.is_allowed));
        rule.is_none_or(|rule| rule.is_allowed)
    }
}

/// The lines after the user agents.
#[derive(Debug, Default)]
struct Group {
    rules: Vec<Rule>,
    delay: Option<Duration>,
}

impl Group {
    fn add(&mut self, field: &str, value: &str) {
        if field == "crawl-delay" {
            let seconds = value.parse().ok().filter(|seconds| *seconds >= 0.0);
            let delay = seconds.map(|seconds: f64| seconds.min(LONGEST_DELAY.as_secs_f64()));
            self.delay = delay.map(Duration::from_secs_f64).or(self.delay);
        } else if !value.is_empty() && self.rules.len() < RULES {
            self.rules.push(Rule {
                is_allowed: field == "allow",
                pattern: Pattern::new(value),
            });
        }
    }
}

/// The path of a rule, in which `*` matches anything and `$` at the end matches the end.
#[derive(Debug)]
struct Pattern {
    /// The texts between the stars.
    parts: Vec<String>,
    is_whole: bool,
    length: usize,
}

impl Pattern {
    fn new(text: &str) -> Self {
        let is_whole = text.ends_with('$');
        let text = text.strip_suffix('$').unwrap_or(text);
        let text = normalised(text).replace('$', "%24");
        Self {
            length: text.len() + usize::from(is_whole),
            parts: text.split('*').map(str::to_owned).collect(),
            is_whole,
        }
    }

    /// Takes time linear in the path: a part is looked for only after the one before it.
    fn matches(&self, path: &str) -> bool {
        let Some((first, parts)) = self.parts.split_first() else {
            return true;
        };
        let Some(mut rest) = path.strip_prefix(first.as_str()) else {
            return false;
        };
        let Some((last, parts)) = parts.split_last() else {
            return !self.is_whole || rest.is_empty();
        };
        for part in parts {
            match rest.find(part.as_str()) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        if self.is_whole {
            rest.ends_with(last.as_str())
        } else {
            rest.contains(last.as_str())
        }
    }
}

/// Returns a path in one notation: only what has to be is percent-encoded, with capital digits.
fn normalised(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut out = String::with_capacity(path.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |at: usize| {
            bytes
                .get(at)
                .and_then(|byte| char::from(*byte).to_digit(16))
        };
        let encoded = hex(at + 1).zip(hex(at + 2)).filter(|_| bytes[at] == b'%');
        let (byte, is_encoded) = match encoded {
            Some((high, low)) => {
                at += 2;
                (u8::try_from(high * 16 + low).unwrap_or_default(), true)
            }
            None => (bytes[at], false),
        };
        at += 1;
        let is_unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if is_unreserved || (!is_encoded && byte.is_ascii_graphic()) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn robots(file: &str) -> Robots {
        Robots::parse(file.as_bytes(), "konstruct")
    }

    #[test]
    fn rules_decide_about_a_path() {
        let check = |rules: &str, path: &str, expected: bool| {
            let robots = robots(&format!("User-agent: *\n{rules}"));
            assert_eq!(robots.allows(path), expected, "{path} by {rules:?}");
        };
        check("", "/a", true);
        check("Disallow:", "/a", true);
        check("Disallow: /", "/a", false);
        check("Disallow: /", "/robots.txt", true);
        check("Disallow: /a", "/abc", false);
        check("Disallow: /a/", "/a", true);
        check("disallow : /a # a note", "/a", false);
        check("Disallow: /A", "/a", true);
        // The longest rule wins, and the allowing one of two that are equally long.
        check("Allow: /a/b\nDisallow: /a", "/a/b/c", true);
        check("Disallow: /a/b\nAllow: /a", "/a/b/c", false);
        check("Disallow: /a\nAllow: /a", "/a", true);
        check("Allow: /a\nDisallow: /*.html", "/a.html", false);
        check("Allow: /$\nDisallow: /", "/", true);
        check("Allow: /$\nDisallow: /", "/a", false);
        check("Disallow: /*.gif$", "/a/b.gif", false);
        check("Disallow: /*.gif$", "/a/b.gif?x", true);
        check("Disallow: /*a*a$", "/xa", true);
        check("Disallow: /*a*a$", "/xaba", false);
        check("Disallow: /fish*", "/fishing", false);
        check("Disallow: *shop", "/my/shop", false);
        check("Disallow: /a$b", "/a$b", false);
        check("Disallow: /a?", "/a?b=1", false);
        check("Disallow: /a?", "/a", true);
        // Percent-encoding.
        check("Disallow: /caf\u{e9}", "/caf%C3%A9", false);
        check("Disallow: /caf%c3%a9", "/caf%C3%A9", false);
        check("Disallow: /%7Eann", "/~ann", false);
        check("Disallow: /a%2Fb", "/a/b", true);
        check("Disallow: /a%2Ab", "/a*b", false);
        check("Disallow: /a%2Ab", "/axb", true);
        check("Disallow: /%", "/%", false);
    }

    #[test]
    fn groups_are_found_by_the_product_token() {
        let check = |file: &str, expected: &[(&str, bool)]| {
            let robots = robots(file);
            for (path, allowed) in expected {
                assert_eq!(robots.allows(path), *allowed, "{path} by {file:?}");
            }
        };
        check(
            "User-agent: *\nDisallow: /\n\nUser-agent: KONSTRUCT/1.0\nDisallow: /b",
            &[("/a", true), ("/b", false)],
        );
        check("User-agent: konstruct-news\nDisallow: /", &[("/a", true)]);
        check(
            "User-agent: other\nUser-agent: Konstruct\nDisallow: /a\nUser-agent: third\nDisallow: /b",
            &[("/a", false), ("/b", true)],
        );
        // Groups of the same user agent are one. An empty one allows everything.
        check(
            "User-agent: konstruct\nDisallow: /a\nUser-agent: *\nDisallow: /\nUser-agent: konstruct\nDisallow: /b",
            &[("/a", false), ("/b", false), ("/c", true)],
        );
        check(
            "User-agent: *\nDisallow: /\nUser-agent: konstruct\n",
            &[("/a", true)],
        );
        // Rules before any user agent belong to nobody; other lines separate nothing.
        check("Disallow: /a\nUser-agent: *\nDisallow: /b", &[("/a", true)]);
        check(
            "User-agent: konstruct\nSitemap: https://a.example/s.xml\n\nUser-agent: x\nDisallow: /a",
            &[("/a", false)],
        );
        check(
            "\u{feff}User-agent: *\r\nDisallow: /a\r\n",
            &[("/a", false)],
        );
        check("User-agent: *\rDisallow: /a", &[("/a", false)]);
        check("<html>not found</html>", &[("/a", true)]);
    }

    #[test]
    fn the_end_of_a_large_file_is_ignored() {
        let mut file = "User-agent: *\nDisallow: /a\n".to_owned();
        file.push_str(&"#".repeat(SIZE));
        file.push_str("\nDisallow: /b");
        let robots = robots(&file);
        assert_eq!((robots.allows("/a"), robots.allows("/b")), (false, true));
    }

    #[test]
    fn delays_are_capped_and_sitemaps_belong_to_no_group() {
        let check = |file: &str, seconds: Option<f64>, sitemaps: &[&str]| {
            let robots = robots(file);
            assert_eq!(robots.delay.map(|it| it.as_secs_f64()), seconds, "{file}");
            assert_eq!(robots.sitemaps, sitemaps, "{file}");
        };
        check("User-agent: *\nCrawl-delay: 2.5", Some(2.5), &[]);
        check("User-agent: *\nCrawl-delay: 3600", Some(10.0), &[]);
        check("User-agent: *\nCrawl-delay: inf", Some(10.0), &[]);
        check("User-agent: *\nCrawl-delay: NaN", None, &[]);
        check("User-agent: *\nCrawl-delay: -1", None, &[]);
        check("User-agent: x\nCrawl-delay: 2", None, &[]);
        check(
            "Sitemap: https://a.example/1.xml\nUser-agent: x\nDisallow: /\nsitemap:/2.xml",
            None,
            &["https://a.example/1.xml", "/2.xml"],
        );
    }
}
