//! Websites as sources of knowledge.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, Uri},
    response::{Html, IntoResponse as _, Response},
};
use konstruct_admin_api::{CrawlState, NewTenant, NewWebsite, Website, WebsiteSettings};
use konstruct_core::{ErrorKind, TenantId, id::WebsiteId};
use konstruct_memory::{Redb, RowChange, RowStore as _};
use konstruct_server::BUSINESS_TENANT;
use serde_json::Value;
use tokio::{net::TcpListener, sync::watch};

use crate::office::{CUSTOMER, NUMBER, Office, Server, Wire, eventually, launch};

/// A website whose pages change.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) url: String,
    pages: Arc<Mutex<HashMap<String, String>>>,
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
    /// Pages below `/slow` are sent when this is true.
    open: Arc<watch::Sender<bool>>,
}

impl Site {
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let site = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            pages: Arc::default(),
            requests: Arc::default(),
            open: Arc::new(watch::Sender::new(false)),
        };
        let routes = Router::new().fallback(page).with_state(site.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        site
    }

    pub(crate) fn set(&self, path: &str, page: &str) {
        self.pages.lock().unwrap().insert(path.into(), page.into());
    }

    fn remove(&self, path: &str) {
        self.pages.lock().unwrap().remove(path);
    }

    pub(crate) fn was_asked_for(&self, path: &str) -> bool {
        self.requests
            .lock()
            .unwrap()
            .iter()
            .any(|asked| asked == path)
    }

    fn new_website(&self) -> NewWebsite {
        NewWebsite {
            url: self.url.clone(),
            every_hours: None,
        }
    }
}

