//! Signing in: passwords, sessions and their cookies, links with codes, and what is refused.

use std::process::Stdio;

use konstruct_admin_api::{NewSignInLink, Role};
use konstruct_core::Timestamp;
use konstruct_memory::RowStore as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    device::device_token,
    member::{invite, joined, tenant},
    office::{Office, Server, TOKEN, Wire, embedded_command, launch},
    visitor::{PASSWORD, Shown, Visitor, code},
};

async fn sign_in(visitor: &mut Visitor, email: &str, password: &str) -> Shown {
    let form = [("email", email), ("password", password)];
    visitor.submit("/sign-in", &form).await.unwrap()
}

async fn status(visitor: &mut Visitor, path: &str) -> u16 {
    visitor.call("get", path, &Value::Null).await.unwrap().0
}

async fn operator_link(server: &Server) -> String {
    let new = NewSignInLink::default();
    server.admin().add_sign_in_link(&new).await.unwrap().link
}

#[tokio::test]
async fn a_session_ends_with_signing_out() {
    let office = Office::open().await;
    let server = office.start().await;
    let shop = tenant(&server.admin(), "Shop").await;
    joined(&server, shop, "ana", Role::Agent).await;
    let mut ana = Visitor::of(&server.url);
    let page = sign_in(&mut ana, " ANA@example.com", PASSWORD).await;
    assert_eq!(
        (page.status, page.location.as_deref()),
        (303, Some("/sign-in"))
    );
    let set = page.set_cookie.unwrap();
    assert!(set.starts_with("konstruct_session=kse_"), "{set}");
    let attributes = "; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax";
    assert!(set.ends_with(attributes), "host-only: {set}");
    assert_eq!(status(&mut ana, "/account").await, 200);
    // The next one is another, so that nobody can plant it.
    let mut stolen = ana.clone();
    sign_in(&mut ana, "ana@example.com", PASSWORD).await;
    assert_ne!(ana.token(), stolen.token());
    assert_eq!(status(&mut stolen, "/account").await, 401);

    let mut stolen = ana.clone();
    let page = ana.submit("/sign-out", &[]).await.unwrap();
    assert_eq!((page.status, ana.cookie.as_str()), (303, ""));
    assert_eq!(status(&mut stolen, "/account").await, 401);
    assert_eq!(status(&mut stolen, &format!("/tenants/{shop}")).await, 401);
    let page = stolen.open("/sign-in").await.unwrap().body;
    assert!(page.contains("<label for=\"email\">"), "{page}");
    let form = [("current", PASSWORD), ("password", "another password")];
    let page = stolen.submit("/sign-in/password", &form).await.unwrap();
    assert_eq!(page.status, 401);
    // To sign out again is no error.
    assert_eq!(stolen.submit("/sign-out", &[]).await.unwrap().status, 303);
}

#[tokio::test]
async fn an_unknown_address_answers_like_a_wrong_password() {
    let office = Office::open().await;
    let server = office.start().await;
    let shop = tenant(&server.admin(), "Shop").await;
    joined(&server, shop, "ana", Role::Agent).await;
    let mut eve = Visitor::of(&server.url);
    let mut known = Vec::new();
    let mut unknown = Vec::new();
    for _ in 0..11 {
        known.push(sign_in(&mut eve, "ana@example.com", "a wrong password").await);
        unknown.push(sign_in(&mut eve, "nix@example.com", "a wrong password").await);
    }
    for (known, unknown) in known.iter().zip(&unknown) {
        assert_eq!(known.status, unknown.status);
        let body = unknown.body.replace("nix@example.com", "ana@example.com");
        assert_eq!(known.body, body);
    }
    let statuses: Vec<u16> = known.iter().map(|page| page.status).collect();
    let (last, others) = statuses.split_last().unwrap();
    assert!(
        *last == 429 && others.iter().all(|status| *status == 403),
        "{statuses:?}"
    );
    let wait: u64 = known[10].retry_after.as_deref().unwrap().parse().unwrap();
    assert!((1..=90).contains(&wait), "{wait}");
    assert!(
        known[10].body.contains("Try again in"),
        "{}",
        known[10].body
    );
    // The limit holds for the right password too, and for no other address.
    assert_eq!(
        sign_in(&mut eve, "ana@example.com", PASSWORD).await.status,
        429
    );
    joined(&server, shop, "ben", Role::Agent).await;
    assert_eq!(
        sign_in(&mut eve, "ben@example.com", PASSWORD).await.status,
        303
    );
    for (email, password) in [("", ""), ("ana", PASSWORD), ("a@b", "\0")] {
        let mut nobody = Visitor::of(&server.url);
        assert_eq!(
            sign_in(&mut nobody, email, password).await.status,
            403,
            "{email}"
        );
    }
}

