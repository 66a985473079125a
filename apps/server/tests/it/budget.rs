//! Caps: what the customer, the owner and the operator see when one is reached.

use konstruct_admin_api::{
    Cap, CapScope, Client, Decision, NewApiToken, Period, Question, RaisedCap, Role,
};
use konstruct_core::{ErrorKind, Secret};
use konstruct_server::BUSINESS_TENANT;
use serde_json::json;
use tempfile::TempDir;

use crate::office::{CUSTOMER, NUMBER, Office, Server, Wire, eventually, launch};

const DOLLAR: u64 = 1_000_000_000;

fn cap(scope: CapScope, period: Period, nano_usd: u64) -> Cap {
    Cap {
        scope,
        period,
        nano_usd,
    }
}

/// Starts a server that knows the price of the fake model.
async fn start(office: &Office, folder: &TempDir) -> Server {
    let prices = folder.path().join("prices.json");
    let rates = json!({
        "input": "1.00", "cache_read": "1.00", "cache_write_5m": "1.00", "cache_write_1h": "1.00", "output": "1.00",
    });
    let text = json!({
        "version": "2026-12-01",
        "unit": "USD per million tokens",
        "models": [{"provider": "openai", "model": "fake", "rates": rates}],
    });
    std::fs::write(&prices, text.to_string()).unwrap();
    let mut command = office.command(Wire::OpenAi);
    command.env("KONSTRUCT_PRICES", prices);
    let server = launch(command).await;
    server.vendors_have_confirmed().await;
    server
}

async fn set_caps(server: &Server, caps: &[Cap]) {
    let admin = server.admin();
    let mut employee = admin.employee(BUSINESS_TENANT).await.unwrap();
    employee.settings.caps = caps.to_vec();
    admin
        .change_employee(BUSINESS_TENANT, employee.version, &employee.settings)
        .await
        .unwrap();
}

async fn say(office: &Office, server: &Server, from: &str, text: &str) {
    let message = office.graph.message(NUMBER, from, text);
    assert_eq!(server.whatsapp(&message).await, 200);
}

async fn reached(server: &Server) -> Vec<Question> {
    let questions = server.admin().questions(BUSINESS_TENANT).await.unwrap();
    let mut questions = questions.items;
    questions.retain(|question| question.kind == "cap_reached");
    questions
}

#[tokio::test]
async fn a_reached_cap_is_one_question_and_raising_it_answers() {
    let (office, folder) = (Office::open().await, TempDir::new().unwrap());
    let server = start(&office, &folder).await;
    let admin = server.admin();
    let caps = [
        cap(CapScope::Tenant, Period::Month, 100 * DOLLAR),
        cap(CapScope::Tenant, Period::Day, 1),
        cap(CapScope::Person, Period::Hour, 50 * DOLLAR),
    ];
    set_caps(&server, &caps).await;

    // Two customers are told, and the owner has one question about the cap.
    let other = format!("{CUSTOMER}1");
    say(&office, &server, CUSTOMER, "hello").await;
    say(&office, &server, &other, "hello").await;
    office.wait_for_accepted(2).await;
    let mut open = Vec::new();
    eventually(async || {
        open = reached(&server).await;
        !open.is_empty()
    })
    .await;
    assert_eq!(open.len(), 1, "{open:?}");
    let question = open.remove(0);
    assert_eq!(
        (question.conversation, question.choices),
        (None, vec!["raise".to_owned()])
    );
    assert!(
        question.text.starts_with("tenant/day: "),
        "{}",
        question.text
    );
    assert!(office.model.requests().is_empty(), "a call was made");
    eventually(async || {
        server
            .metric("konstruct_budget_alerts_total{percent=\"100\"}")
            .await
            >= Some(1.0)
    })
    .await;

    let budgets = admin.budgets(BUSINESS_TENANT).await.unwrap().budgets;
    let of = |scope, period| {
        budgets
            .iter()
            .find(|it| it.scope == scope && it.period == period)
    };
    let day = of(CapScope::Tenant, Period::Day).unwrap();
    assert_eq!((day.alert_percent, day.spent_nano_usd), (Some(100), 0));
    let month = of(CapScope::Tenant, Period::Month).unwrap();
    assert_eq!(
        (month.alert_percent, month.cap_nano_usd),
        (None, 100 * DOLLAR)
    );

    // Whoever may decide questions may not spend the owner's money.
    let token = NewApiToken {
        name: "agent".into(),
        role: Role::Agent,
        expires_in_days: None,
    };
    let token = admin
        .add_token(BUSINESS_TENANT, &token)
        .await
        .unwrap()
        .token;
    let agent = Client::new(&server.url, Secret::new(token)).unwrap();
    let raise = |nano_usd| Decision {
        decision: "raise".into(),
        nano_usd,
    };
    let refused = agent
        .decide(BUSINESS_TENANT, &question.key, &raise(None))
        .await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Forbidden);
    let lower = admin
        .decide(BUSINESS_TENANT, &question.key, &raise(Some(1)))
        .await;
    let lower = lower.unwrap_err();
    assert!(
        lower.message().starts_with("nano_usd: must be more than"),
        "{lower}"
    );
    assert_eq!(reached(&server).await.len(), 1, "still open");

    // The questions that waited are answered.
    admin
        .decide(BUSINESS_TENANT, &question.key, &raise(Some(20 * DOLLAR)))
        .await
        .unwrap();
    office.wait_for_accepted(4).await;
    assert!(reached(&server).await.is_empty(), "the question is closed");
    let employee = admin.employee(BUSINESS_TENANT).await.unwrap();
    assert_eq!(employee.settings.caps[1].nano_usd, 20 * DOLLAR);
    let again = admin
        .decide(BUSINESS_TENANT, &question.key, &raise(None))
        .await;
    assert_eq!(again.unwrap_err().kind(), ErrorKind::NotFound);
    let budgets = admin.budgets(BUSINESS_TENANT).await.unwrap().budgets;
    let persons = budgets.iter().filter(|it| it.scope == CapScope::Person);
    assert_eq!(persons.count(), 2, "{budgets:?}");
}

#[tokio::test]
async fn a_cap_is_raised_by_its_scope_and_period() {
    let office = Office::open().await;
    let server = office.start().await;
    let admin = server.admin();
    set_caps(&server, &[cap(CapScope::Channel, Period::Day, DOLLAR)]).await;
    let raise = async |scope, nano_usd| {
        let raised = RaisedCap {
            scope,
            period: Period::Day,
            nano_usd,
        };
        admin.raise_cap(BUSINESS_TENANT, &raised).await
    };
    let raised = raise(CapScope::Channel, None).await.unwrap();
    assert_eq!(raised.nano_usd, 2 * DOLLAR);
    let missing = raise(CapScope::Tenant, None).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    // Two people who raise it at the same time raise it twice.
    let (one, two) = tokio::join!(
        raise(CapScope::Channel, None),
        raise(CapScope::Channel, None)
    );
    let mut raised = [one.unwrap().nano_usd, two.unwrap().nano_usd];
    raised.sort_unstable();
    assert_eq!(raised, [4 * DOLLAR, 8 * DOLLAR]);

    let mut settings = admin.employee(BUSINESS_TENANT).await.unwrap().settings;
    settings.caps = vec![cap(CapScope::Person, Period::Day, 1); 2];
    let version = admin.employee(BUSINESS_TENANT).await.unwrap().version;
    let twice = admin
        .change_employee(BUSINESS_TENANT, version, &settings)
        .await;
    let twice = twice.unwrap_err();
    assert!(
        twice.message().contains("caps[1]: there is a cap"),
        "{twice}"
    );
}
