//! The crawler against a site on this machine.

mod change;
mod site;
mod start;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use konstruct_core::{
    DocumentFormat, ErrorKind,
    http::{Client, Guard},
};

use proptest::prelude::*;

use self::site::{Leaps, Reply, TestSite};
use super::*;

/// A site, and the crawler that reads it.
struct Scene {
    site: TestSite,
    clock: Leaps,
    limits: Limits,
    known: BTreeMap<String, PageState>,
}

impl Scene {
    async fn open() -> Self {
        let clock = Leaps::default();
        let limits = Limits::default().with(|it| it.request = Duration::from_millis(400));
        Self {
            site: TestSite::open(&clock).await,
            clock,
            limits,
            known: BTreeMap::new(),
        }
    }

    /// Opens a site whose start page links to these pages.
    async fn linking(pages: &[&str]) -> Self {
        let scene = Self::open().await;
        let links: String = pages
            .iter()
            .map(|page| format!("<a href='{page}'>{page}</a> "))
            .collect();
        scene.site.set(
            "/",
            Reply::html(format!("<title>Home</title><p>Welcome! {links}")),
        );
        scene
    }

    /// Crawls the site, and remembers the pages.
    async fn crawl(&mut self) -> Crawled {
        let host = self.site.url.strip_prefix("http://").unwrap();
        let client = Client::builder().guard(Guard::new().allow(host)).build();
        let crawler = Crawler::new(client, Arc::new(self.clock.clone()));
        let crawler = crawler.with_limits(self.limits.clone());
        let crawled = crawler
            .crawl(&self.site.url, &self.known, &|_| {})
            .await
            .unwrap();
        for page in &crawled.pages {
            self.known.insert(page.url.clone(), page.state.clone());
        }
        for url in &crawled.ended {
            self.known.remove(url);
        }
        crawled
    }

    /// Returns what became of a path.
    fn outcome(&self, crawled: &Crawled, path: &str) -> Option<Outcome> {
        let url = format!("{}{path}", self.site.url);
        let mut entries = crawled.report.entries.iter();
        entries
            .find(|entry| entry.url == url)
            .map(|entry| entry.outcome)
    }

    /// Returns the text of a page.
    fn text(&self, crawled: &Crawled, path: &str) -> Option<String> {
        let url = format!("{}{path}", self.site.url);
        let page = crawled.pages.iter().find(|page| page.url == url)?;
        let document = page.document.as_ref()?;
        Some(String::from_utf8_lossy(&document.content).into_owned())
    }
}

#[tokio::test]
async fn pages_are_read_with_their_titles_and_addresses() {
    let mut scene = Scene::linking(&[
        "/hours?utm_source=x#top",
        "prices.txt",
        "https://other.example/",
        "/a.png",
    ])
    .await;
    scene.site.set("/hours", Reply::html("<title>Hours</title><nav><a href=/deep>x</a></nav><h1>Opening hours</h1><p>Nine to six.<footer>Imprint</footer>"));
    scene.site.set("/deep", Reply::html("<p>Far away.").gzip());
    scene.site.set(
        "/prices.txt",
        Reply::new("text/plain; charset=iso-8859-1", b"Gr\xfc\xdfe kosten 5"),
    );
    let crawled = scene.crawl().await;
    assert_eq!(
        scene.text(&crawled, "/hours").as_deref(),
        Some("# Opening hours\n\nNine to six.\n")
    );
    assert_eq!(
        scene.text(&crawled, "/deep").as_deref(),
        Some("Far away.\n")
    );
    assert_eq!(
        scene.text(&crawled, "/prices.txt").as_deref(),
        Some("Grüße kosten 5")
    );
    let document = crawled
        .pages
        .iter()
        .find_map(|page| page.document.clone().filter(|one| one.title == "Hours"));
    assert_eq!(
        document.unwrap().url,
        Some(format!("{}/hours", scene.site.url))
    );
    let report = &crawled.report;
    assert_eq!((report.read, report.unchanged, report.ended), (4, 0, 0));
    assert!(report.is_complete && report.problem.is_none(), "{report:?}");
    assert_eq!(
        scene.outcome(&crawled, "/a.png"),
        Some(Outcome::Skipped(Skip::Type))
    );
    assert_eq!(report.skipped[&Skip::OtherHost], 1);

    // One request a second, with a name, and the rules first.
    let requests = scene.site.requests();
    assert_eq!(requests[0].path, "/robots.txt");
    let name = format!(
        "user-agent: Konstruct/{} (+https://",
        env!("CARGO_PKG_VERSION")
    );
    assert!(
        requests.iter().all(|request| request.head.contains(&name)),
        "{requests:?}"
    );
    for pair in requests.windows(2) {
        assert!(
            pair[1].at.since(pair[0].at) >= Duration::from_secs(1),
            "{pair:?}"
        );
    }
}