async fn page(State(site): State<Site>, uri: Uri) -> Response {
    let path = uri.path().to_owned();
    site.requests.lock().unwrap().push(path.clone());
    if path.starts_with("/slow") {
        site.open.subscribe().wait_for(|open| *open).await.unwrap();
    }
    let page = site.pages.lock().unwrap().get(&path).cloned();
    match page {
        Some(page) => Html(page).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Waits until the crawl of a website has ended.
async fn ended(server: &Server, tenant: TenantId, id: WebsiteId) -> Website {
    let admin = server.admin();
    let mut found = None;
    eventually(async || {
        let website = admin.website(tenant, id).await.unwrap();
        let state = website.crawl.state;
        found = Some(website);
        matches!(
            state,
            CrawlState::Finished | CrawlState::Failed | CrawlState::Cancelled
        )
    })
    .await;
    found.unwrap()
}

/// Waits until a crawl has this state.
async fn in_state(server: &Server, tenant: TenantId, id: WebsiteId, state: CrawlState) {
    let admin = server.admin();
    eventually(async || admin.website(tenant, id).await.unwrap().crawl.state == state).await;
}

async fn ask(office: &Office, server: &Server, text: &str) -> String {
    let before = office.graph.posts().len();
    let message = office.graph.message(NUMBER, CUSTOMER, text);
    assert_eq!(server.whatsapp(&message).await, 200);
    office.wait_for_accepted(before + 1).await;
    office.graph.posts()[before].text.clone()
}

#[tokio::test]
async fn the_employee_answers_from_a_website_as_long_as_it_says_so() {
    let office = Office::open().await;
    let mut command = office.command(Wire::OpenAi);
    command.env("KONSTRUCT_MODEL", "extract");
    let server = launch(command).await;
    server.vendors_have_confirmed().await;
    let admin = server.admin();
    let site = Site::open().await;
    site.set("/", "<title>Acme Ponies</title><p>Welcome to the pony farm! <a href=/prices>Prices</a> <a href=/login>Staff</a>");
    site.set("/prices", "<title>Prices</title><h1>Prices</h1><h2>How much is a pony ride?</h2><p>A pony ride is 14 euros.</p>");
    site.set("/login", "<form>Sign in<input type=password></form>");

    let added = admin
        .add_website(BUSINESS_TENANT, &site.new_website())
        .await
        .unwrap();
    assert_eq!(added.url, format!("{}/", site.url));
    let website = ended(&server, BUSINESS_TENANT, added.id).await;
    let report = &website.crawl.report;
    assert_eq!(website.crawl.state, CrawlState::Finished, "{report:?}");
    assert!(report.complete, "{report:?}");
    assert_eq!((website.pages, report.read, report.requests), (2, 2, 5));
    let login = report
        .addresses
        .iter()
        .find(|one| one.url.ends_with("/login"))
        .unwrap();
    assert_eq!(
        (login.outcome.as_str(), login.reason.as_deref()),
        ("skipped", Some("login"))
    );

    let documents = admin.documents(BUSINESS_TENANT).await.unwrap().items;
    let prices = documents
        .iter()
        .find(|one| one.title == "Prices")
        .unwrap()
        .clone();
    assert_eq!(prices.url, Some(format!("{}/prices", site.url)));
    assert_eq!(prices.website, Some(added.id));
    let shown = admin.document(BUSINESS_TENANT, prices.id).await.unwrap();
    assert_eq!(shown.passages[0].text, "A pony ride is 14 euros.");
    assert_eq!(
        (shown.passages[0].source.as_str(), shown.warnings.len()),
        ("Prices › How much is a pony ride?", 0)
    );

    let question = "How much is a pony ride?";
    let answer = ask(&office, &server, question).await;
    let source = format!("Prices › How much is a pony ride? ({}/prices)", site.url);
    assert!(
        answer.contains("14 euros") && answer.contains(&source),
        "{answer}"
    );

    // A changed page is a new version.
    site.set("/prices", "<title>Prices</title><h1>Prices</h1><h2>How much is a pony ride?</h2><p>A pony ride is 17 euros.</p>");
    admin.crawl(BUSINESS_TENANT, added.id).await.unwrap();
    let website = ended(&server, BUSINESS_TENANT, added.id).await;
    assert_eq!(
        (website.crawl.report.read, website.crawl.report.unchanged),
        (1, 1)
    );
    let changed = admin.document(BUSINESS_TENANT, prices.id).await.unwrap();
    assert_eq!(changed.document.version, 2);
    let answer = ask(&office, &server, question).await;
    assert!(
        answer.contains("17 euros") && !answer.contains("14 euros"),
        "{answer}"
    );

    // An outage changes nothing.
    let home = site.pages.lock().unwrap().remove("/").unwrap();
    admin.crawl(BUSINESS_TENANT, added.id).await.unwrap();
    let website = ended(&server, BUSINESS_TENANT, added.id).await;
    assert_eq!(
        (website.crawl.state, website.pages),
        (CrawlState::Failed, 2)
    );
    let problem = website.crawl.report.problem.unwrap();
    assert_eq!(problem.reason, "start_failed");
    let answer = ask(&office, &server, question).await;
    assert!(answer.contains("17 euros"), "{answer}");

    // A removed page ends.
    site.set("/", &home);
    site.remove("/prices");
    admin.crawl(BUSINESS_TENANT, added.id).await.unwrap();
    let website = ended(&server, BUSINESS_TENANT, added.id).await;
    assert_eq!((website.pages, website.crawl.report.ended), (1, 1));
    let answer = ask(&office, &server, question).await;
    assert!(!answer.contains("17 euros"), "{answer}");

    // A document with the title of a page is another document.
    let upload = konstruct_admin_api::NewDocument::text(
        "Acme Ponies",
        konstruct_admin_api::DocumentFormat::Text,
        "We also have donkeys.",
    );
    let upload = admin.put_document(BUSINESS_TENANT, &upload).await.unwrap();
    assert_eq!((upload.version, upload.website), (1, None));
    admin
        .remove_website(BUSINESS_TENANT, added.id)
        .await
        .unwrap();
    let documents = admin.documents(BUSINESS_TENANT).await.unwrap().items;
    assert!(
        documents.iter().all(|one| one.website.is_none()),
        "{documents:?}"
    );
    assert!(
        documents.iter().any(|one| one.id == upload.id),
        "{documents:?}"
    );
    let gone = admin.website(BUSINESS_TENANT, added.id).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_crawl_survives_a_kill() {
    let office = Office::open().await;
    let server = office.start().await;
    let site = Site::open().await;
    site.set("/", "<p>Welcome <a href=/a>a</a> <a href=/slow>b</a>");
    site.set("/a", "<p>The first page.");
    site.set("/slow", "<p>The slow page.");
    let website = server
        .admin()
        .add_website(BUSINESS_TENANT, &site.new_website())
        .await
        .unwrap();
    eventually(async || site.was_asked_for("/slow")).await;
    let running = server
        .admin()
        .website(BUSINESS_TENANT, website.id)
        .await
        .unwrap();
    assert_eq!(running.crawl.state, CrawlState::Running);
    assert_eq!(running.crawl.report.read, 2, "{running:?}");
    server.kill().await;

    let server = office.start().await;
    site.open.send_replace(true);
    let website = ended(&server, BUSINESS_TENANT, website.id).await;
    assert_eq!(website.crawl.state, CrawlState::Finished);
    assert_eq!((website.crawl.interruptions, website.pages), (1, 3));
    let documents = server
        .admin()
        .documents(BUSINESS_TENANT)
        .await
        .unwrap()
        .items;
    let pages = documents.iter().filter(|one| one.website.is_some());
    assert!(
        pages.clone().count() == 3 && pages.clone().all(|one| one.version == 1),
        "{documents:?}"
    );
}

#[tokio::test]
async fn a_website_has_its_own_pages() {
    let office = Office::open().await;
    let server = office.start().await;
    for count in [130, 2] {
        let site = Site::open().await;
        let words = (1..count).map(|n| "x".repeat(n));
        let links: String = words
            .clone()
            .map(|word| format!("<a href=/{word}>{word}</a> "))
            .collect();
        site.set("/", &format!("<p>Welcome {links}"));
        for word in words {
            site.set(&format!("/{word}"), &format!("<p>The page {word}."));
        }
        let admin = server.admin();
        let new = site.new_website();
        let website = admin.add_website(BUSINESS_TENANT, &new).await;
        let id = website.unwrap().id;
        assert_eq!(ended(&server, BUSINESS_TENANT, id).await.pages, count);
    }
    let listed = server
        .admin()
        .websites(BUSINESS_TENANT)
        .await
        .unwrap()
        .items;
    let pages: Vec<usize> = listed.iter().map(|one| one.pages).collect();
    assert_eq!(pages, [130, 2]);
}

#[tokio::test]
async fn crawls_are_cancelled_and_do_not_delay_other_tenants() {
    let office = Office::open().await;
    let server = office.start().await;
    let admin = server.admin();
    let slow = Site::open().await;
    slow.set("/", "<p>Welcome <a href=/slow>b</a>");
    let website = admin
        .add_website(BUSINESS_TENANT, &slow.new_website())
        .await
        .unwrap();
    eventually(async || slow.was_asked_for("/slow")).await;
    // A tenant has one crawl at a time, a website too.
    let again = admin.crawl(BUSINESS_TENANT, website.id).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict, "{again}");
    let second = Site::open().await;
    second.set("/", "<p>The second website.");
    let waiting = admin
        .add_website(BUSINESS_TENANT, &second.new_website())
        .await
        .unwrap();

    let other = admin
        .add_tenant(&NewTenant {
            name: "Other".into(),
        })
        .await
        .unwrap();
    let theirs = admin
        .add_website(other.id, &second.new_website())
        .await
        .unwrap();
    let theirs = ended(&server, other.id, theirs.id).await;
    assert_eq!(
        (theirs.crawl.state, theirs.pages),
        (CrawlState::Finished, 1)
    );
    let still = admin.website(BUSINESS_TENANT, waiting.id).await.unwrap();
    assert_eq!(still.crawl.state, CrawlState::Waiting);

    admin
        .cancel_crawl(BUSINESS_TENANT, website.id)
        .await
        .unwrap();
    let cancelled = admin.website(BUSINESS_TENANT, website.id).await.unwrap();
    assert_eq!(
        (cancelled.crawl.state, cancelled.pages),
        (CrawlState::Cancelled, 0)
    );
    let none = admin
        .cancel_crawl(BUSINESS_TENANT, website.id)
        .await
        .unwrap_err();
    assert_eq!(none.kind(), ErrorKind::Conflict, "{none}");
    ended(&server, BUSINESS_TENANT, waiting.id).await;
    let listed = admin.websites(BUSINESS_TENANT).await.unwrap().items;
    assert_eq!(listed.len(), 2);
    assert!(
        listed
            .iter()
            .all(|one| one.crawl.report.addresses.is_empty())
    );

    // A website and a tenant can be removed while they are crawled.
    admin.crawl(BUSINESS_TENANT, website.id).await.unwrap();
    in_state(&server, BUSINESS_TENANT, website.id, CrawlState::Running).await;
    admin
        .remove_website(BUSINESS_TENANT, website.id)
        .await
        .unwrap();
    let theirs = admin
        .add_website(other.id, &slow.new_website())
        .await
        .unwrap();
    in_state(&server, other.id, theirs.id, CrawlState::Running).await;
    admin.remove_tenant(other.id).await.unwrap();
    let gone = admin.website(other.id, theirs.id).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    assert!(server.terminate().await.success());
    let server = office.start().await;
    assert_eq!(
        server
            .admin()
            .websites(BUSINESS_TENANT)
            .await
            .unwrap()
            .items
            .len(),
        1
    );
}

#[tokio::test]
async fn errors_name_the_field_and_the_way_out() {
    let office = Office::open().await;
    let server = office.start().await;
    let admin = server.admin();
    let check = async |url: &str, expected: &str| {
        let new = NewWebsite {
            url: url.into(),
            every_hours: None,
        };
        let error = admin.add_website(BUSINESS_TENANT, &new).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{url}");
        assert!(
            error.message().starts_with("url: ") && error.message().contains(expected),
            "{url}: {error}"
        );
    };
    check("", "such as https://acme.example").await;
    check("ftp://acme.example", "such as https://acme.example").await;
    check(
        "https://me:secret@acme.example",
        "must not contain a user name",
    )
    .await;
    check("http://169.254.169.254/latest", "public internet").await;
    check("http://10.0.0.1/", "public internet").await;
    check("https://[::1]/", "public internet").await;
    let site = Site::open().await;
    site.set("/", "<p>Welcome");
    let website = admin
        .add_website(BUSINESS_TENANT, &site.new_website())
        .await
        .unwrap();
    let twice = admin
        .add_website(BUSINESS_TENANT, &site.new_website())
        .await
        .unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::Conflict);
    assert!(twice.message().contains("crawl it again"), "{twice}");
    let nobody = admin
        .add_website(TenantId::new(), &site.new_website())
        .await
        .unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::NotFound);
    for kind in [
        admin
            .website(TenantId::new(), website.id)
            .await
            .unwrap_err()
            .kind(),
        admin
            .crawl(BUSINESS_TENANT, WebsiteId::new())
            .await
            .unwrap_err()
            .kind(),
        admin
            .cancel_crawl(BUSINESS_TENANT, WebsiteId::new())
            .await
            .unwrap_err()
            .kind(),
        admin
            .remove_website(BUSINESS_TENANT, WebsiteId::new())
            .await
            .unwrap_err()
            .kind(),
    ] {
        assert_eq!(kind, ErrorKind::NotFound);
    }
}

