//! Members: who is let in, what they may do, and how they leave.

use konstruct_admin_api::{Client, Member, NewInvitation, NewTenant, Role};
use konstruct_core::{ErrorKind, TenantId, id::MemberId};
use serde_json::{Value, json};

use crate::{
    office::{Office, Server},
    visitor::{PASSWORD, Visitor, code},
};

pub(crate) async fn tenant(admin: &Client, name: &str) -> TenantId {
    let new = NewTenant { name: name.into() };
    admin.add_tenant(&new).await.unwrap().id
}

pub(crate) async fn invite(admin: &Client, tenant: TenantId, email: &str, role: Role) -> String {
    let new = NewInvitation {
        email: email.into(),
        role,
    };
    let issued = admin.invite(tenant, &new).await.unwrap();
    issued
        .link
        .expect("without a mail server, the link is shown")
}

/// Lets somebody join a tenant. Returns their browser.
pub(crate) async fn joined(server: &Server, tenant: TenantId, name: &str, role: Role) -> Visitor {
    let email = format!("{name}@example.com");
    let link = invite(&server.admin(), tenant, &email, role).await;
    let mut visitor = Visitor::of(&server.url);
    let shown = visitor.join(&link, name).await.unwrap();
    assert_eq!(shown.status, 303, "{}", shown.body);
    visitor
}

async fn member(admin: &Client, tenant: TenantId, name: &str) -> Member {
    let members = admin.members(tenant).await.unwrap().items;
    let found = members.into_iter().find(|member| member.name == name);
    found.expect("the member is listed")
}

#[tokio::test]
async fn an_invited_person_acts_in_their_role() {
    let office = Office::open().await;
    let server = office.start().await;
    let admin = server.admin();
    let (own, foreign) = (tenant(&admin, "Shop").await, tenant(&admin, "Other").await);
    let link = invite(&admin, own, " Ana@Example.com", Role::Agent).await;
    let open = admin.invitations(own).await.unwrap().items;
    assert_eq!((open.len(), open[0].email.as_str()), (1, "ana@example.com"));
    let shown = serde_json::to_string(&open).unwrap();
    assert!(!shown.contains(&code(&link)[36..]), "{shown}");

    let mut ana = Visitor::of(&server.url);
    // Opening the link, as a program that checks mail does, uses nothing up.
    for _ in 0..2 {
        let page = ana.open(&link).await.unwrap();
        assert_eq!(page.status, 200);
        assert!(
            page.body.contains("invited to Shop as agent"),
            "{}",
            page.body
        );
        let policy = page.policy.unwrap();
        assert!(
            policy.starts_with("default-src 'none'; style-src 'self';"),
            "{policy}"
        );
    }
    let page = ana.join(&link, "Ana").await.unwrap();
    assert_eq!(
        (page.status, page.location.as_deref()),
        (303, Some("/sign-in"))
    );
    let listed = admin.members(own).await.unwrap().items;
    let [member] = listed.as_slice() else {
        panic!("{listed:?}")
    };
    assert_eq!((member.name.as_str(), member.role), ("Ana", Role::Agent));
    assert_eq!(member.email, "ana@example.com");
    assert!(admin.invitations(own).await.unwrap().items.is_empty());
    let page = ana.open("/sign-in").await.unwrap().body;
    assert!(
        page.contains("signed in as Ana (ana@example.com)"),
        "{page}"
    );
    assert!(page.contains("<li>Shop: agent</li>"), "{page}");

    let (status, account) = ana.call("get", "/account", &Value::Null).await.unwrap();
    assert_eq!((status, &account["id"]), (200, &json!(member.id)));
    assert_eq!(
        account["tenants"],
        json!([{"tenant": own, "name": "Shop", "role": "agent"}])
    );
    let mut statuses = Vec::new();
    for (method, path) in [
        ("get", format!("/tenants/{own}")),
        ("get", format!("/tenants/{own}/members")),
        ("post", format!("/tenants/{own}/questions")),
        ("put", format!("/tenants/{own}/members/{}", member.id)),
        ("delete", format!("/tenants/{own}/members/{}", member.id)),
        ("get", format!("/tenants/{own}/invitations")),
        ("get", "/tenants".into()),
    ] {
        statuses.push(ana.call(method, &path, &json!({})).await.unwrap().0);
    }
    assert_eq!(statuses, [200, 200, 422, 403, 403, 403, 403]);
    // Another tenant answers like one that does not exist.
    let mut ask = async |tenant: TenantId| {
        let path = format!("/tenants/{tenant}/members");
        ana.call("get", &path, &Value::Null).await.unwrap()
    };
    let (theirs, nobodys) = (ask(foreign).await, ask(TenantId::new()).await);
    assert_eq!((theirs.0, &theirs), (404, &nobodys));
}