#[tokio::test]
async fn each_page_that_is_not_read_has_a_reason() {
    use Outcome::{Failed, Skipped};
    let check = async |path: &str, reply: Reply, expected: Outcome| {
        let mut scene = Scene::linking(&[path]).await;
        scene.limits = scene.limits.clone().with(|it| it.page_bytes = 100_000);
        scene.site.set(path, reply.clone());
        let crawled = scene.crawl().await;
        assert_eq!(
            scene.outcome(&crawled, path),
            Some(expected),
            "{path} {reply:?}"
        );
        assert_eq!(crawled.report.read, 1, "{:?}", crawled.report);
        let is_failure = matches!(expected, Failed(_));
        assert_eq!(
            crawled.report.is_complete, !is_failure,
            "{:?}",
            crawled.report
        );
    };
    let large = Reply::html("word ".repeat(50_000));
    check("/a", large.clone(), Skipped(Skip::TooLarge)).await;
    // The bomb is small until it is unpacked.
    check(
        "/a",
        Reply::html(" ".repeat(50_000_000)).gzip(),
        Skipped(Skip::TooLarge),
    )
    .await;
    check("/a", Reply::html("<p>x").endless(), Skipped(Skip::TooLarge)).await;
    check(
        "/a",
        Reply::html("<p>x").stalling(),
        Failed(Failure::Interrupted),
    )
    .await;
    check(
        "/a",
        Reply::html("<p>x").header("content-encoding", "br"),
        Failed(Failure::Encoding),
    )
    .await;
    check(
        "/a",
        Reply::html("<p>x").header("content-encoding", "gzip"),
        Failed(Failure::Encoding),
    )
    .await;
    check("/a", Reply::new("image/png", "x"), Skipped(Skip::Type)).await;
    check(
        "/a.pdf",
        Reply::new("application/pdf", "no pdf"),
        Skipped(if cfg!(feature = "pdf") {
            Skip::Unreadable
        } else {
            Skip::Type
        }),
    )
    .await;
    check(
        "/a",
        Reply::new("text/plain", b"\0\x01\x02\x03"),
        Skipped(Skip::Unreadable),
    )
    .await;
    check(
        "/a",
        Reply::html("<p>x")
            .header("x-robots-tag", "nofollow")
            .header("x-robots-tag", "noindex"),
        Skipped(Skip::NoIndex),
    )
    .await;
    check(
        "/a",
        Reply::html("<script>x</script>"),
        Skipped(Skip::EmptyWithoutJavaScript),
    )
    .await;
    check("/a", Reply::status(404), Skipped(Skip::NotFound)).await;
    check("/a", Reply::status(403), Skipped(Skip::Refused)).await;
    check("/a", Reply::status(500), Failed(Failure::Status)).await;
    check("/a", Reply::status(503), Failed(Failure::Busy)).await;
    check(
        "/a",
        Reply::redirect(302, "http://169.254.169.254/latest"),
        Skipped(Skip::OtherHost),
    )
    .await;
    check(
        "/a",
        Reply::redirect(302, "http://127.0.0.1:9/"),
        Skipped(Skip::OtherHost),
    )
    .await;
    check("/a", Reply::redirect(302, "/a"), Failed(Failure::Redirect)).await;
    check(
        "/a",
        Reply::redirect(302, "file:///etc/passwd"),
        Failed(Failure::Redirect),
    )
    .await;
}

#[tokio::test]
async fn redirects_are_followed_and_loops_end() {
    let mut scene = Scene::linking(&["/old", "/loop"]).await;
    scene.site.set("/old", Reply::redirect(301, "/new"));
    scene.site.set("/new", Reply::html("<p>The new page."));
    scene.site.set("/loop", Reply::redirect(302, "/loop2"));
    scene.site.set("/loop2", Reply::redirect(302, "/loop"));
    let crawled = scene.crawl().await;
    assert_eq!(crawled.report.read, 2, "{:?}", crawled.report);
    assert_eq!(
        scene.text(&crawled, "/new").as_deref(),
        Some("The new page.\n")
    );
    // A chain has an end, too.
    for n in 0..20 {
        scene.site.set(
            &format!("/{n}"),
            Reply::redirect(302, &format!("/{}", n + 1)),
        );
    }
    scene.site.set("/old", Reply::redirect(301, "/0"));
    scene.site.requests();
    let crawled = scene.crawl().await;
    assert!(scene.site.requests().len() < 15);
    assert_eq!(crawled.report.failed[&Failure::Redirect], 1);
}