/// However many requests add a website at the same time, one is added.
#[tokio::test]
async fn a_website_is_added_once() {
    let office = Office::open().await;
    let server = office.start().await;
    let admin = server.admin();
    let site = Site::open().await;
    let new = site.new_website();
    let added =
        futures_util::future::join_all((0..8).map(|_| admin.add_website(BUSINESS_TENANT, &new)));
    let added = added.await;
    assert_eq!(added.iter().filter(|added| added.is_ok()).count(), 1);
    for refused in added.into_iter().filter_map(Result::err) {
        assert_eq!(refused.kind(), ErrorKind::Conflict);
    }
    let [website] = &*admin.websites(BUSINESS_TENANT).await.unwrap().items else {
        panic!("one website");
    };
    // A removed one can be added again.
    admin
        .remove_website(BUSINESS_TENANT, website.id)
        .await
        .unwrap();
    admin.add_website(BUSINESS_TENANT, &new).await.unwrap();
}

/// A website with an interval is crawled again when it is due, also if the server was away then, and once for each time.
#[tokio::test]
async fn a_website_is_crawled_again_by_its_schedule() {
    let office = Office::embedded().await;
    let server = office.start().await;
    let admin = server.admin();
    let site = Site::open().await;
    site.set("/", "<main><p>We hire out ponies.</p></main>");
    for hours in [1, 23, 721] {
        let new = NewWebsite {
            every_hours: Some(hours),
            ..site.new_website()
        };
        let refused = admin.add_website(BUSINESS_TENANT, &new).await.unwrap_err();
        assert!(refused.message().contains("every_hours"), "{refused}");
    }
    let added = admin
        .add_website(BUSINESS_TENANT, &site.new_website())
        .await
        .unwrap();
    finished(&server, added.id).await;
    let settings = WebsiteSettings {
        every_hours: Some(24),
    };
    let changed = admin
        .change_website(BUSINESS_TENANT, added.id, &settings)
        .await
        .unwrap();
    assert_eq!(changed.every_hours, Some(24));
    assert!(changed.next_crawl_at.is_some());
    assert!(server.terminate().await.success());

    backdate(&office.store(), added.id).await;
    let server = office.start().await;
    let starts = || {
        let requests = site.requests.lock().unwrap();
        requests.iter().filter(|path| *path == "/").count()
    };
    eventually(async || starts() == 2).await;
    let website = finished(&server, added.id).await;
    assert!(website.next_crawl_at > changed.next_crawl_at, "{website:?}");
    assert!(server.terminate().await.success());
    // The next one is not due.
    let server = office.start().await;
    server
        .admin()
        .website(BUSINESS_TENANT, added.id)
        .await
        .unwrap();
    assert_eq!(starts(), 2);
    let settings = WebsiteSettings { every_hours: None };
    let admin = server.admin();
    let website = admin
        .change_website(BUSINESS_TENANT, added.id, &settings)
        .await
        .unwrap();
    assert_eq!(website.next_crawl_at, None);
}