#[tokio::test]
async fn pages_of_other_origins_act_for_nobody() {
    let office = Office::open().await;
    let server = office.start().await;
    let shop = tenant(&server.admin(), "Shop").await;
    let ana = joined(&server, shop, "ana", Role::Owner).await;
    let models = format!("/tenants/{shop}/models/m");
    for sent_by in [
        vec![("origin", "https://evil.example".to_owned())],
        vec![("origin", "null".to_owned())],
        vec![("sec-fetch-site", "cross-site".to_owned())],
        vec![("sec-fetch-site", "same-site".to_owned())],
        vec![],
    ] {
        let mut ana = ana.clone();
        ana.sent_by = sent_by;
        let said = &ana.sent_by.clone();
        for page in [
            "/sign-in",
            "/sign-out",
            "/sign-in/password",
            "/sign-in/sessions/end",
            "/sign-in/operator",
            "/sign-in/invitation",
            "/sign-in/reset",
            "/sign-in/device",
        ] {
            let form = [("email", "ana@example.com"), ("password", PASSWORD)];
            let shown = ana.submit(page, &form).await.unwrap();
            assert_eq!(
                (shown.status, shown.set_cookie),
                (403, None),
                "{page} {said:?}"
            );
        }
        for method in ["post", "put", "delete"] {
            let (status, _) = ana.call(method, &models, &json!({})).await.unwrap();
            assert_eq!(status, 403, "{method} {said:?}");
        }
    }
    // The session is as it was, and reads need no origin.
    let mut reader = ana.clone();
    reader.sent_by.clear();
    assert_eq!(status(&mut reader, "/account").await, 200);
    let mut fetched = ana.clone();
    fetched.sent_by = vec![("sec-fetch-site", "same-origin".to_owned())];
    let (status, _) = fetched.call("delete", &models, &json!({})).await.unwrap();
    assert_eq!(status, 404, "it was admitted");
}

#[tokio::test]
async fn https_has_a_cookie_of_its_own() {
    let office = Office::open().await;
    let mut command = office.command(Wire::OpenAi);
    command.env("KONSTRUCT_PUBLIC_URL", "https://k.example.com");
    let server = launch(command).await;
    let link = operator_link(&server).await;
    let here = "https://k.example.com/sign-in/operator?code=kot_";
    assert!(link.starts_with(here), "{link}");
    let mut operator = Visitor::of(&server.url);
    operator.sent_by = vec![("origin", "https://k.example.com".to_owned())];
    let form = [("code", code(&link))];
    let page = operator.submit("/sign-in/operator", &form).await.unwrap();
    let set = page.set_cookie.unwrap();
    assert!(set.starts_with("__Host-konstruct_session=kse_"), "{set}");
    assert!(set.ends_with("; HttpOnly; SameSite=Lax; Secure"), "{set}");
    assert_eq!(status(&mut operator, "/tenants").await, 200);
    operator.cookie = operator.cookie.replace("__Host-", "");
    assert_eq!(status(&mut operator, "/tenants").await, 401);
}

