//! The desktop program is signed in by a code that it shows.

use konstruct_admin_api::{Client, Role};
use konstruct_core::Secret;
use serde_json::{Value, json};

use crate::{
    member::{joined, tenant},
    office::Office,
    visitor::{Shown, Visitor},
};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

async fn begin(program: &mut Visitor) -> Value {
    let form = [("client_id", "Konstruct on Ana's laptop")];
    let answer = program.submit("/sign-in/device/code", &form).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

async fn poll(program: &mut Visitor, device_code: &str) -> (u16, Value) {
    let form = [("grant_type", GRANT), ("device_code", device_code)];
    let answer = program
        .submit("/sign-in/device/token", &form)
        .await
        .unwrap();
    (answer.status, serde_json::from_str(&answer.body).unwrap())
}

async fn decide(visitor: &mut Visitor, code: &str, decision: &str) -> Shown {
    let form = [("code", code), ("decision", decision)];
    visitor.submit("/sign-in/device", &form).await.unwrap()
}

/// Returns a program that sends no cookie and no origin.
fn program(of: &Visitor) -> Visitor {
    let mut program = of.clone();
    program.cookie.clear();
    program.sent_by.clear();
    program
}

/// Signs a program in for somebody. Returns its token.
pub(crate) async fn device_token(visitor: &mut Visitor) -> String {
    let mut program = program(visitor);
    let begun = begin(&mut program).await;
    let code = begun["user_code"].as_str().unwrap();
    assert_eq!(decide(visitor, code, "confirm").await.status, 200);
    let answer = poll(&mut program, begun["device_code"].as_str().unwrap()).await;
    assert_eq!(answer.0, 200, "{}", answer.1);
    answer.1["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_program_gets_a_session_that_its_owner_confirmed() {
    let office = Office::open().await;
    let server = office.start().await;
    let shop = tenant(&server.admin(), "Shop").await;
    let mut ana = joined(&server, shop, "ana", Role::Agent).await;
    let mut program = program(&ana);
    let begun = begin(&mut program).await;
    let (device_code, user_code) = (&begun["device_code"], &begun["user_code"]);
    let (device_code, user_code) = (device_code.as_str().unwrap(), user_code.as_str().unwrap());
    assert_eq!(
        (&begun["expires_in"], &begun["interval"]),
        (&json!(600), &json!(5))
    );
    let page = format!("{}/sign-in/device", server.url);
    assert_eq!(begun["verification_uri"], json!(page));
    let pending = (400, json!({"error": "authorization_pending"}));
    assert_eq!(poll(&mut program, device_code).await, pending);

    // Somebody who is not signed in signs in first, and comes back.
    let link = begun["verification_uri_complete"].as_str().unwrap();
    let shown = Visitor::of(&server.url).open(link).await.unwrap();
    let next = format!("/sign-in?next=%2Fsign-in%2Fdevice%3Fcode%3D{user_code}");
    assert_eq!((shown.status, shown.location), (303, Some(next.clone())));
    let form = Visitor::of(&server.url).open(&next).await.unwrap().body;
    let back = format!("value=\"/sign-in/device?code={user_code}\"");
    assert!(form.contains(&back), "{form}");
    assert_eq!(
        decide(&mut Visitor::of(&server.url), user_code, "confirm")
            .await
            .status,
        401
    );

    let shown = ana.open(link).await.unwrap();
    let asks =
        shown.body.contains("Konstruct on Ana&#39;s laptop") && shown.body.contains(user_code);
    assert!(shown.status == 200 && asks, "{}", shown.body);
    assert_eq!(
        poll(&mut program, device_code).await,
        pending,
        "to look is not to confirm"
    );
    assert_eq!(
        decide(&mut ana, &user_code.to_lowercase(), "confirm")
            .await
            .status,
        200
    );
    assert_eq!(decide(&mut ana, user_code, "confirm").await.status, 404);
    let (status, answer) = poll(&mut program, device_code).await;
    assert_eq!((status, &answer["token_type"]), (200, &json!("Bearer")));
    let token = answer["access_token"].as_str().unwrap().to_owned();
    let expired = (400, json!({"error": "expired_token"}));
    assert_eq!(
        poll(&mut program, device_code).await,
        expired,
        "it is given out once"
    );

    let client = Client::new(&server.url, Secret::new(token.clone())).unwrap();
    assert_eq!(client.account().await.unwrap().name, "ana");
    assert_eq!(client.tenant(shop).await.unwrap().name, "Shop");
    assert!(
        client.tokens(shop).await.is_err(),
        "an agent reads no tokens"
    );
    let sessions = client.sessions().await.unwrap();
    let current: Vec<_> = sessions
        .iter()
        .filter(|session| session.is_current)
        .collect();
    assert_eq!(current[0].program, "Konstruct on Ana's laptop");
    // A cookie and a bearer token do not stand for each other.
    let mut thief = Visitor::of(&server.url);
    thief.cookie = format!("konstruct_session={token}");
    assert_eq!(
        thief.call("get", "/account", &Value::Null).await.unwrap().0,
        401
    );
    let cookie = Client::new(&server.url, Secret::new(ana.token())).unwrap();
    assert!(cookie.account().await.is_err());
    // It ends like every session.
    let path = format!("/account/sessions/{}", current[0].id);
    assert_eq!(
        ana.call("delete", &path, &Value::Null).await.unwrap().0,
        204
    );
    assert!(client.account().await.is_err());
}

#[tokio::test]
async fn a_refused_program_gets_nothing_and_guesses_are_throttled() {
    let office = Office::open().await;
    let server = office.start().await;
    let shop = tenant(&server.admin(), "Shop").await;
    let mut ana = joined(&server, shop, "ana", Role::Agent).await;
    let mut program = program(&ana);
    let begun = begin(&mut program).await;
    let device_code = begun["device_code"].as_str().unwrap();
    let page = decide(&mut ana, begun["user_code"].as_str().unwrap(), "refuse").await;
    assert!(
        page.body.contains("The program was refused."),
        "{}",
        page.body
    );
    let denied = (400, json!({"error": "access_denied"}));
    assert_eq!(poll(&mut program, device_code).await, denied);
    let form = [("grant_type", "password"), ("device_code", device_code)];
    let answer = program
        .submit("/sign-in/device/token", &form)
        .await
        .unwrap();
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (400, "{\"error\":\"unsupported_grant_type\"}")
    );
    let answer = program.submit("/sign-in/device/token", &[]).await.unwrap();
    let invalid = "{\"error\":\"invalid_request\"}";
    assert_eq!((answer.status, answer.body.as_str()), (400, invalid));
    let wrong = format!("{}{}", &device_code[..36], "A".repeat(43));
    assert_eq!(
        poll(&mut program, &wrong).await.1,
        json!({"error": "expired_token"})
    );

    // Short codes are guessed by somebody who is signed in, a few at a time.
    let begun = begin(&mut program).await;
    let mut statuses = Vec::new();
    for _ in 0..10 {
        statuses.push(decide(&mut ana, "BCDF-GHJK", "confirm").await.status);
    }
    assert_eq!(
        (statuses[0], statuses.last()),
        (404, Some(&429)),
        "{statuses:?}"
    );
    // A program that asks all the time is told to wait.
    let device_code = begun["device_code"].as_str().unwrap();
    let mut answers = Vec::new();
    for _ in 0..200 {
        if answers.last() == Some(&json!("slow_down")) {
            break;
        }
        answers.push(poll(&mut program, device_code).await.1["error"].clone());
    }
    assert_eq!(answers.last(), Some(&json!("slow_down")), "{answers:?}");
}