async fn finished(server: &Server, id: WebsiteId) -> Website {
    let admin = server.admin();
    eventually(async || {
        let website = admin.website(BUSINESS_TENANT, id).await.unwrap();
        website.crawl.state == CrawlState::Finished
    })
    .await;
    admin.website(BUSINESS_TENANT, id).await.unwrap()
}

/// Moves the end of a crawl and the job of the next one to the time two days before.
async fn backdate(store: &Redb, id: WebsiteId) {
    const DAYS: i64 = 2 * 24 * 3_600 * 1_000_000;
    let (id, tenant) = (id.to_string(), Some(BUSINESS_TENANT));
    let row = store
        .get_row(tenant, "websites", &id)
        .await
        .unwrap()
        .unwrap();
    let mut website: Value = serde_json::from_slice(&row).unwrap();
    let ended_at = website["crawl"]["ended_at"].as_i64().unwrap() - DAYS;
    website["crawl"]["ended_at"] = ended_at.into();
    let [(key, row)] = &*store.rows(None, "jobs", None, 10).await.unwrap() else {
        panic!("one job");
    };
    let mut job: Value = serde_json::from_slice(row).unwrap();
    let due = job["due"].as_i64().unwrap() - DAYS;
    job["due"] = due.into();
    let (_, rest) = key.split_once('/').unwrap();
    let changes = vec![
        RowChange::put(
            tenant,
            "websites",
            id,
            serde_json::to_vec(&website).unwrap(),
        ),
        RowChange::delete(None, "jobs", key.clone()),
        RowChange::put(
            None,
            "jobs",
            format!("{due:020}/{rest}"),
            serde_json::to_vec(&job).unwrap(),
        ),
    ];
    assert!(store.write_rows(changes).await.unwrap());
}