#[tokio::test]
async fn a_tenant_keeps_an_owner() {
    let office = Office::open().await;
    let server = office.start().await;
    let admin = server.admin();
    let shop = tenant(&admin, "Shop").await;
    joined(&server, shop, "ana", Role::Owner).await;
    let ana = member(&admin, shop, "ana").await;
    let refused = |error: konstruct_core::Error| {
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        let way_out = "this is the last owner; make another member an owner first";
        assert_eq!(error.message(), way_out);
    };
    refused(
        admin
            .change_member(shop, ana.id, 1, Role::Admin)
            .await
            .unwrap_err(),
    );
    refused(admin.remove_member(shop, ana.id).await.unwrap_err());
    // To stay an owner is no change of owners.
    let same = admin
        .change_member(shop, ana.id, 1, Role::Owner)
        .await
        .unwrap();
    assert_eq!(same.version, 2);

    joined(&server, shop, "ben", Role::Owner).await;
    let ben = member(&admin, shop, "ben").await;
    // Two owners who remove each other at the same time: one stays.
    let (one, two) = tokio::join!(
        admin.remove_member(shop, ana.id),
        admin.remove_member(shop, ben.id)
    );
    let lost = [one, two]
        .into_iter()
        .filter_map(Result::err)
        .collect::<Vec<_>>();
    assert_eq!(lost.len(), 1, "{lost:?}");
    lost.into_iter().for_each(refused);
    assert_eq!(admin.members(shop).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn a_role_is_changed_by_version() {
    let office = Office::open().await;
    let server = office.start().await;
    let admin = server.admin();
    let shop = tenant(&admin, "Shop").await;
    let mut ana = joined(&server, shop, "ana", Role::Owner).await;
    let mut ben = joined(&server, shop, "ben", Role::Viewer).await;
    let id = member(&admin, shop, "ben").await.id;
    let path = format!("/tenants/{shop}/members/{id}");
    let body = json!({"role": "admin"});
    // Without the version, with the operator's role, and somebody who does not exist.
    let (status, answer) = ana.call("put", &path, &body).await.unwrap();
    assert_eq!(
        (status, &answer["current"]["role"]),
        (428, &json!("viewer"))
    );
    let (status, answer) = ana
        .call("put", &path, &json!({"role": "operator"}))
        .await
        .unwrap();
    assert_eq!((status, &answer["field"]), (422, &json!("role")));
    let error = admin
        .change_member(shop, id, 7, Role::Admin)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    let error = admin
        .change_member(shop, MemberId::new(), 1, Role::Admin)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");

    let documents = format!("/tenants/{shop}/documents");
    let faq = json!({"title": "FAQ", "format": "markdown", "text": "# Q\nA."});
    assert_eq!(ben.call("post", &documents, &faq).await.unwrap().0, 403);
    let changed = admin.change_member(shop, id, 1, Role::Admin).await.unwrap();
    assert_eq!((changed.version, changed.role), (2, Role::Admin));
    assert_eq!(ben.call("post", &documents, &faq).await.unwrap().0, 201);
    // The audit log names the member.
    let log = admin.audit(shop).await.unwrap().items;
    let who = serde_json::to_value(&log[0].who).unwrap();
    assert_eq!(who, json!({"kind": "member", "id": id, "name": "ben"}));
    assert_eq!(
        (log[0].operation.as_str(), log[0].role),
        ("putDocument", Role::Admin)
    );
}

#[tokio::test]
async fn an_invitation_is_used_once_by_the_owner_of_its_address() {
    let office = Office::open().await;
    let server = office.start().await;
    let admin = server.admin();
    let shop = tenant(&admin, "Shop").await;
    let mut eve = joined(&server, shop, "eve", Role::Viewer).await;
    let link = invite(&admin, shop, "ana@example.com", Role::Admin).await;
    // Somebody else who is signed in.
    let page = eve.open(&link).await.unwrap();
    assert_eq!(page.status, 409);
    assert!(
        page.body.contains("is for ana@example.com"),
        "{}",
        page.body
    );
    assert_eq!(eve.join(&link, "Eve").await.unwrap().status, 409);

    // At once: one joins.
    let mut visitors = vec![Visitor::of(&server.url); 4];
    let joining = visitors
        .iter_mut()
        .map(|visitor| visitor.join(&link, "Ana"));
    let joined = futures_util::future::join_all(joining).await;
    let statuses: Vec<u16> = joined
        .into_iter()
        .map(|page| page.unwrap().status)
        .collect();
    assert_eq!(
        statuses.iter().filter(|status| **status == 303).count(),
        1,
        "{statuses:?}"
    );
    assert!(
        statuses
            .iter()
            .all(|status| [303, 404, 409].contains(status)),
        "{statuses:?}"
    );
    assert_eq!(admin.members(shop).await.unwrap().items.len(), 2);
    let mut late = Visitor::of(&server.url);
    let page = late.join(&link, "Ana").await.unwrap();
    assert_eq!(page.status, 404);
    assert!(
        page.body.contains("was used, revoked or has expired"),
        "{}",
        page.body
    );
    assert_eq!(late.open(&link).await.unwrap().status, 404);
    assert_eq!(late.cookie, "");

    let member = NewInvitation {
        email: "ANA@example.com".into(),
        role: Role::Viewer,
    };
    let error = admin.invite(shop, &member).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    // A revoked and a replaced one.
    let first = invite(&admin, shop, "ben@example.com", Role::Admin).await;
    let second = invite(&admin, shop, "ben@example.com", Role::Viewer).await;
    assert_eq!(late.join(&first, "Ben").await.unwrap().status, 404);
    let open = admin.invitations(shop).await.unwrap().items;
    assert_eq!(open.len(), 1);
    admin.revoke_invitation(shop, &open[0].id).await.unwrap();
    assert_eq!(late.join(&second, "Ben").await.unwrap().status, 404);
    let again = admin.revoke_invitation(shop, &open[0].id).await;
    assert_eq!(again.unwrap_err().kind(), ErrorKind::NotFound);
    // Nobody's mailbox is filled.
    for _ in 0..3 {
        invite(&admin, shop, "ben@example.com", Role::Viewer).await;
    }
    let ben = NewInvitation {
        email: "ben@example.com".into(),
        role: Role::Viewer,
    };
    let error = admin.invite(shop, &ben).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RateLimited, "{error}");
}

#[tokio::test]
async fn bad_input_invites_nobody_and_lets_nobody_join() {
    let office = Office::open().await;
    let server = office.start().await;
    let admin = server.admin();
    let shop = tenant(&admin, "Shop").await;
    for (email, role, field) in [
        ("ana", Role::Viewer, "email"),
        (
            "ana@example.com\r\nBcc: eve@example.com",
            Role::Viewer,
            "email",
        ),
        ("ana@example.com", Role::Operator, "role"),
    ] {
        let new = NewInvitation {
            email: email.into(),
            role,
        };
        let error = admin.invite(shop, &new).await.unwrap_err();
        assert!(error.message().starts_with(field), "{email}: {error}");
    }
    let link = invite(&admin, shop, "ana@example.com", Role::Viewer).await;
    let mut ana = Visitor::of(&server.url);
    for (name, password, problem) in [
        ("", PASSWORD, "Name: must be 1 to 100 characters"),
        ("Ana", "short", "Password: must have 10 to 200 characters"),
    ] {
        let form = [
            ("code", code(&link)),
            ("name", name),
            ("password", password),
        ];
        let page = ana.submit("/sign-in/invitation", &form).await.unwrap();
        assert_eq!(page.status, 422);
        assert!(page.body.contains(problem), "{}", page.body);
        assert!(page.body.contains("role=\"alert\"") && page.body.contains(code(&link)));
    }
    let name = "<script>alert(1)</script>";
    assert_eq!(ana.join(&link, name).await.unwrap().status, 303);
    let page = ana.open("/sign-in").await.unwrap().body;
    assert!(
        page.contains("&lt;script&gt;") && !page.contains("<script>"),
        "{page}"
    );
}

#[tokio::test]
async fn one_login_opens_several_tenants() {
    let office = Office::open().await;
    let server = office.start().await;
    let admin = server.admin();
    let (shop, cafe) = (tenant(&admin, "Shop").await, tenant(&admin, "Cafe").await);
    let mut ana = joined(&server, shop, "ana", Role::Owner).await;
    let link = invite(&admin, cafe, "ana@example.com", Role::Viewer).await;
    // In another browser, the address must prove who it is.
    let mut other = Visitor::of(&server.url);
    let page = other.open(&link).await.unwrap().body;
    assert!(
        page.contains("has a password on this server already"),
        "{page}"
    );
    let mut form = [("code", code(&link)), ("password", "another password")];
    let page = other.submit("/sign-in/invitation", &form).await.unwrap();
    assert_eq!((page.status, other.cookie.as_str()), (422, ""));
    form[1].1 = PASSWORD;
    assert_eq!(
        other
            .submit("/sign-in/invitation", &form)
            .await
            .unwrap()
            .status,
        303
    );
    // A third invitation, signed in.
    let bar = tenant(&admin, "Bar").await;
    let link = invite(&admin, bar, "ana@example.com", Role::Admin).await;
    let form = [("code", code(&link))];
    assert_eq!(
        ana.submit("/sign-in/invitation", &form)
            .await
            .unwrap()
            .status,
        303
    );
    let account = ana.call("get", "/account", &Value::Null).await.unwrap().1;
    let mut tenants: Vec<(&str, &str)> = account["tenants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|of| (of["name"].as_str().unwrap(), of["role"].as_str().unwrap()))
        .collect();
    tenants.sort_unstable();
    assert_eq!(
        tenants,
        [("Bar", "admin"), ("Cafe", "viewer"), ("Shop", "owner")]
    );

    // It ends with the last one: by a removal, and by the removal of a tenant.
    let id = member(&admin, bar, "ana").await.id;
    joined(&server, shop, "ben", Role::Owner).await;
    admin.remove_member(shop, id).await.unwrap();
    let path = |tenant: TenantId| format!("/tenants/{tenant}");
    assert_eq!(
        ana.call("get", &path(shop), &Value::Null).await.unwrap().0,
        404
    );
    assert_eq!(
        ana.call("get", &path(bar), &Value::Null).await.unwrap().0,
        200
    );
    admin.remove_tenant(bar).await.unwrap();
    assert_eq!(
        ana.call("get", "/account", &Value::Null).await.unwrap().0,
        200
    );
    admin.remove_member(cafe, id).await.unwrap();
    for visitor in [&mut ana, &mut other] {
        assert_eq!(
            visitor
                .call("get", "/account", &Value::Null)
                .await
                .unwrap()
                .0,
            401
        );
        assert_eq!(
            visitor
                .call("get", &path(cafe), &Value::Null)
                .await
                .unwrap()
                .0,
            401
        );
    }
    let form = [("email", "ana@example.com"), ("password", PASSWORD)];
    assert_eq!(ana.submit("/sign-in", &form).await.unwrap().status, 403);
    // And begins anew with the next.
    let mut again = joined(&server, cafe, "ana", Role::Viewer).await;
    let account = again.call("get", "/account", &Value::Null).await.unwrap().1;
    assert_ne!(account["id"], json!(id));
}
