//! The second crawl: pages that changed, that are gone, and that cannot be read.

use super::*;

fn page(text: &str) -> Reply {
    Reply::html(format!("<p>{text}"))
}

/// A site of which one crawl has read `/`, `/a`, `/b` and `/c`.
async fn known() -> Scene {
    let mut scene = Scene::linking(&["/a", "/b", "/c"]).await;
    for path in ["/a", "/b", "/c"] {
        let tag = format!("\"{path}\"");
        scene.site.set(
            path,
            page(&format!("The text of {path}.")).header("etag", &tag),
        );
    }
    assert_eq!(scene.crawl().await.report.read, 4);
    scene.site.requests();
    scene
}

fn paths(scene: &Scene, urls: &[String]) -> Vec<String> {
    let urls = urls
        .iter()
        .map(|url| url.strip_prefix(&scene.site.url).unwrap());
    urls.map(str::to_owned).collect()
}

#[tokio::test]
async fn only_changed_pages_are_new_versions() {
    let mut scene = known().await;
    let crawled = scene.crawl().await;
    assert_eq!((crawled.report.read, crawled.report.unchanged), (0, 4));
    assert!(crawled.pages.iter().all(|page| page.document.is_none()));
    // Pages with a tag were not sent again.
    assert!(crawled.pages.iter().all(|page| page.url.ends_with('/')));
    let asked = scene.site.requests();
    let asked = asked.iter().filter(|it| it.head.contains("if-none-match"));
    assert_eq!(asked.count(), 3);

    scene
        .site
        .set("/a", page("The new text of /a.").header("etag", "\"2\""));
    let crawled = scene.crawl().await;
    assert_eq!((crawled.report.read, crawled.report.unchanged), (1, 3));
    assert_eq!(
        scene.text(&crawled, "/a").as_deref(),
        Some("The new text of /a.\n")
    );
    // Another tag with the same text is not another version.
    scene
        .site
        .set("/a", page("The new text of /a.").header("etag", "\"3\""));
    let crawled = scene.crawl().await;
    assert_eq!((crawled.report.read, crawled.report.unchanged), (0, 4));
    scene.site.requests();
    scene.crawl().await;
    let last = scene.site.requests();
    assert!(
        last.iter()
            .any(|it| it.head.contains("if-none-match: \"3\""))
    );
}

#[tokio::test]
async fn pages_end_when_they_are_gone() {
    let check = async |change: fn(&TestSite), expected: &[&str], is_complete: bool| {
        let mut scene = known().await;
        change(&scene.site);
        let crawled = scene.crawl().await;
        assert_eq!(
            paths(&scene, &crawled.ended),
            expected,
            "{:?}",
            crawled.report
        );
        assert_eq!(crawled.report.ended, expected.len());
        assert_eq!(
            crawled.report.is_complete, is_complete,
            "{:?}",
            crawled.report
        );
    };
    check(|_| {}, &[], true).await;
    check(|site| site.remove("/a"), &["/a"], true).await;
    check(|site| site.set("/a", Reply::status(410)), &["/a"], true).await;
    // Nothing leads to it.
    check(
        |site| site.set("/", page("<a href=/a>a</a><a href=/b>b</a>")),
        &["/c"],
        true,
    )
    .await;
    check(
        |site| site.set("/a", Reply::redirect(301, "/new")),
        &[],
        true,
    )
    .await;
    check(
        |site| {
            site.set("/a", Reply::redirect(301, "/new"));
            site.set("/new", page("Moved."));
        },
        &["/a"],
        true,
    )
    .await;
    check(|site| site.set("/a", Reply::redirect(302, "/b")), &[], true).await;
    check(
        |site| site.set("/a", Reply::redirect(301, "https://other.example/")),
        &["/a"],
        true,
    )
    .await;
    check(
        |site| site.set("/a", page("x").header("x-robots-tag", "noindex")),
        &["/a"],
        true,
    )
    .await;
    check(
        |site| {
            site.set(
                "/robots.txt",
                Reply::new("text/plain", "User-agent: *\nDisallow: /a"),
            )
        },
        &["/a"],
        true,
    )
    .await;
    check(
        |site| site.set("/b", page("The text of /a.")),
        &["/b"],
        true,
    )
    .await;
}

