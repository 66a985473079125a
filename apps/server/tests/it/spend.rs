//! What was spent, by the fake provider's reports.

use konstruct_admin_api::SpendGroup;
use konstruct_server::BUSINESS_TENANT;
use serde_json::Value;

use crate::office::{CUSTOMER, NUMBER, Office};

#[tokio::test]
async fn spend_is_summed_and_the_ledger_exported() {
    let office = Office::open().await;
    let server = office.start().await;
    let admin = server.admin();
    for n in 0..3 {
        let from = format!("{CUSTOMER}{}", n % 2);
        let message = office.graph.message(NUMBER, &from, "hello");
        assert_eq!(server.whatsapp(&message).await, 200);
        office.wait_for_accepted(n + 1).await;
    }
    let conversations = server.wait_until_processed(2).await;
    let by = async |by: &str| {
        let spend = admin.spend(BUSINESS_TENANT, by).await.unwrap();
        spend.groups
    };
    let total = |groups: &[SpendGroup]| -> (u64, u64, u64) {
        let sum = |of: fn(&SpendGroup) -> u64| groups.iter().map(of).sum();
        (
            sum(|it| it.calls),
            sum(|it| it.input_tokens),
            sum(|it| it.nano_usd),
        )
    };
    let days = by("day").await;
    let (calls, input, cost) = total(&days);
    assert!(calls >= 3 && input > 0 && days.len() <= 2, "{days:?}");
    for grouped in ["kind", "model", "conversation", "connection", "person"] {
        let groups = by(grouped).await;
        assert_eq!(
            total(&groups),
            (calls, input, cost),
            "{grouped}: {groups:?}"
        );
        let falls = groups.is_sorted_by(|a, b| a.nano_usd >= b.nano_usd);
        assert!(falls, "{grouped}: {groups:?}");
    }
    let persons = by("person").await;
    for conversation in &conversations {
        let person = conversation.persons[0].to_string();
        let of_person = persons.iter().find(|group| group.name == person);
        assert!(of_person.is_some_and(|it| it.calls >= 1), "{persons:?}");
    }

    let (status, csv) = server.read("/ledger.csv").await;
    let mut lines = csv.split_terminator("\r\n");
    assert_eq!(status, 200);
    assert!(lines.next().unwrap().starts_with("number,at,kind,"));
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len() as u64, calls);
    let tokens = rows.iter().map(|row| row[6].parse::<u64>().unwrap());
    assert_eq!(tokens.sum::<u64>(), input);
    let sums = rows.iter().map(|row| row[8].parse::<u64>().unwrap_or(0));
    assert_eq!(sums.sum::<u64>(), cost);

    // A time before, around and after the calls.
    let first = rows[0][1];
    for (query, some) in [
        (format!("to={first}"), false),
        (format!("from={first}"), true),
        (
            "from=2000-01-01T00:00:00Z&to=2000-01-02T00:00:00Z".into(),
            false,
        ),
        ("from=2100-01-01T00:00:00Z".into(), false),
    ] {
        let (_, body) = server.read(&format!("/spend?{query}")).await;
        let body: Value = serde_json::from_str(&body).unwrap();
        let groups = body["groups"].as_array().unwrap();
        assert_eq!(!groups.is_empty(), some, "{query}: {body}");
        let (_, csv) = server.read(&format!("/ledger.csv?{query}")).await;
        assert_eq!(csv.lines().count() > 1, some, "{query}");
    }
    for (query, field) in [("from=x", "from"), ("to=1", "to"), ("by=moon", "by")] {
        let (status, body) = server.read(&format!("/spend?{query}")).await;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (status, body["field"].as_str()),
            (422, Some(field)),
            "{query}"
        );
    }
}
