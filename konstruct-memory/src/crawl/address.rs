//! The addresses of a site, in one form each.

use konstruct_core::http::Url;

/// The longest address, in bytes. It is the most that a document can have.
const LENGTH: usize = 2_000;
/// The most segments of a path, and how often one may be repeated. Wrong relative links repeat them for ever.
const SEGMENTS: usize = 16;
const REPEATED: usize = 3;
/// Parameters that do not change the page.
const TRACKING: &[&str] = &[
    "gclid",
    "fbclid",
    "msclkid",
    "mc_cid",
    "mc_eid",
    "_ga",
    "phpsessid",
    "jsessionid",
];

/// The host and port that are crawled.
#[derive(Clone, Debug)]
pub(super) struct Site {
    home: Url,
    /// Another name of the host, such as the one without `www.`.
    alias: Option<String>,
}

/// Where an address leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// To a page of the site, in its only form.
    Page(Url),
    /// To another host or port.
    OtherHost(Url),
    /// To nothing that can be read.
    Nothing,
}

impl Site {
    /// Creates the site of a start page.
    pub(super) fn of(start: &Url) -> Self {
        let mut site = Self {
            home: start.clone(),
            alias: None,
        };
        if let Target::Page(home) = site.resolve(start, "") {
            site.home = home;
        }
        site
    }

    /// Returns the address of the start page.
    pub(super) fn home(&self) -> &Url {
        &self.home
    }

    /// Returns the site that a redirect of the start page leads to: the same host, also over HTTPS, or the host with or without
    /// `www.`.
    pub(super) fn moved(&self, to: &Url) -> Option<Self> {
        let bare = |url: &Url| {
            let host = url.host_str().unwrap_or_default();
            host.strip_prefix("www.").unwrap_or(host).to_owned()
        };
        let is_downgrade = self.home.scheme() == "https" && to.scheme() != "https";
        if bare(&self.home) != bare(to) || self.home.port() != to.port() || is_downgrade {
            return None;
        }
        let old = self.home.host_str().map(str::to_owned);
        let mut site = Self::of(to);
        site.alias = self.alias.clone().or(old);
        Some(site)
    }

    /// Resolves an address in a page.
    pub(super) fn resolve(&self, base: &Url, address: &str) -> Target {
        let Ok(mut url) = base.join(address.trim()) else {
            return Target::Nothing;
        };
        let Some(host) = url.host_str() else {
            return Target::Nothing;
        };
        if !matches!(url.scheme(), "http" | "https") {
            return Target::Nothing;
        }
        let is_alias = self.alias.as_deref() == Some(host);
        let is_site = is_alias || Some(host) == self.home.host_str();
        url.set_fragment(None);
        if !is_site || url.port() != self.home.port() {
            return Target::OtherHost(url);
        }
        // None of these fails for an address with a host.
        let _ = url.set_scheme(self.home.scheme());
        let _ = url.set_host(self.home.host_str());
        let _ = url.set_username("");
        let _ = url.set_password(None);
        strip(&mut url);
        if url.as_str().len() > LENGTH || repeats(&url) {
            return Target::Nothing;
        }
        Target::Page(url)
    }
}

/// Removes the parameters that do not change the page.
fn strip(url: &mut Url) {
    if let Some(query) = url.query() {
        let kept: Vec<&str> = query
            .split('&')
            .filter(|pair| {
                let name = pair.split('=').next().unwrap_or_default();
                let name = name.to_ascii_lowercase();
                !pair.is_empty() && !name.starts_with("utm_") && !TRACKING.contains(&name.as_str())
            })
            .collect();
        let kept = kept.join("&");
        url.set_query(Some(kept.as_str()).filter(|query| !query.is_empty()));
    }
    let path = url.path().to_ascii_lowercase();
    if let Some(at) = path.find(";jsessionid=") {
        let path = url.path()[..at].to_owned();
        url.set_path(&path);
    }
}

/// Returns whether the path has so many segments, or repeats one so often, that it leads nowhere.
fn repeats(url: &Url) -> bool {
    let segments: Vec<&str> = url
        .path()
        .split('/')
        .filter(|one| !one.is_empty())
        .collect();
    segments.len() > SEGMENTS
        || segments
            .iter()
            .any(|one| segments.iter().filter(|other| *other == one).count() > REPEATED)
}

/// Returns what the addresses of generated pages have in common: each number of the path is replaced.
pub(super) fn template(url: &Url) -> String {
    let mut out = String::new();
    let mut is_number = false;
    for c in url.path().chars() {
        if !c.is_ascii_digit() {
            out.push(c);
        } else if !is_number {
            out.push('0');
        }
        is_number = c.is_ascii_digit();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn addresses_have_one_form() {
        let site = Site::of(&url("https://shop.example/a/"));
        let base = url("https://shop.example/a/b");
        let check = |address: &str, expected: Option<&str>| {
            let found = match site.resolve(&base, address) {
                Target::Page(url) => Some(url.to_string()),
                _ => None,
            };
            assert_eq!(found.as_deref(), expected, "{address}");
        };
        check("c#top", Some("https://shop.example/a/c"));
        check(" ../c ", Some("https://shop.example/c"));
        check("http://shop.example/c", Some("https://shop.example/c"));
        check("//SHOP.example:443/c", Some("https://shop.example/c"));
        check(
            "https://me:secret@shop.example/",
            Some("https://shop.example/"),
        );
        check(
            "?utm_source=x&a=1&GCLID=2",
            Some("https://shop.example/a/b?a=1"),
        );
        check("?fbclid=2", Some("https://shop.example/a/b"));
        check("c;jsessionid=1?x", Some("https://shop.example/a/c?x"));
        check("https://www.shop.example/", None);
        check("https://shop.example:8443/", None);
        check("https://shop.example.evil.example/", None);
        check("https://169.254.169.254/", None);
        check("mailto:a@shop.example", None);
        check("javascript:void(0)", None);
        check("data:text/html,x", None);
        check("/x/x/x/x/", None);
        check(&"/x".repeat(1_100), None);
        check("http://[", None);
    }

    #[test]
    fn a_start_page_may_move_to_its_other_name() {
        let check = |from: &str, to: &str, expected: bool| {
            let moved = Site::of(&url(from)).moved(&url(to));
            assert_eq!(moved.is_some(), expected, "{from} {to}");
        };
        check("http://a.example/", "https://a.example/", true);
        check("http://a.example/", "https://www.a.example/en", true);
        check("https://www.a.example/", "https://a.example/", true);
        check("https://a.example/", "http://a.example/", false);
        check("https://a.example/", "https://b.example/", false);
        check("https://a.example/", "https://shop.a.example/", false);
        check("http://127.0.0.1:80/", "http://127.0.0.1:81/", false);
        let site = Site::of(&url("https://a.example/")).moved(&url("https://www.a.example/"));
        let old = site
            .unwrap()
            .resolve(&url("https://www.a.example/"), "https://a.example/b");
        assert_eq!(old, Target::Page(url("https://www.a.example/b")));
    }

    #[test]
    fn generated_pages_share_a_template() {
        let check = |address: &str, expected: &str| {
            assert_eq!(template(&url(address)), expected);
        };
        check("https://a.example/cal/2026/11?x=1", "/cal/0/0");
        check("https://a.example/a-12b3", "/a-0b0");
    }
}