#[tokio::test]
async fn a_changed_password_ends_the_other_sessions() {
    let office = Office::open().await;
    let server = office.start().await;
    let shop = tenant(&server.admin(), "Shop").await;
    let mut ana = joined(&server, shop, "ana", Role::Agent).await;
    let mut phone = Visitor::of(&server.url);
    sign_in(&mut phone, "ana@example.com", PASSWORD).await;
    let mut change = async |current: &str, password: &str| {
        let form = [("current", current), ("password", password)];
        ana.submit("/sign-in/password", &form).await.unwrap().body
    };
    let page = change("a wrong password", "the next password").await;
    assert!(page.contains("The current password is wrong."), "{page}");
    let page = change(PASSWORD, "short").await;
    assert!(
        page.contains("Password: must have 10 to 200 characters"),
        "{page}"
    );
    assert_eq!(status(&mut phone, "/account").await, 200);
    let page = change(PASSWORD, "the next password").await;
    assert!(page.contains("The password was changed"), "{page}");
    assert_eq!(status(&mut phone, "/account").await, 401);
    assert_eq!(status(&mut ana, "/account").await, 200);
    let refused = sign_in(&mut phone, "ana@example.com", PASSWORD).await;
    assert_eq!(refused.status, 403);
    let accepted = sign_in(&mut phone, "ana@example.com", "the next password").await;
    assert_eq!(accepted.status, 303);
}

#[tokio::test]
async fn people_see_and_end_their_own_sessions() {
    let office = Office::open().await;
    let server = office.start().await;
    let shop = tenant(&server.admin(), "Shop").await;
    let mut ana = joined(&server, shop, "ana", Role::Owner).await;
    let mut ben = joined(&server, shop, "ben", Role::Owner).await;
    let mut phone = Visitor::of(&server.url);
    sign_in(&mut phone, "ana@example.com", PASSWORD).await;
    let list = async |visitor: &mut Visitor| {
        let answer = visitor.call("get", "/account/sessions", &Value::Null).await;
        answer.unwrap().1.as_array().unwrap().clone()
    };
    let sessions = list(&mut ana).await;
    let current = |session: &&Value| session["is_current"] == json!(true);
    assert_eq!(
        (sessions.len(), sessions.iter().filter(current).count()),
        (2, 1)
    );
    let other = sessions.iter().find(|session| !current(session)).unwrap();
    let other = other["id"].as_str().unwrap().to_owned();
    let shown = serde_json::to_string(&sessions).unwrap();
    assert!(!shown.contains(&ana.token()[36..]), "{shown}");

    let path = format!("/account/sessions/{other}");
    let nobodys = "/account/sessions/0123456789abcdef";
    let foreign = ben.call("delete", &path, &Value::Null).await.unwrap();
    let missing = ben.call("delete", nobodys, &Value::Null).await.unwrap();
    assert_eq!((foreign.0, &foreign), (404, &missing));
    assert_eq!(list(&mut ben).await.len(), 1);
    // An API token and the operator's token have none of them.
    assert!(server.admin().sessions().await.unwrap().is_empty());
    assert_eq!(
        ana.call("delete", &path, &Value::Null).await.unwrap().0,
        204
    );
    assert_eq!(status(&mut phone, "/account").await, 401);
    // On the page, too.
    sign_in(&mut phone, "ana@example.com", PASSWORD).await;
    let sessions = list(&mut phone).await;
    let other = sessions.iter().find(|session| !current(session)).unwrap();
    let form = [("session", other["id"].as_str().unwrap())];
    let page = phone.submit("/sign-in/sessions/end", &form).await.unwrap();
    assert!(
        page.body.contains("The session was ended."),
        "{}",
        page.body
    );
    assert_eq!(status(&mut ana, "/account").await, 401);
}

