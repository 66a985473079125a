//! The tenants' own shares of the workers, on any store.

use std::{num::NonZeroU32, time::Duration};

use konstruct_core::{
    ConnectionId, Depth, Erase, TenantId,
    store::{Claim, Share, Store},
};
use konstruct_memory::ShareStore;

use super::{claimed, message};

async fn claim(store: &impl Store) -> Option<Claim> {
    claimed(store, Duration::from_secs(60)).await
}

async fn write(store: &impl Store, tenant: TenantId, conversations: usize) {
    let connection = ConnectionId::new();
    for nth in 0..conversations {
        let event = message(
            connection,
            &format!("C{nth}"),
            &format!("{tenant} {nth}"),
            "hello",
        );
        store.accept(tenant, vec![event]).await.unwrap();
    }
}

/// Tests a store without conversations.
pub(crate) async fn share_suite<S: Store + ShareStore>(store: S) {
    let (limited, heavy, other) = (TenantId::new(), TenantId::new(), TenantId::new());
    let limit = |most| Share {
        most: NonZeroU32::new(most),
        ..Share::default()
    };
    assert_eq!(store.share(limited).await.unwrap(), None);
    store.put_share(limited, Some(limit(1))).await.unwrap();
    assert_eq!(store.share(limited).await.unwrap(), Some(limit(1)));
    assert_eq!(store.share(other).await.unwrap(), None);

    write(&store, limited, 4).await;
    let first = claim(&store).await.unwrap();
    assert!(claim(&store).await.is_none(), "the tenant may have one");
    write(&store, other, 2).await;
    for _ in 0..2 {
        assert_eq!(claim(&store).await.unwrap().tenant, other);
    }
    // A change applies at once, to what waits too.
    store.put_share(limited, Some(limit(2))).await.unwrap();
    assert_eq!(claim(&store).await.unwrap().tenant, limited);
    assert!(claim(&store).await.is_none(), "the tenant may have two");
    store.release(&first, 1).await.unwrap();
    assert_eq!(claim(&store).await.unwrap().tenant, limited);
    store.put_share(limited, None).await.unwrap();
    assert_eq!(store.share(limited).await.unwrap(), None);
    assert_eq!(claim(&store).await.unwrap().tenant, limited);

    // A tenant with a weight gets as many more in its turn.
    let weight = Share {
        weight: NonZeroU32::new(3).unwrap(),
        ..Share::default()
    };
    store.put_share(heavy, Some(weight)).await.unwrap();
    let light = TenantId::new();
    write(&store, heavy, 6).await;
    write(&store, light, 2).await;
    let mut weights = Vec::new();
    for _ in 0..8 {
        let claim = claim(&store).await.unwrap();
        assert_eq!(claim.tenant == heavy, claim.weight.get() == 3);
        weights.push(claim.weight.get());
    }
    let turns: Vec<_> = weights.chunk_by(PartialEq::eq).map(<[_]>::len).collect();
    assert!(turns == [3, 1, 3, 1] || turns == [1, 3, 1, 3], "{turns:?}");

    // It is erased with its tenant.
    store
        .erase(heavy, Erase::Tenant, Depth::Logical)
        .await
        .unwrap();
    assert_eq!(store.share(heavy).await.unwrap(), None);
}
