//! What an owner takes away: the data of a person, and of the whole tenant.

use konstruct_admin_api::{Erase, NewErasure, PersonalData, Role};
use konstruct_server::BUSINESS_TENANT;
use serde_json::Value;

use crate::{
    member::joined,
    office::{CUSTOMER, NUMBER, Office, Server, TOKEN},
    visitor::PASSWORD,
};

/// Returns the status and the lines of an export.
async fn export(server: &Server, path: &str) -> (u16, Vec<Value>) {
    let (status, body) = server.read(path).await;
    let lines = body.lines().filter(|line| !line.is_empty());
    let parsed = lines.map(|line| serde_json::from_str(line).unwrap());
    (status, parsed.collect())
}

#[tokio::test]
async fn a_person_gets_what_they_wrote_and_what_was_answered() {
    let office = Office::open().await;
    let server = office.start().await;
    let admin = server.admin();
    for (n, words) in ["my words", "words of another", "my second words"]
        .iter()
        .enumerate()
    {
        let from = format!("{CUSTOMER}{}", n % 2);
        let message = office.graph.message(NUMBER, &from, words);
        assert_eq!(server.whatsapp(&message).await, 200);
        office.wait_for_accepted(n + 1).await;
    }
    let conversations = server.wait_until_processed(2).await;
    let mine = conversations
        .iter()
        .find(|it| format!("{it:?}").contains("my words"));
    let person = mine.unwrap().persons[0];
    joined(&server, BUSINESS_TENANT, "ana", Role::Owner).await;
    let path = format!("/persons/{person}/export");
    let (status, lines) = export(&server, &path).await;
    let said: Vec<(String, String)> = lines
        .into_iter()
        .map(|line| match serde_json::from_value(line).unwrap() {
            PersonalData::Message { from, text, .. } => (from, text),
            PersonalData::Fact { text, .. } => ("fact".into(), text),
        })
        .collect();
    let said: Vec<_> = said
        .iter()
        .map(|(from, text)| (from.as_str(), text.as_str()))
        .collect();
    assert_eq!(status, 200);
    assert_eq!(
        said,
        [
            ("person", "my words"),
            ("employee", "Re: my words"),
            ("person", "my second words"),
            ("employee", "Re: my second words"),
        ]
    );

    let (status, lines) = export(&server, "/export").await;
    let all = format!("{lines:?}");
    assert_eq!(status, 200);
    for expected in [
        "my words",
        "words of another",
        "employee",
        "ledger",
        "Ava",
        "ana@example.com",
    ] {
        assert!(all.contains(expected), "{expected}");
    }
    for secret in [TOKEN, "EAAG", "xoxb", "sk-", PASSWORD, "argon2"] {
        assert!(!all.contains(secret), "{secret}");
    }

    let audited = admin.audit(BUSINESS_TENANT).await.unwrap().items;
    let audited: Vec<_> = audited.iter().map(|it| it.operation.as_str()).collect();
    assert_eq!(audited, ["exportTenant", "exportPerson", "invite"]);

    let erasure = NewErasure {
        what: Erase::Person { person },
        physical: false,
    };
    admin.erase(BUSINESS_TENANT, &erasure).await.unwrap();
    assert_eq!(export(&server, &path).await.0, 404);
    let (_, lines) = export(&server, "/export").await;
    let all = format!("{lines:?}");
    assert!(!all.contains("my words") && all.contains("words of another"));
}