#[tokio::test]
async fn an_outage_ends_nothing() {
    let check = async |change: fn(&TestSite), problem: Option<Problem>| {
        let mut scene = known().await;
        change(&scene.site);
        let crawled = scene.crawl().await;
        assert_eq!(
            paths(&scene, &crawled.ended),
            [""; 0],
            "{:?}",
            crawled.report
        );
        assert_eq!(crawled.report.problem, problem, "{:?}", crawled.report);
        assert!(!crawled.report.is_complete);
        assert!(
            crawled.pages.iter().all(|page| page.document.is_none()),
            "{crawled:?}"
        );
        assert_eq!(scene.known.len(), 4);
    };
    check(|site| site.set("/a", Reply::status(500)), None).await;
    check(|site| site.set("/a", page("x").stalling()), None).await;
    check(
        |site| site.set("/", Reply::status(500)),
        Some(Problem::StartFailed),
    )
    .await;
    check(|site| site.remove("/"), Some(Problem::StartFailed)).await;
    check(
        |site| site.set("/", Reply::redirect(302, "https://parked.example/")),
        Some(Problem::StartRedirects),
    )
    .await;
    check(
        |site| site.set("/robots.txt", Reply::status(503)),
        Some(Problem::RobotsFailed),
    )
    .await;
    check(
        |site| {
            site.set(
                "/robots.txt",
                Reply::new("text/plain", "User-agent: *\nDisallow: /"),
            )
        },
        Some(Problem::RobotsDisallow),
    )
    .await;
    check(|site| site.set("/sitemap.xml", Reply::status(500)), None).await;
    check(
        |site| site.set("/", Reply::html("<script src=app.js></script>")),
        Some(Problem::StartFailed),
    )
    .await;
    // A page that only the sitemap leads to, which is missing.
    check(
        |site| {
            let robots = "User-agent: *\nSitemap: /pages.xml";
            site.set("/robots.txt", Reply::new("text/plain", robots));
            let home = "<title>Home</title><p>Welcome! <a href=/a>/a</a> <a href=/b>/b</a> /c";
            site.set("/", Reply::html(home));
        },
        None,
    )
    .await;
    // Every page says the same.
    check(
        |site| {
            for path in ["/", "/a", "/b", "/c"] {
                let links = "<a href=/a>a</a><a href=/b>b</a><a href=/c>c</a>";
                site.set(path, page(&format!("We are back soon. {links}")));
            }
        },
        None,
    )
    .await;
}

#[tokio::test]
async fn a_notice_on_the_start_page_does_not_end_the_others() {
    let mut scene = known().await;
    scene.site.set("/", page("We are back soon."));
    for path in ["/a", "/b", "/c"] {
        scene.site.set(path, Reply::status(503));
    }
    let crawled = scene.crawl().await;
    assert_eq!(paths(&scene, &crawled.ended), [""; 0], "{crawled:?}");
    assert!(!crawled.report.is_complete);
    // The others are there, but nothing leads to them: they end.
    for path in ["/a", "/b", "/c"] {
        scene
            .site
            .set(path, page(&format!("Text of {path}. <a href=/new>new</a>")));
    }
    scene.site.set(
        "/new",
        page("A page that only pages without links to them lead to."),
    );
    let crawled = scene.crawl().await;
    assert_eq!(paths(&scene, &crawled.ended), ["/a", "/b", "/c"]);
    assert_eq!(scene.known.len(), 1, "{crawled:?}");
}

#[tokio::test]
async fn a_failed_page_does_not_hide_that_another_is_gone() {
    let mut scene = known().await;
    // `/c` is linked from `/b` now, which fails.
    scene
        .site
        .set("/", page("<a href=/a>a</a><a href=/b>b</a>"));
    scene.site.set("/b", Reply::status(500));
    let crawled = scene.crawl().await;
    assert_eq!(paths(&scene, &crawled.ended), [""; 0]);
    scene.site.remove("/c");
    let crawled = scene.crawl().await;
    assert_eq!(paths(&scene, &crawled.ended), ["/c"]);
}

#[tokio::test]
async fn a_repeated_text_is_not_lost_with_its_page() {
    let mut scene = Scene::linking(&["/a", "/b", "/c"]).await;
    for path in ["/a", "/b", "/c"] {
        let text = format!("The text of {path}.<p>Call us on weekdays under 030 1234.");
        scene.site.set(path, page(&text).header("etag", path));
    }
    let crawled = scene.crawl().await;
    assert!(scene.text(&crawled, "/a").unwrap().contains("030"));
    assert!(!scene.text(&crawled, "/b").unwrap().contains("030"));
    scene.site.remove("/a");
    let crawled = scene.crawl().await;
    assert_eq!(paths(&scene, &crawled.ended), ["/a"]);
    assert!(
        scene.text(&crawled, "/b").unwrap().contains("030"),
        "{crawled:?}"
    );
}

#[tokio::test]
async fn pages_do_not_accumulate_above_the_limit() {
    let mut scene = Scene::linking(&["/a", "/b", "/c"]).await;
    for path in ["/a", "/b", "/c", "/d", "/e"] {
        scene.site.set(path, page(&format!("The text of {path}.")));
    }
    scene.limits = scene.limits.clone().with(|it| it.pages = 4);
    scene.crawl().await;
    scene.site.set(
        "/",
        page("<a href=/d>d</a><a href=/e>e</a><a href=/a>a</a><a href=/b>b</a><a href=/c>c</a>"),
    );
    let crawled = scene.crawl().await;
    assert_eq!(crawled.report.problem, Some(Problem::PageLimit));
    assert_eq!(scene.known.len(), 4, "{:?}", crawled.report);
}
