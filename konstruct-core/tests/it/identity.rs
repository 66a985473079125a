//! A person who gets another address stays the same person, if the vendor says so.

use std::{sync::Arc, time::Duration};

use futures_util::TryStreamExt as _;
use konstruct_core::{
    Body, Clock as _, ConnectionId, Depth, Erase, Lifecycle, PersonId, RoutedEvent, TenantId,
    Timestamp,
    store::{Accepted, Archive as _, Exported, InboxItem, Mailbox as _},
    testkit::{ReferenceStore, VirtualClock, message},
};

struct Numbers {
    clock: VirtualClock,
    store: ReferenceStore,
    tenant: TenantId,
    connection: ConnectionId,
}

impl Numbers {
    fn new() -> Self {
        let clock = VirtualClock::default();
        Self {
            store: ReferenceStore::new(Arc::new(clock.clone())),
            clock,
            tenant: TenantId::new(),
            connection: ConnectionId::new(),
        }
    }

    async fn accept(&self, tenant: TenantId, event: konstruct_core::Inbound) -> Accepted {
        let connection = self.connection;
        let routed = vec![RoutedEvent { connection, event }];
        self.store.accept(tenant, routed).await.unwrap()[0]
    }

    async fn says_at(&self, address: &str, id: &str, at: Timestamp) -> Accepted {
        let event = message(address, id, "hello", at);
        self.accept(self.tenant, event).await
    }

    async fn says(&self, address: &str, id: &str) {
        let accepted = self.says_at(address, id, self.clock.now()).await;
        assert!(matches!(accepted, Accepted::New { .. }), "{accepted:?}");
    }

    /// The vendor says that a person has another address.
    async fn changes(&self, tenant: TenantId, old: &str, new: &str) {
        let mut event = message(old, &format!("{old}-{new}"), "", self.clock.now());
        let change = Lifecycle::IdentityChanged {
            old: old.into(),
            new: new.into(),
        };
        event.body = Body::Lifecycle { change };
        self.accept(tenant, event).await;
    }

    async fn exported(&self) -> Vec<Exported> {
        let exported = self.store.export(self.tenant).await.unwrap();
        exported.try_collect().await.unwrap()
    }

    /// Who said it, by the id of the event.
    async fn who(&self, id: &str) -> PersonId {
        let all = self.exported().await.into_iter();
        let found = all.filter_map(|item| match item {
            Exported::Inbox(InboxItem {
                event: Some(routed),
                persons,
                ..
            }) => (routed.event.id == id).then(|| persons[0]),
            _ => None,
        });
        found.last().unwrap()
    }
}

#[tokio::test]
async fn a_linked_address_is_the_persons() {
    let numbers = Numbers::new();
    numbers.says("1", "e1").await;
    numbers.changes(numbers.tenant, "1", "2").await;
    numbers.says("2", "e2").await;
    numbers.changes(numbers.tenant, "2", "3").await;
    numbers.says("3", "e3").await;
    numbers.says("4", "e4").await;
    let person = numbers.who("e1").await;
    assert_eq!(numbers.who("e2").await, person);
    assert_eq!(numbers.who("e3").await, person, "linked by way of another");
    assert_ne!(numbers.who("e4").await, person, "somebody else");
}

#[tokio::test]
async fn what_a_vendor_says_to_one_tenant_links_nothing_of_another() {
    let numbers = Numbers::new();
    numbers.says("1", "e1").await;
    numbers.changes(TenantId::new(), "1", "2").await;
    numbers.says("2", "e2").await;
    assert_ne!(numbers.who("e2").await, numbers.who("e1").await);
}

#[tokio::test]
async fn two_who_were_heard_stay_two_persons() {
    let numbers = Numbers::new();
    numbers.says("1", "e1").await;
    numbers.says("2", "e2").await;
    let two = numbers.who("e2").await;
    numbers.changes(numbers.tenant, "1", "2").await;
    numbers.says("2", "e3").await;
    assert_eq!(numbers.who("e3").await, two);
    assert_ne!(numbers.who("e1").await, two);
}

#[tokio::test]
async fn a_person_is_forgotten_under_all_addresses() {
    let numbers = Numbers::new();
    numbers.says("1", "e1").await;
    numbers.changes(numbers.tenant, "1", "2").await;
    numbers.says("2", "e2").await;
    let person = numbers.who("e1").await;
    let before = numbers.clock.now();
    numbers.clock.advance(Duration::from_secs(60));
    let what = Erase::Person { person };
    let receipt = numbers.store.erase(numbers.tenant, what, Depth::Logical);
    assert_eq!(receipt.await.unwrap().records, 3);
    let inbox = |item: &Exported| matches!(item, Exported::Inbox(_));
    assert!(!numbers.exported().await.iter().any(inbox));
    for address in ["1", "2"] {
        let id = format!("late-{address}");
        let late = numbers.says_at(address, &id, before).await;
        assert_eq!(late, Accepted::Duplicate, "a late delivery");
    }
    numbers.says("2", "e3").await;
    assert_ne!(numbers.who("e3").await, person, "a new person");
}

#[tokio::test]
async fn a_link_moves_with_the_tenant() {
    let numbers = Numbers::new();
    numbers.says("1", "e1").await;
    numbers.changes(numbers.tenant, "1", "2").await;
    let moved = Numbers {
        tenant: numbers.tenant,
        connection: numbers.connection,
        ..Numbers::new()
    };
    let exported = numbers.exported().await;
    moved.store.import(moved.tenant, exported).await.unwrap();
    moved.says("2", "e2").await;
    assert_eq!(moved.who("e2").await, numbers.who("e1").await);
}
