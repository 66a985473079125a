//! The start page, robots.txt, sitemaps, and the pace.

use super::{site::gzip, *};

#[tokio::test]
async fn the_start_page_decides_about_the_site() {
    let check = async |replies: &[(&str, Reply)], problem: Option<Problem>, read: usize| {
        let mut scene = Scene::open().await;
        for (path, reply) in replies {
            scene.site.set(path, reply.clone());
        }
        let crawled = scene.crawl().await;
        let report = crawled.report;
        assert_eq!(
            (report.problem, report.read),
            (problem, read),
            "{replies:?} {report:?}"
        );
        assert_eq!(report.is_complete, problem.is_none());
    };
    let home = || Reply::html("<p>Welcome");
    let robots = |text: &str| Reply::new("text/plain", text);
    check(&[("/", home())], None, 1).await;
    check(
        &[("/", Reply::redirect(302, "/en")), ("/en", home())],
        None,
        1,
    )
    .await;
    check(
        &[("/", Reply::redirect(302, "/"))],
        Some(Problem::StartFailed),
        0,
    )
    .await;
    check(
        &[
            ("/", Reply::redirect(302, "/en")),
            ("/en", Reply::redirect(302, "/")),
        ],
        Some(Problem::StartFailed),
        0,
    )
    .await;
    check(
        &[("/", Reply::redirect(301, "https://other.example/"))],
        Some(Problem::StartRedirects),
        0,
    )
    .await;
    check(
        &[("/", Reply::redirect(301, "http://169.254.169.254/"))],
        Some(Problem::StartRedirects),
        0,
    )
    .await;
    // The host is the same, but the guard does not allow the port.
    check(
        &[("/", Reply::redirect(301, "https://127.0.0.1/"))],
        Some(Problem::StartRedirects),
        0,
    )
    .await;
    check(&[], Some(Problem::StartFailed), 0).await;
    check(&[("/", Reply::status(500))], Some(Problem::StartFailed), 0).await;
    check(
        &[("/", home()), ("/robots.txt", Reply::status(403))],
        None,
        1,
    )
    .await;
    check(
        &[("/", home()), ("/robots.txt", Reply::status(500))],
        Some(Problem::RobotsFailed),
        0,
    )
    .await;
    let endless = robots("User-agent: *\nDisallow: /b\n").endless();
    check(
        &[("/", home()), ("/robots.txt", endless)],
        Some(Problem::RobotsFailed),
        0,
    )
    .await;
    check(
        &[
            ("/", home()),
            ("/robots.txt", robots("User-agent: *\nDisallow: /")),
        ],
        Some(Problem::RobotsDisallow),
        0,
    )
    .await;
    check(
        &[
            ("/", home()),
            (
                "/robots.txt",
                robots("User-agent: *\nDisallow: /\nUser-agent: konstruct\nAllow: /"),
            ),
        ],
        None,
        1,
    )
    .await;
    check(
        &[
            ("/", home()),
            ("/robots.txt", Reply::redirect(301, "/r")),
            ("/r", robots("User-agent: *\nDisallow: /")),
        ],
        Some(Problem::RobotsDisallow),
        0,
    )
    .await;
    check(
        &[
            ("/", home()),
            ("/robots.txt", Reply::redirect(301, "/robots.txt")),
        ],
        None,
        1,
    )
    .await;
    check(
        &[("/", Reply::status(503).header("retry-after", "3600"))],
        Some(Problem::SiteBusy),
        0,
    )
    .await;
}

#[tokio::test]
async fn private_addresses_are_not_read() {
    let check = async |start: &str, problem: Problem| {
        let client = Client::builder().guard(Guard::new()).build();
        let crawler = Crawler::new(client, Arc::new(Leaps::default()));
        let crawled = crawler
            .crawl(start, &BTreeMap::new(), &|_| {})
            .await
            .unwrap();
        assert_eq!(crawled.report.problem, Some(problem), "{start}");
    };
    let site = TestSite::open(&Leaps::default()).await;
    check(&site.url, Problem::NotPublic).await;
    check("https://169.254.169.254/latest", Problem::NotPublic).await;
    check("http://[::1]/", Problem::NotPublic).await;
    check("localhost", Problem::NotPublic).await;
    assert!(site.requests().is_empty());
}