#[tokio::test]
async fn the_first_command_prints_a_link_that_works_once() {
    let data = TempDir::new().unwrap();
    let mut command = embedded_command(data.path().join("data"));
    command.env_remove("KONSTRUCT_OPERATOR_TOKEN");
    let server = launch(command).await;
    let line = "Sign in as the operator, once and within 15 minutes: ";
    let link = server.printed.lines().find_map(|it| it.strip_prefix(line));
    let link = link.expect("the link is printed").to_owned();
    let mut operator = Visitor::of(&server.url);
    let page = operator.open(&link).await.unwrap();
    assert!(
        page.status == 200 && page.body.contains("as the operator"),
        "{page:?}"
    );
    let form = [("code", code(&link))];
    let page = operator.submit("/sign-in/operator", &form).await.unwrap();
    assert_eq!(
        (page.status, page.location.as_deref()),
        (303, Some("/sign-in"))
    );
    let page = operator.open("/sign-in").await.unwrap().body;
    assert!(page.contains("signed in as the operator"), "{page}");
    assert_eq!(status(&mut operator, "/tenants").await, 200);
    let new = json!({"name": "Shop"});
    assert_eq!(
        operator.call("post", "/tenants", &new).await.unwrap().0,
        201
    );
    let mut late = Visitor::of(&server.url);
    let page = late.submit("/sign-in/operator", &form).await.unwrap();
    assert_eq!((page.status, late.cookie.as_str()), (404, ""));
    assert!(
        page.body.contains("was used or has expired"),
        "{}",
        page.body
    );
    assert_eq!(late.open(&link).await.unwrap().status, 404);
}

#[tokio::test]
async fn another_operator_token_ends_the_sessions_of_the_old_one() {
    let office = Office::open().await;
    let server = office.start().await;
    let link = operator_link(&server).await;
    let mut operator = Visitor::of(&server.url);
    let form = [("code", code(&link))];
    operator.submit("/sign-in/operator", &form).await.unwrap();
    let link = operator_link(&server).await;
    let form = [("code", code(&link))];
    server.terminate().await;
    for (token, expected) in [(TOKEN, 200), ("another token", 401), (TOKEN, 401)] {
        let mut command = office.command(Wire::OpenAi);
        command.env("KONSTRUCT_OPERATOR_TOKEN", token);
        let server = launch(command).await;
        let mut again = Visitor::of(&server.url);
        again.cookie.clone_from(&operator.cookie);
        assert_eq!(status(&mut again, "/tenants").await, expected, "{token}");
        if expected == 401 {
            let page = again.submit("/sign-in/operator", &form).await.unwrap();
            assert_eq!(page.status, 404);
        }
        server.terminate().await;
    }
}

#[tokio::test]
async fn guessed_codes_are_throttled_and_the_right_one_works() {
    let office = Office::open().await;
    let server = office.start().await;
    let link = operator_link(&server).await;
    let right = code(&link);
    let mut eve = Visitor::of(&server.url);
    let mut statuses = Vec::new();
    // One more is allowed each second, so a slow machine needs more guesses.
    for guess in 0..1_000 {
        if statuses.last() == Some(&429) {
            break;
        }
        // The id of the row is known; the rest is guessed.
        let guess = format!("{}{guess:043}", &right[..36]);
        let page = ["operator", "reset", "invitation"][guess.len() % 3];
        let form = [("code", guess.as_str()), ("password", PASSWORD)];
        let page = eve
            .submit(&format!("/sign-in/{page}"), &form)
            .await
            .unwrap();
        statuses.push(page.status);
    }
    assert_eq!(statuses.first(), Some(&404));
    let twice = eve.open("/sign-in/operator?code=a&code=b").await.unwrap();
    assert!(
        twice.status == 400 && twice.body.contains("not complete"),
        "{twice:?}"
    );
    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
    let mut operator = Visitor::of(&server.url);
    let form = [("code", right)];
    let page = operator.submit("/sign-in/operator", &form).await.unwrap();
    assert_eq!(page.status, 303);
}

