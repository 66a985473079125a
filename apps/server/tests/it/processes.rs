//! Several processes of the server on one database.

use std::time::Duration;

use konstruct_admin_api::{CrawlState, NewWebsite};
use konstruct_llm::testkit::Reply;
use konstruct_server::{BUSINESS_TENANT, DEMO_TENANT};

use crate::{
    office::{CUSTOMER, NUMBER, Office, Wire, eventually, launch},
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
    };
    let added = first
        .admin()
        .add_website(BUSINESS_TENANT, &new)
        .await
        .unwrap();
    eventually(async || site.was_asked_for("/slow")).await;
    let admin = second.admin();
    assert_eq!(
        admin
            .website(BUSINESS_TENANT, added.id)
            .await
            .unwrap()
            .crawl
            .state,
        CrawlState::Running
    );
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
