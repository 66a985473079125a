//! The tenants' own shares of the workers, on PostgreSQL.

use std::{num::NonZeroU32, time::Duration};

use konstruct_core::{
    ConnectionId, TenantId,
    id::WorkerId,
    store::{ClaimRequest, Mailbox as _, Share},
};

use crate::{
    common::{message, shares::share_suite},
    database::Database,
};

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_to_shares() {
    Database::with(async |database| {
        share_suite(database.builder().connect().await.unwrap()).await;
    })
    .await;
}

/// Claims of several processes at the same time never exceed a limit, and wait for each other without a deadlock.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_limit_holds_across_processes() {
    Database::with(async |database| {
        let tenants: Vec<_> = (0..4).map(|_| TenantId::new()).collect();
        let store = database.builder().connect().await.unwrap();
        for tenant in &tenants {
            let connection = ConnectionId::new();
            for nth in 0..12 {
                let event = message(
                    connection,
                    &format!("C{nth}"),
                    &format!("{tenant} {nth}"),
                    "hello",
                );
                store.accept(*tenant, vec![event]).await.unwrap();
            }
        }
        let mut claiming = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let store = database.builder().connections(2).connect().await.unwrap();
            claiming.spawn(async move {
                let mut held = Vec::new();
                for _ in 0..40 {
                    let request = ClaimRequest {
                        share: Share {
                            most: NonZeroU32::new(3),
                            ..Share::default()
                        },
                        ..ClaimRequest::new(WorkerId::new(), Duration::from_secs(60))
                    };
                    let claimed = store.claim(request).await.unwrap();
                    held.extend(claimed.conversation().map(|claim| claim.tenant));
                }
                held
            });
        }
        let held = claiming.join_all().await.concat();
        for tenant in tenants {
            let own = held.iter().filter(|held| **held == tenant).count();
            assert_eq!(own, 3, "claims of a tenant that may have three");
        }
    })
    .await;
}