#[tokio::test]
async fn a_link_sets_a_new_password_once() {
    let office = Office::open().await;
    let server = office.start().await;
    let admin = server.admin();
    let shop = tenant(&admin, "Shop").await;
    let mut ana = joined(&server, shop, "ana", Role::Agent).await;
    let of = |email: &str| NewSignInLink {
        email: Some(email.into()),
    };
    assert!(
        admin
            .add_sign_in_link(&of("nix@example.com"))
            .await
            .is_err()
    );
    let link = admin
        .add_sign_in_link(&of("ANA@example.com"))
        .await
        .unwrap()
        .link;
    let mut visitor = Visitor::of(&server.url);
    assert_eq!(visitor.open(&link).await.unwrap().status, 200);
    let reset = async |visitor: &mut Visitor, page: &str, password: &str| {
        let form = [("code", code(&link)), ("password", password)];
        let page = visitor.submit(page, &form).await.unwrap();
        (page.status, page.body)
    };
    // It is no link of the operator.
    assert_eq!(reset(&mut visitor, "/sign-in/operator", "").await.0, 404);
    let (status_, page) = reset(&mut visitor, "/sign-in/reset", "short").await;
    assert!(
        status_ == 422 && page.contains("Password: must have"),
        "{page}"
    );
    assert_eq!(status(&mut ana, "/account").await, 200);
    assert_eq!(
        reset(&mut visitor, "/sign-in/reset", "the next password")
            .await
            .0,
        303
    );
    assert_eq!(status(&mut visitor, "/account").await, 200);
    assert_eq!(status(&mut ana, "/account").await, 401);
    assert_eq!(
        reset(&mut ana, "/sign-in/reset", "another password")
            .await
            .0,
        404
    );
    assert_eq!(
        sign_in(&mut ana, "ana@example.com", "the next password")
            .await
            .status,
        303
    );
    // Without a mail server, nobody gets a link by asking for it.
    let page = ana.open("/sign-in/forgot").await.unwrap();
    assert!(
        page.status == 404 && page.body.contains("sends no mail"),
        "{page:?}"
    );
}

#[tokio::test]
async fn a_session_is_the_same_in_every_process() {
    let office = Office::shared().await;
    let (one, two) = (office.start().await, office.start().await);
    let shop = tenant(&one.admin(), "Shop").await;
    let mut here = joined(&one, shop, "ana", Role::Agent).await;
    let mut there = Visitor::of(&two.url);
    there.cookie.clone_from(&here.cookie);
    assert_eq!(status(&mut there, "/account").await, 200);
    there.submit("/sign-out", &[]).await.unwrap();
    assert_eq!(status(&mut here, "/account").await, 401);
    // A link is used once by all of them together.
    let link = operator_link(&one).await;
    let form = [("code", code(&link))];
    let (one, two) = tokio::join!(
        here.submit("/sign-in/operator", &form),
        there.submit("/sign-in/operator", &form)
    );
    let mut statuses = [one.unwrap().status, two.unwrap().status];
    statuses.sort_unstable();
    assert_eq!(statuses, [303, 404]);
}

/// Codes and sessions whose time is over.
#[tokio::test]
async fn nothing_works_after_its_time() {
    let office = Office::embedded().await;
    let server = office.start().await;
    let admin = server.admin();
    let shop = tenant(&admin, "Shop").await;
    let mut ana = joined(&server, shop, "ana", Role::Agent).await;
    let invitation = invite(&admin, shop, "ben@example.com", Role::Agent).await;
    let link = operator_link(&server).await;
    server.terminate().await;
    let store = office.store();
    let past = serde_json::to_value(Timestamp::from_secs(1)).unwrap();
    for (owner, table, field) in [
        (None, "one_time_codes", "expires_at"),
        (Some(shop), "invitations", "expires_at"),
        (None, "sessions", "used_at"),
    ] {
        let rows = store.rows(owner, table, None, 10).await.unwrap();
        assert!(!rows.is_empty(), "{table}");
        for (key, row) in rows {
            let mut row: Value = serde_json::from_slice(&row).unwrap();
            assert!(row[field].is_number(), "{row}");
            row[field] = past.clone();
            let row = serde_json::to_vec(&row).unwrap();
            store.put_row(owner, table, &key, &row).await.unwrap();
        }
    }
    drop(store);
    let server = office.start().await;
    let cookie = std::mem::replace(&mut ana, Visitor::of(&server.url)).cookie;
    ana.cookie = cookie;
    assert_eq!(status(&mut ana, "/account").await, 401);
    let mut ben = Visitor::of(&server.url);
    let code_of = code(&invitation).to_owned();
    let page = format!("/sign-in/invitation?code={code_of}");
    assert_eq!(ben.open(&page).await.unwrap().status, 404);
    assert_eq!(ben.join(&invitation, "Ben").await.unwrap().status, 404);
    assert!(
        server
            .admin()
            .invitations(shop)
            .await
            .unwrap()
            .items
            .is_empty()
    );
    let form = [("code", code(&link))];
    assert_eq!(
        ben.submit("/sign-in/operator", &form).await.unwrap().status,
        404
    );
    assert_eq!(ben.cookie, "");
}

