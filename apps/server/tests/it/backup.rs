//! Backups of a server that runs, and what a restored one must erase again.

use std::{path::Path, process::Output};

use konstruct_admin_api::{Erase, NewErasure, NewTenant, Role};
use konstruct_core::ErrorKind;
use konstruct_server::BUSINESS_TENANT;
use serde_json::Value;

use crate::{
    database::on_postgres,
    member::{invite, joined},
    office::{CUSTOMER, NUMBER, Office, Server, Wire},
    visitor::{PASSWORD, Visitor},
};

/// Runs a command of the server on an office's store.
async fn run(office: &Office, server: Option<&Server>, arguments: &[&str]) -> Output {
    let mut command = office.command(Wire::OpenAi);
    if let Some(server) = server {
        command.env("KONSTRUCT_LISTEN", server.url.replace("http://", ""));
    }
    // The client programs of the server that the tests run on.
    if let Ok(bin) = std::env::var("KONSTRUCT_TEST_POSTGRES_BIN") {
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{bin}:{path}"));
    }
    command.args(arguments).output().await.unwrap()
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Removes the store, and leaves what is beside it.
async fn lose(office: &Office) {
    if on_postgres() {
        crate::database::drop_rows(&office.data()).await;
    } else {
        std::fs::remove_file(office.data().join("konstruct.redb")).unwrap();
    }
}

#[tokio::test]
async fn a_restored_backup_serves_none_of_the_words_erased_since() {
    let office = Office::open().await;
    let server = office.start().await;
    let admin = server.admin();
    for (n, words) in ["a planted word", "another customer"].iter().enumerate() {
        let from = format!("{CUSTOMER}{n}");
        let message = office.graph.message(NUMBER, &from, words);
        assert_eq!(server.whatsapp(&message).await, 200);
        office.wait_for_accepted(n + 1).await;
        server.wait_until_processed(n + 1).await;
    }
    let tenant = NewTenant {
        name: "Gone tomorrow".into(),
    };
    let gone = admin.add_tenant(&tenant).await.unwrap().id;
    let shown = async |server: &Server| {
        let admin = server.admin();
        let mut shown = Vec::new();
        let listed = admin.conversations(BUSINESS_TENANT, None).await.unwrap();
        for one in listed.items {
            shown.push(admin.conversation(BUSINESS_TENANT, one.id).await.unwrap());
        }
        shown
    };
    let before = shown(&server).await;
    // Whoever is let in: one has a session, and one an invitation.
    let mut ana = joined(&server, BUSINESS_TENANT, "ana", Role::Owner).await;
    invite(&admin, BUSINESS_TENANT, "ben@example.com", Role::Owner).await;
    let file = office.data().join("backup");
    let path = file.to_str().unwrap();
    let backup = run(&office, Some(&server), &["backup", path]).await;
    assert!(backup.status.success(), "{}", text(&backup));
    let again = run(&office, Some(&server), &["backup", path]).await;
    assert_eq!(again.status.code(), Some(1), "{}", text(&again));
    assert!(text(&again).contains("exists already"), "{}", text(&again));

    // After the backup, a person is erased and a tenant removed.
    let planted = before
        .iter()
        .find(|it| format!("{it:?}").contains("a planted word"));
    let person = planted.unwrap().persons[0];
    let erasure = NewErasure {
        what: Erase::Person { person },
        physical: false,
    };
    admin.erase(BUSINESS_TENANT, &erasure).await.unwrap();
    admin.remove_tenant(gone).await.unwrap();
    assert!(server.terminate().await.success());
    let log = std::fs::read_to_string(office.data().join("erasures.log")).unwrap();
    assert_eq!(log.lines().count(), 3, "{log}");
    assert!(!log.contains("planted") && !log.contains(CUSTOMER), "{log}");

    let occupied = run(&office, None, &["restore", path]).await;
    assert_eq!(occupied.status.code(), Some(1), "{}", text(&occupied));
    lose(&office).await;
    let restored = run(&office, None, &["restore", path]).await;
    assert!(restored.status.success(), "{}", text(&restored));

    let server = office.start().await;
    let after = shown(&server).await;
    let after_text = format!("{after:?}");
    assert_eq!(after.len(), before.len());
    assert!(!after_text.contains("a planted word"), "{after_text}");
    assert!(after_text.contains("another customer"), "{after_text}");
    let removed = server.admin().tenant(gone).await.unwrap_err();
    assert_eq!(removed.kind(), ErrorKind::NotFound);
    // Sessions and invitations may have been ended since the backup, so none comes back; members do.
    let mut again = Visitor::of(&server.url);
    again.cookie = std::mem::take(&mut ana.cookie);
    let (status, _) = again.call("get", "/account", &Value::Null).await.unwrap();
    assert_eq!(status, 401);
    let open = server.admin().invitations(BUSINESS_TENANT).await.unwrap();
    assert!(open.items.is_empty());
    let form = [("email", "ana@example.com"), ("password", PASSWORD)];
    assert_eq!(again.submit("/sign-in", &form).await.unwrap().status, 303);
    // It is done once: what the person writes from now on stays.
    let message = office
        .graph
        .message(NUMBER, &format!("{CUSTOMER}0"), "I am back");
    let answered = office.accepted_count();
    assert_eq!(server.whatsapp(&message).await, 200);
    office.wait_for_accepted(answered + 1).await;
    server.wait_until_processed(2).await;
    assert!(server.terminate().await.success());
    let server = office.start().await;
    let shown = format!("{:?}", shown(&server).await);
    assert!(shown.contains("I am back"), "{shown}");
    let mut later = Visitor::of(&server.url);
    later.cookie = again.cookie;
    let (status, _) = later.call("get", "/account", &Value::Null).await.unwrap();
    assert_eq!(status, 200);
}

#[tokio::test]
async fn a_file_that_is_no_backup_is_refused() {
    let office = Office::embedded().await;
    let server = office.start().await;
    assert!(server.terminate().await.success());
    let store = office.data().join("konstruct.redb");
    std::fs::remove_file(&store).unwrap();
    let file = office.data().join("backup");
    std::fs::write(&file, vec![7; 100_000]).unwrap();
    for path in [&file, Path::new("/nowhere/backup")] {
        let output = run(&office, None, &["restore", path.to_str().unwrap()]).await;
        assert!(!output.status.success(), "{}", text(&output));
        assert!(!store.exists());
    }
    // Without the server, the command opens the store itself.
    let server = office.start().await;
    assert!(server.terminate().await.success());
    let file = office.data().join("good");
    let output = run(&office, None, &["backup", file.to_str().unwrap()]).await;
    assert!(output.status.success(), "{}", text(&output));
    // The server cannot open it with another key.
    std::fs::remove_file(&store).unwrap();
    std::fs::remove_file(office.data().join("master.key")).unwrap();
    let output = run(&office, None, &["restore", file.to_str().unwrap()]).await;
    assert!(
        text(&output).contains("KONSTRUCT_MASTER_KEY"),
        "{}",
        text(&output)
    );
    assert!(!store.exists());
}
