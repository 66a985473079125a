//! Language models: a tenant's own, and the shared ones.

use konstruct_admin_api::NewOwnModel;
use konstruct_core::{ErrorKind, TenantId};
use konstruct_llm::testkit::{FakeProvider, FakeServer, Fault, Reply};
use konstruct_server::BUSINESS_TENANT;

use crate::office::{CUSTOMER, NUMBER, Office, Server};

fn at(server: &FakeServer) -> NewOwnModel {
    NewOwnModel {
        provider: "anthropic".into(),
        model: "claude-haiku-4-5".into(),
        api_key: "sk-ant-the-tenants-own".into(),
        base_url: Some(server.url().into()),
        purpose: Some("quality".into()),
    }
}

async fn say(office: &Office, server: &Server, text: &str) -> String {
    let before = office.graph.posts().len();
    let message = office.graph.message(NUMBER, CUSTOMER, text);
    assert_eq!(server.whatsapp(&message).await, 200);
    office.wait_for_accepted(before + 1).await;
    office.graph.posts()[before].text.clone()
}

#[tokio::test]
async fn a_tenants_own_model_is_used_before_the_shared_one() {
    let office = Office::with(FakeProvider::new(|_| Reply::text("The shared model."))).await;
    let own = FakeProvider::new(|_| Reply::text("The own model."));
    let own_server = own.spawn().await.unwrap();
    let server = office.start().await;
    let admin = server.admin();
    assert_eq!(say(&office, &server, "one").await, "The shared model.");

    let kept = admin
        .put_model(BUSINESS_TENANT, "claude", None, &at(&own_server))
        .await
        .unwrap();
    assert_eq!((kept.key_end.as_str(), kept.priced), ("-own", true));
    let listed = admin.models(BUSINESS_TENANT).await.unwrap().items;
    assert_eq!(listed, std::slice::from_ref(&kept));
    assert!(!serde_json::to_string(&listed).unwrap().contains("sk-ant"));
    assert_eq!(say(&office, &server, "two").await, "The own model.");
    assert_eq!(
        own.requests()[0].header("x-api-key"),
        Some("sk-ant-the-tenants-own")
    );

    own.next(Reply::text("Half of an answer is said.").fault(Fault::Cut(4)));
    assert_eq!(say(&office, &server, "three").await, "The shared model.");
    // The metrics contain neither the model nor the server of a tenant.
    let broken = "gen_ai_client_operation_duration_seconds_count{gen_ai_operation_name=\"chat\",\
                  gen_ai_provider_name=\"anthropic\",gen_ai_request_model=\"own\",error_type=\"truncated\"}";
    assert_eq!(server.metric(broken).await, Some(1.0), "{broken}");

    let empty = r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low."}}"#;
    own.next(Reply::default().fault(Fault::status(400, empty)));
    let answer = say(&office, &server, "an empty balance").await;
    assert_eq!(answer, "The shared model.");
    own.next(Reply::default().fault(Fault::status(401, "no")));
    let answer = say(&office, &server, "a revoked key").await;
    assert_eq!(answer, "The shared model.");

    admin.remove_model(BUSINESS_TENANT, "claude").await.unwrap();
    assert_eq!(say(&office, &server, "four").await, "The shared model.");
    let gone = admin
        .remove_model(BUSINESS_TENANT, "claude")
        .await
        .unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    let foreign = admin.models(TenantId::new()).await.unwrap_err();
    assert_eq!(foreign.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn openais_responses_are_a_separate_provider() {
    let office = Office::open().await;
    let own = FakeProvider::new(|_| Reply::text("By Responses."));
    let own_server = own.spawn().await.unwrap();
    let server = office.start().await;
    let model = NewOwnModel {
        provider: "openai_responses".into(),
        model: "gpt-5-mini".into(),
        base_url: Some(format!("{}/v1", own_server.url())),
        ..at(&own_server)
    };
    let admin = server.admin();
    let kept = admin
        .put_model(BUSINESS_TENANT, "gpt", None, &model)
        .await
        .unwrap();
    assert_eq!(
        (kept.provider.as_str(), kept.priced),
        ("openai_responses", true)
    );
    assert_eq!(say(&office, &server, "one").await, "By Responses.");
    assert_eq!(own.requests()[0].path, "/v1/responses");
    let listed = admin.models(BUSINESS_TENANT).await.unwrap().items;
    assert_eq!(listed, [kept]);
}

#[tokio::test]
async fn an_invalid_model_is_not_stored() {
    let office = Office::open().await;
    let server = office.start().await;
    let admin = server.admin();
    let well = NewOwnModel {
        base_url: None,
        ..at(&FakeProvider::default().spawn().await.unwrap())
    };
    let check = async |name: &str, model: NewOwnModel, field: &str| {
        let error = admin
            .put_model(BUSINESS_TENANT, name, None, &model)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{field}: {error}");
        assert!(error.message().starts_with(field), "{field}: {error}");
    };
    let with = |change: fn(&mut NewOwnModel)| {
        let mut model = well.clone();
        change(&mut model);
        model
    };
    check("a%20name", well.clone(), "name").await;
    check(
        "m",
        with(|model| model.provider = "oracle".into()),
        "provider",
    )
    .await;
    check("m", with(|model| model.model = " ".into()), "model").await;
    check("m", with(|model| model.api_key = String::new()), "api_key").await;
    check("m", with(|model| model.api_key = "a\nb".into()), "api_key").await;
    check(
        "m",
        with(|model| model.purpose = Some("fun".into())),
        "purpose",
    )
    .await;
    for url in [
        "nowhere",
        "http://llm.example/v1",
        "https://10.0.0.1",
        "https://169.254.169.254/latest",
    ] {
        let mut model = well.clone();
        model.base_url = Some(url.into());
        check("m", model, "base_url").await;
    }
    assert!(
        admin
            .models(BUSINESS_TENANT)
            .await
            .unwrap()
            .items
            .is_empty()
    );
}