/// Neither the store's file, nor a row that is opened, nor the log at its most talkative.
#[tokio::test]
async fn no_secret_is_stored_or_logged() {
    let office = Office::embedded().await;
    let log = office.data().with_extension("log");
    let mut command = office.command(Wire::OpenAi);
    command.env("RUST_LOG", "trace");
    command.stderr(Stdio::from(std::fs::File::create(&log).unwrap()));
    let server = launch(command).await;
    let admin = server.admin();
    let shop = tenant(&admin, "Shop").await;
    let used = invite(&admin, shop, "ana@example.com", Role::Owner).await;
    let mut ana = Visitor::of(&server.url);
    ana.open(&used).await.unwrap();
    assert_eq!(ana.join(&used, "Ana").await.unwrap().status, 303);
    let mut other = Visitor::of(&server.url);
    sign_in(&mut other, "ana@example.com", "a planted guess").await;
    sign_in(&mut other, "ana@example.com", PASSWORD).await;
    let open = invite(&admin, shop, "ben@example.com", Role::Owner).await;
    let reset = NewSignInLink {
        email: Some("ana@example.com".into()),
    };
    let reset = admin.add_sign_in_link(&reset).await.unwrap().link;
    let operator = operator_link(&server).await;
    let device = device_token(&mut ana).await;
    assert_eq!(status(&mut ana, "/account").await, 200);
    server.terminate().await;

    let mut secrets = vec![PASSWORD.to_owned(), "a planted guess".to_owned()];
    for token in [
        code(&used),
        code(&open),
        code(&reset),
        code(&operator),
        ana.token(),
        other.token(),
        &device,
    ] {
        // The part that names the row is no secret.
        secrets.push(token[36..].to_owned());
    }
    let contains = |bytes: &[u8], secret: &str| {
        let mut windows = bytes.windows(secret.len());
        windows.any(|window| window == secret.as_bytes())
    };
    let logged = std::fs::read(&log).unwrap();
    assert!(contains(&logged, "TRACE") || contains(&logged, "DEBUG"));
    let file = std::fs::read(office.data().join("konstruct.redb")).unwrap();
    for secret in &secrets {
        assert!(!contains(&logged, secret), "{secret} is logged");
        assert!(!contains(&file, secret), "{secret} is in the file");
    }
    assert!(!contains(&file, "ana@example.com"));
    let store = office.store();
    let mut rows = 0;
    for (owner, table) in [
        (None, "logins"),
        (None, "login_emails"),
        (None, "memberships"),
        (None, "sessions"),
        (None, "one_time_codes"),
        (None, "device_codes"),
        (None, "requests"),
        (Some(shop), "members"),
        (Some(shop), "invitations"),
        (Some(shop), "audit"),
    ] {
        for (key, row) in store.rows(owner, table, None, 1_000).await.unwrap() {
            assert!(!key.contains("ana"), "{table} {key}");
            for secret in &secrets {
                assert!(!contains(&row, secret), "{secret} is in {table}");
            }
            rows += 1;
        }
    }
    assert!(rows > 10, "{rows}");
}
