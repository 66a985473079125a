//! Several processes of the server on one database.

use std::time::Duration;

use konstruct_admin_api::{CrawlState, NewWebsite};
use konstruct_llm::testkit::Reply;
use konstruct_server::{BUSINESS_TENANT, DEMO_TENANT};

use crate::{
    office::{CUSTOMER, NUMBER, Office, Wire, eventually, get, launch},
    website::Site,
};

/// They start at the same time on an empty database, and each shows the same business.
#[tokio::test]
async fn processes_that_start_together_set_up_once() {
    let office = Office::shared().await;
    let start = async || {
        let mut command = office.command(Wire::OpenAi);
        command.env("KONSTRUCT_DEMO", "on");
        let server = launch(command).await;
        server.vendors_have_confirmed().await;
        server
    };
    let (first, second) = tokio::join!(start(), start());
    for server in [&first, &second] {
        let admin = server.admin();
        for tenant in [BUSINESS_TENANT, DEMO_TENANT] {
            let documents = admin.documents(tenant).await.unwrap().items;
            assert_eq!(documents.len(), 3, "{documents:?}");
        }
        assert_eq!(admin.tenants(None).await.unwrap().items.len(), 2);
    }
}

/// Each message is delivered to both, and answered once. The process that works on one is killed, and the other goes on.
#[tokio::test]
async fn processes_share_the_work_and_survive_each_other() {
    let office = Office::shared().await;
    let (first, second) = tokio::join!(office.start(), office.start());
    for n in 0..10 {
        let message = office
            .graph
            .message(NUMBER, &format!("{CUSTOMER}{n}"), "hello");
        let (a, b) = tokio::join!(first.whatsapp(&message), second.whatsapp(&message));
        assert_eq!((a, b), (200, 200));
    }
    office.wait_for_accepted(10).await;
    first.wait_until_processed(10).await;
    assert_eq!(office.graph.posts().len(), 10);

    let late = Reply::text("too late").delay(Duration::from_secs(600));
    office.model.next(late);
    let asked = office.model.requests().len();
    let message = office.graph.message(NUMBER, CUSTOMER, "are you there?");
    // Whichever process is awake works on it, so there is only one at first.
    second.terminate().await;
    assert_eq!(first.whatsapp(&message).await, 200);
    eventually(async || office.model.requests().len() > asked).await;
    let second = office.start().await;
    first.kill().await;
    office.wait_for_accepted(11).await;
    second.wait_until_processed(11).await;
    let posts = office.graph.posts();
    assert_eq!(posts.len(), 11, "{posts:?}");
    assert!(posts[10].text.ends_with("are you there?"), "{posts:?}");
}

/// A process that only accepts wakes one that only works, and each serves what its role needs.
#[tokio::test]
async fn roles_divide_the_work() {
    let office = Office::shared().await;
    let start = async |role: &str| {
        let mut command = office.command(Wire::OpenAi);
        command.args(["serve", "--role", role]);
        launch(command).await
    };
    let (web, worker) = (start("web").await, start("worker").await);
    web.vendors_have_confirmed().await;
    for server in [&web, &worker] {
        assert_eq!(get(&format!("{}/readyz", server.url)).await.0, 200);
        assert_eq!(get(&format!("{}/metrics", server.metrics)).await.0, 200);
    }
    for path in ["api/openapi.json", "webhooks/whatsapp"] {
        assert_eq!(
            get(&format!("{}/{path}", worker.url)).await.0,
            404,
            "{path}"
        );
        assert_ne!(get(&format!("{}/{path}", web.url)).await.0, 404, "{path}");
    }
    for nth in 0..3 {
        let message = office
            .graph
            .message(NUMBER, &format!("{CUSTOMER}{nth}"), "hello");
        assert_eq!(web.whatsapp(&message).await, 200);
        office.wait_for_accepted(nth + 1).await;
    }
    web.wait_until_processed(3).await;
    let replied = "konstruct_turns_total{outcome=\"replied\"}";
    assert_eq!(web.metric(replied).await, Some(0.0));
    assert_eq!(worker.metric(replied).await, Some(3.0));
    assert!(worker.terminate().await.success() && web.terminate().await.success());
}

/// A setting that one process changes applies in the other.
#[tokio::test]
async fn a_change_applies_in_every_process() {
    let office = Office::shared().await;
    let (first, second) = tokio::join!(office.start(), office.start());
    let (here, there) = (first.admin(), second.admin());
    for name in ["Bea", "Cleo"] {
        let employee = here.employee(BUSINESS_TENANT).await.unwrap();
        let mut settings = employee.settings;
        settings.name = name.into();
        here.change_employee(BUSINESS_TENANT, employee.version, &settings)
            .await
            .unwrap();
        let seen = there.employee(BUSINESS_TENANT).await.unwrap().settings;
        assert_eq!(seen.name, name);
    }
}

/// One process crawls, whoever is asked to; any can cancel.
#[tokio::test]
async fn one_process_crawls_for_all() {
    let office = Office::shared().await;
    let (first, second) = tokio::join!(office.start(), office.start());
    let site = Site::open().await;
    site.set(
        "/",
        "<main><p>We hire out ponies.</p><a href='/slow'>more</a></main>",
    );
    let new = NewWebsite {
        url: site.url.clone(),
        every_hours: None,
    };
    let added = first
        .admin()
        .add_website(BUSINESS_TENANT, &new)
        .await
        .unwrap();
    eventually(async || site.was_asked_for("/slow")).await;
    let admin = second.admin();
    // The other process shows how far it is, whichever crawls.
    eventually(async || {
        for admin in [&first.admin(), &admin] {
            let crawl = admin
                .website(BUSINESS_TENANT, added.id)
                .await
                .unwrap()
                .crawl;
            assert_eq!(crawl.state, CrawlState::Running);
            if crawl.report.requests == 0 {
                return false;
            }
        }
        true
    })
    .await;
    admin.cancel_crawl(BUSINESS_TENANT, added.id).await.unwrap();
    // The process that crawls notices it.
    let again = async || admin.crawl(BUSINESS_TENANT, added.id).await.is_ok();
    eventually(again).await;
    site.set("/", "<main><p>We hire out ponies and donkeys.</p></main>");
    eventually(async || {
        let website = admin.website(BUSINESS_TENANT, added.id).await.unwrap();
        website.crawl.state == CrawlState::Finished
    })
    .await;
    let documents = admin.documents(BUSINESS_TENANT).await.unwrap().items;
    let pages = documents.iter().filter(|it| it.website.is_some());
    assert_eq!(pages.count(), 1);
    let starts = site.requests.lock().unwrap();
    let starts = starts.iter().filter(|path| *path == "/");
    assert_eq!(starts.count(), 2, "one for each crawl");
}
