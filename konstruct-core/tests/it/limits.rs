//! The rate limiter of one process: a request counts against all of its keys or none.

use std::{sync::Arc, time::Duration};

use konstruct_core::{
    TenantId,
    limit::{Decision, LimitKey, LocalLimiter, Quota, RateLimiter},
    testkit::VirtualClock,
};

fn key(tenant: TenantId, of: &str) -> LimitKey {
    LimitKey {
        tenant,
        of: of.into(),
    }
}

fn quota(count: u32, burst: u32) -> Quota {
    Quota::new(count, Duration::from_secs(1), burst).unwrap()
}

#[tokio::test]
async fn a_refusal_by_one_key_counts_against_no_other() {
    let clock = VirtualClock::default();
    let limiter = LocalLimiter::new(Arc::new(clock.clone()));
    let tenant = TenantId::new();
    let (wide, narrow) = (
        (key(tenant, "turns"), quota(10, 3)),
        (key(tenant, "con"), quota(1, 1)),
    );
    let both = [wide.clone(), narrow.clone()];
    assert_eq!(limiter.check(&both).await.unwrap(), Decision::Allowed);
    let retry_after = Duration::from_secs(1);
    for _ in 0..10 {
        let refused = limiter.check(&both).await.unwrap();
        assert_eq!(
            refused,
            Decision::Limited {
                key: 1,
                retry_after
            }
        );
    }
    for _ in 0..2 {
        let alone = limiter.check(std::slice::from_ref(&wide)).await.unwrap();
        assert_eq!(
            alone,
            Decision::Allowed,
            "the refusals did not count against it"
        );
    }
    assert!(matches!(
        limiter.check(&[wide]).await.unwrap(),
        Decision::Limited { key: 0, .. }
    ));
    clock.advance(retry_after);
    assert_eq!(limiter.check(&both).await.unwrap(), Decision::Allowed);
}

#[tokio::test]
async fn the_longest_wait_is_returned() {
    let limiter = LocalLimiter::new(Arc::new(VirtualClock::default()));
    let tenant = TenantId::new();
    let keys = [
        (key(tenant, "a"), quota(2, 1)),
        (key(tenant, "b"), quota(1, 1)),
        (key(tenant, "c"), quota(4, 1)),
    ];
    assert_eq!(limiter.check(&keys).await.unwrap(), Decision::Allowed);
    let retry_after = Duration::from_secs(1);
    assert_eq!(
        limiter.check(&keys).await.unwrap(),
        Decision::Limited {
            key: 1,
            retry_after
        }
    );
}

#[tokio::test]
async fn tenants_are_counted_separately_and_duplicate_keys_twice() {
    let limiter = LocalLimiter::new(Arc::new(VirtualClock::default()));
    let (one, other) = (TenantId::new(), TenantId::new());
    let quota = quota(1, 2);
    for _ in 0..2 {
        let taken = limiter.check(&[(key(one, "turns"), quota)]).await.unwrap();
        assert_eq!(taken, Decision::Allowed);
    }
    let refused = limiter.check(&[(key(one, "turns"), quota)]).await.unwrap();
    assert!(matches!(refused, Decision::Limited { .. }));
    let twice = [(key(other, "turns"), quota), (key(other, "turns"), quota)];
    assert_eq!(limiter.check(&twice).await.unwrap(), Decision::Allowed);
    let third = limiter.check(&twice[..1]).await.unwrap();
    assert!(
        matches!(third, Decision::Limited { .. }),
        "both are counted"
    );
}

#[tokio::test]
async fn many_idle_keys_are_forgotten_and_busy_ones_are_not() {
    let clock = VirtualClock::default();
    let limiter = LocalLimiter::new(Arc::new(clock.clone()));
    let tenant = TenantId::new();
    for n in 0..10_000 {
        let keys = [(key(tenant, &n.to_string()), quota(1, 1))];
        assert_eq!(limiter.check(&keys).await.unwrap(), Decision::Allowed);
    }
    clock.advance(Duration::from_millis(500));
    for n in 0..10_000 {
        let keys = [(key(tenant, &n.to_string()), quota(1, 1))];
        assert!(
            matches!(
                limiter.check(&keys).await.unwrap(),
                Decision::Limited { .. }
            ),
            "{n}"
        );
    }
}