#[tokio::test]
async fn robots_decide_about_each_page_and_the_pace() {
    let mut scene = Scene::linking(&["/open", "/closed/a"]).await;
    scene.site.set(
        "/robots.txt",
        Reply::new(
            "text/plain",
            "User-agent: *\nCrawl-delay: 3\nDisallow: /closed",
        ),
    );
    scene.site.set(
        "/open",
        Reply::html("<a href=/closed/b rel=nofollow>x</a><a href=/hidden rel=nofollow>Open to all"),
    );
    let crawled = scene.crawl().await;
    assert_eq!(
        scene.outcome(&crawled, "/closed/a"),
        Some(Outcome::Skipped(Skip::Robots))
    );
    assert_eq!(scene.outcome(&crawled, "/hidden"), None);
    assert_eq!(crawled.report.read, 2);
    let requests = scene.site.requests();
    assert!(
        requests
            .iter()
            .all(|request| !request.path.starts_with("/closed"))
    );
    let paces = requests
        .windows(2)
        .map(|pair| pair[1].at.since(pair[0].at))
        .skip(1);
    assert!(
        paces.clone().all(|pace| pace == Duration::from_secs(3)),
        "{requests:?}"
    );
}

#[tokio::test]
async fn a_busy_server_is_asked_later() {
    let mut scene = Scene::linking(&["/a"]).await;
    let busy = Reply::status(429).header("retry-after", "30");
    scene
        .site
        .plan("/a", [busy, Reply::status(503), Reply::html("<p>At last.")]);
    let crawled = scene.crawl().await;
    assert_eq!(scene.text(&crawled, "/a").as_deref(), Some("At last.\n"));
    let at: Vec<_> = scene
        .site
        .requests()
        .into_iter()
        .filter(|it| it.path == "/a")
        .map(|it| it.at)
        .collect();
    assert_eq!(at[1].since(at[0]), Duration::from_secs(30));
    assert_eq!(at[2].since(at[1]), Duration::from_secs(5));
    // Not for ever.
    scene
        .site
        .set("/a", Reply::status(429).header("retry-after", "600"));
    let crawled = scene.crawl().await;
    assert_eq!(crawled.report.problem, Some(Problem::SiteBusy));
    assert!(crawled.ended.is_empty());
}

#[tokio::test]
async fn sitemaps_lead_to_pages() {
    let mut scene = Scene::linking(&[]).await;
    let index = "<sitemapindex><sitemap><loc>/1.xml</loc></sitemap><sitemap><loc>/2.xml.gz</loc></sitemap>\
                 <sitemap><loc>https://other.example/3.xml</loc></sitemap></sitemapindex>";
    let urls = |urls: &str| format!("<urlset>{urls}</urlset>");
    let robots = format!("Sitemap: {}/index.xml", scene.site.url);
    scene
        .site
        .set("/robots.txt", Reply::new("text/plain", robots));
    scene
        .site
        .set("/index.xml", Reply::new("application/xml", index));
    scene.site.set(
        "/1.xml",
        Reply::new(
            "application/xml",
            urls("<url><loc>/a</loc></url><url><loc>https://other.example/b</loc></url>"),
        ),
    );
    scene.site.set(
        "/2.xml.gz",
        Reply::new(
            "application/gzip",
            gzip(urls("<url><loc>/c</loc></url>").as_bytes()),
        ),
    );
    scene.site.set("/a", Reply::html("<p>The first."));
    scene.site.set("/c", Reply::html("<p>The second."));
    let crawled = scene.crawl().await;
    assert_eq!(crawled.report.read, 3, "{:?}", crawled.report);
    assert!(crawled.report.is_complete);
    // No page ends while a sitemap is damaged.
    let damaged = Reply::new("application/gzip", b"\x1f\x8b");
    scene.site.set("/2.xml.gz", damaged);
    assert!(!scene.crawl().await.report.is_complete);
    // An index of indexes is not followed.
    scene.site.set(
        "/1.xml",
        Reply::new(
            "application/xml",
            "<sitemapindex><sitemap><loc>/4.xml</loc></sitemap></sitemapindex>",
        ),
    );
    scene.site.requests();
    scene.crawl().await;
    assert!(
        scene
            .site
            .requests()
            .iter()
            .all(|request| request.path != "/4.xml")
    );
}