#[tokio::test]
async fn a_site_without_end_is_left_at_the_limits() {
    let endless = |path: &str| {
        Reply::html(format!(
            "<p>Page {path} has text of its own.</p><a href='{path}a/'>more</a>"
        ))
    };
    let mut scene = Scene::linking(&["/cal?m=0"]).await;
    for month in 0..100 {
        let page = format!(
            "<p>The month {month}.</p><a href='/cal?m={}'>next</a><a href='/d/2026/{month}'>days</a>",
            month + 1
        );
        scene
            .site
            .set(&format!("/cal?m={month}"), Reply::html(page));
    }
    scene.limits = scene.limits.clone().with(|it| it.depth = 90);
    let crawled = scene.crawl().await;
    assert_eq!(crawled.report.read, 21, "{:?}", crawled.report.skipped);
    assert_eq!(crawled.report.skipped[&Skip::TooManyAlike], 1);

    // Depth.
    let mut scene = Scene::open().await;
    let mut path = "/".to_owned();
    for _ in 0..10 {
        scene.site.set(&path, endless(&path));
        path += "a/";
    }
    scene.limits = scene.limits.clone().with(|it| it.depth = 2);
    let crawled = scene.crawl().await;
    assert_eq!(crawled.report.read, 3);
    assert_eq!(crawled.report.skipped[&Skip::TooDeep], 1);
    assert!(crawled.report.is_complete);

    // Pages, bytes, time, failures.
    let names: Vec<String> = (0..26)
        .map(|n| format!("/{}", char::from(b'a' + n)))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let check = async |limit: fn(&mut Limits), status: u16, problem, read| {
        let mut scene = Scene::linking(&names).await;
        for name in &names {
            let reply = match status {
                200 => Reply::html(format!("<p>{name} has a text of its own")),
                status => Reply::status(status),
            };
            scene.site.set(name, reply);
        }
        scene.limits = scene.limits.clone().with(limit);
        let report = scene.crawl().await.report;
        assert_eq!(
            (report.problem, report.read),
            (Some(problem), read),
            "{report:?}"
        );
        assert!(!report.is_complete && report.waiting > 0, "{report:?}");
    };
    check(|it| it.pages = 5, 200, Problem::PageLimit, 5).await;
    check(|it| it.site_bytes = 1_000, 200, Problem::ByteLimit, 18).await;
    check(
        |it| it.crawl = Duration::from_secs(10),
        200,
        Problem::TimeLimit,
        9,
    )
    .await;
    check(|_| {}, 500, Problem::SiteFailed, 1).await;
}

#[tokio::test]
async fn links_are_counted_once_and_pages_with_too_many_end_none() {
    let links = |count: usize| {
        let links = (0..count).map(|n| format!("<a href='/x?{n}'>x</a>"));
        links.collect::<String>()
    };
    let check = async |before: String, is_read: bool| {
        let mut scene = Scene::open().await;
        let page = format!("<p>Welcome!{before}<a href='/last'>last</a>");
        scene.site.set("/", Reply::html(page));
        scene.site.set("/last", Reply::html("<p>The last page."));
        let crawled = scene.crawl().await;
        let report = (crawled.report.read, crawled.report.is_complete);
        assert_eq!(report, (1 + usize::from(is_read), is_read));
    };
    check("<a href='#top'>top</a>".repeat(600), true).await;
    check(links(page::LINKS - 1).repeat(2), true).await;
    check(links(page::LINKS), false).await;
}

#[tokio::test]
async fn a_page_of_headings_is_read_unless_others_repeat_it() {
    let mut scene = Scene::linking(&["/a", "/b", "/c"]).await;
    scene.site.set("/a", Reply::html("<h1>Call us at 030 1234"));
    let around = |text: &str| Reply::html(format!("<h2>Every page has this</h2>{text}"));
    scene.site.set("/b", around("<p>The page b has a text."));
    scene.site.set("/c", around("<h3>Nothing but headings"));
    let crawled = scene.crawl().await;
    assert_eq!(scene.outcome(&crawled, "/a"), Some(Outcome::Read));
    assert!(scene.text(&crawled, "/a").unwrap().contains("030 1234"));
}

#[tokio::test]
async fn what_pages_repeat_is_kept_once() {
    let mut scene = Scene::linking(&["/a", "/b", "/c", "/copy", "/c?print=1"]).await;
    let around = |title: &str, text: &str| {
        Reply::html(format!(
            "<title>{title}</title><div><h3>Newsletter</h3><p>Subscribe to our weekly newsletter today!</p></div>\
             <h1>{title}</h1><p>{text}</p><p>Call us on weekdays under 030 1234.</p>"
        ))
    };
    scene.site.set("/", Reply::html("<p>Welcome! <a href=/a>1</a><a href=/b>2</a><a href=/c>3</a><a href=/copy>4</a><a href='/c?print=1'>5</a><p>Call us on weekdays under 030 1234."));
    scene.site.set("/a", around("A", "Text of the first one."));
    scene.site.set("/b", around("B", "Text of the second one."));
    scene.site.set("/c", around("C", "Text of the third one."));
    scene
        .site
        .set("/copy", around("A", "Text of the first one."));
    scene.site.set(
        "/c?print=1",
        Reply::html("<link rel=canonical href=/c><p>Text of the third one."),
    );
    let crawled = scene.crawl().await;
    assert_eq!(
        scene.outcome(&crawled, "/copy"),
        Some(Outcome::Skipped(Skip::Duplicate))
    );
    assert_eq!(
        scene.outcome(&crawled, "/c?print=1"),
        Some(Outcome::Skipped(Skip::Duplicate))
    );
    let count = |part: &str| {
        let documents = crawled
            .pages
            .iter()
            .filter_map(|page| page.document.as_ref());
        documents
            .filter(|one| String::from_utf8_lossy(&one.content).contains(part))
            .count()
    };
    assert_eq!(
        (count("Newsletter"), count("030 1234"), count("third one")),
        (1, 1, 1)
    );
    assert_eq!(
        scene.text(&crawled, "/b").as_deref(),
        Some("# B\n\nText of the second one.\n")
    );
}

#[tokio::test]
async fn a_canonical_address_that_cannot_be_read_changes_nothing() {
    let mut scene = Scene::linking(&["/a", "/b"]).await;
    scene.site.set(
        "/a",
        Reply::html("<link rel=canonical href=/gone><p>Text of a."),
    );
    // Every page names the start page: a mistake.
    scene.site.set(
        "/b",
        Reply::html("<link rel=canonical href=/><p>Text of b."),
    );
    let crawled = scene.crawl().await;
    assert_eq!(crawled.report.read, 3, "{:?}", crawled.report);
    let formats = crawled
        .pages
        .iter()
        .filter_map(|page| page.document.as_ref())
        .map(|one| one.format);
    assert!(formats.eq([DocumentFormat::Markdown; 3]));
}

#[test]
fn addresses_of_websites_are_checked() {
    let check = |address: &str, expected: Result<&str, &str>| {
        let found = start_url(address);
        match (&found, expected) {
            (Ok(url), Ok(expected)) => assert_eq!(url.as_str(), expected),
            (Err(error), Err(part)) => {
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
                assert!(
                    error.message().starts_with("url: ") && error.message().contains(part),
                    "{error}"
                );
            }
            _ => panic!("{address}: {found:?}"),
        }
    };
    check("acme.example", Ok("https://acme.example/"));
    check(" http://acme.example/a#b ", Ok("http://acme.example/a"));
    check("", Err("such as"));
    check("ftp://acme.example", Err("such as"));
    check("https://", Err("such as"));
    check("mailto:a@acme.example", Err("user name"));
    check("https://me:pass@acme.example", Err("user name"));
    check(
        &format!("https://acme.example/{}", "x".repeat(2_000)),
        Err("such as"),
    );
}

proptest! {
    #[test]
    fn no_bytes_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        robots in "((user-agent|allow|disallow|crawl-delay|sitemap)?:? ?[/*$%a-z0-9é]{0,8}[\n\r#]?){0,20}",
        xml in "(</?(urlset|url|loc|sitemap)>|<!\\[CDATA\\[|&amp;|&|[a-z/:]{0,4}){0,30}",
        path in "/[a-z/*$%é?=&;#0-9]{0,30}",
    ) {
        for file in [bytes.as_slice(), robots.as_bytes()] {
            let _ = robots::Robots::parse(file, PRODUCT).allows(&path);
        }
        let _ = sitemap::Sitemap::parse(&xml);
        let _ = sitemap::Sitemap::parse(&String::from_utf8_lossy(&bytes));
        let home = Url::parse("https://a.example/").unwrap();
        let found = Site::of(&home).resolve(&home, &path);
        // An address in its form keeps it.
        if let address::Target::Page(url) = &found {
            prop_assert_eq!(&Site::of(&home).resolve(&home, url.as_str()), &found);
        }
    }
}
