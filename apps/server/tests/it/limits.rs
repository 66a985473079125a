//! Rate limits with a real Redis server, which is stopped, paused and started again.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::try_join_all;
use konstruct_core::{
    Secret, SystemClock, TenantId,
    limit::{Decision, LimitKey, LocalLimiter, Quota, RateLimiter},
    testkit::VirtualClock,
};
use konstruct_server::{BUSINESS_TENANT, RedisLimiter};
use tempfile::TempDir;

use crate::office::{CUSTOMER, NUMBER, Office, TOKEN, Wire, eventually, http, launch};

/// A Redis server that stores nothing.
struct Redis {
    folder: TempDir,
    child: Option<Child>,
}

impl Redis {
    async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let mut redis = Self {
            folder,
            child: None,
        };
        redis.restart().await;
        redis
    }

    fn socket(&self) -> std::path::PathBuf {
        self.folder.path().join("socket")
    }

    fn url(&self) -> Secret {
        Secret::new(format!("redis+unix://{}", self.socket().display()))
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    async fn restart(&mut self) {
        self.stop();
        let socket = self.socket();
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no"])
            .args([Path::new("--unixsocket"), &socket])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server: install it with  .ci/redis start");
        self.child = Some(child);
        eventually(async || std::os::unix::net::UnixStream::connect(&socket).is_ok()).await;
    }

    async fn limiter(&self) -> RedisLimiter {
        let clock = Arc::new(SystemClock);
        RedisLimiter::open(&self.url(), clock).await.unwrap()
    }

    /// Runs a command of Redis.
    fn run(&self, command: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .arg("-s")
            .arg(self.socket())
            .args(command)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A quota that is not restored while a test runs.
fn an_hour(count: u32) -> Quota {
    Quota::new(count, Duration::from_secs(3_600), count).unwrap()
}

fn key(tenant: TenantId, of: &str, count: u32) -> (LimitKey, Quota) {
    let of = of.into();
    (LimitKey { tenant, of }, an_hour(count))
}

async fn allows(limiter: &impl RateLimiter, keys: &[(LimitKey, Quota)]) -> bool {
    limiter.check(keys).await.unwrap() == Decision::Allowed
}

/// Returns how many requests are allowed, at most 100.
async fn allowed(limiter: &impl RateLimiter, keys: &[(LimitKey, Quota)]) -> usize {
    let mut count = 0;
    while count < 100 && allows(limiter, keys).await {
        count += 1;
    }
    count
}

#[tokio::test]
async fn redis_decides_like_the_limiter_of_a_process() {
    let redis = Redis::start().await;
    let shared = redis.limiter().await;
    let local = LocalLimiter::new(Arc::new(VirtualClock::default()));
    let tenants = [TenantId::new(), TenantId::new()];
    let mut limited = 0;
    let requests: Vec<_> = (0..400_usize)
        .map(|n| {
            let tenant = tenants[n % 2];
            let (a, b) = (format!("a{}", n % 7), format!("b{}", n % 3));
            let mut keys = vec![
                key(tenant, &a, 25),
                key(tenant, &b, 40),
                key(tenant, "all", 120),
            ];
            if n % 5 == 0 {
                keys.push(keys[0].clone());
            }
            keys
        })
        .collect();
    // Requests at the same time are decided in one call, in their order.
    let mut decisions = Vec::new();
    for at_once in requests.chunks(40) {
        decisions.extend(
            try_join_all(at_once.iter().map(|keys| shared.check(keys)))
                .await
                .unwrap(),
        );
    }
    for (n, (one, keys)) in decisions.into_iter().zip(&requests).enumerate() {
        let other = local.check(keys).await.unwrap();
        match (one, other) {
            (Decision::Allowed, Decision::Allowed) => {}
            (
                Decision::Limited { key, retry_after },
                Decision::Limited {
                    key: same,
                    retry_after: virtually,
                },
            ) => {
                limited += 1;
                assert_eq!(key, same, "{n}");
                // The clock of Redis went on.
                let apart = virtually.abs_diff(retry_after);
                assert!(apart < Duration::from_secs(60), "{n}: {apart:?}");
            }
            different => panic!("{n}: {different:?}"),
        }
    }
    assert!((50..350).contains(&limited), "{limited}");
    let keys = redis.run(&["keys", "*"]);
    assert!(keys.contains("konstruct:limit:4096:"), "{keys}");
    for key in keys.split_whitespace() {
        let ttl: i64 = redis.run(&["ttl", key]).trim().parse().unwrap();
        assert!((1..=4 * 3_600).contains(&ttl), "{key} expires in {ttl} s");
    }
    let mixed = [key(tenants[0], "a", 1), key(tenants[1], "a", 1)];
    assert!(shared.check(&mixed).await.is_err());
}

#[tokio::test]
async fn two_processes_share_a_limit() {
    let redis = Redis::start().await;
    let (one, other) = (redis.limiter().await, redis.limiter().await);
    let keys = [key(TenantId::new(), "turn:tenant", 20)];
    let (count, another) = tokio::join!(allowed(&one, &keys), allowed(&other, &keys));
    assert_eq!(count + another, 20);
    let neighbour = [key(TenantId::new(), "turn:tenant", 20)];
    assert_eq!(allowed(&other, &neighbour).await, 20);
    // More limits than fit into a call.
    let keys = [key(TenantId::new(), "turn:tenant", 600)];
    let many = try_join_all((0..2_500).map(|_| one.check(&keys))).await;
    let many = many.unwrap().into_iter();
    let admitted = many.filter(|one| *one == Decision::Allowed).count();
    assert_eq!(admitted, 600);
}

#[tokio::test]
async fn the_script_is_loaded_again() {
    let redis = Redis::start().await;
    let limiter = redis.limiter().await;
    let keys = [key(TenantId::new(), "turn:tenant", 3)];
    assert!(allows(&limiter, &keys).await);
    redis.run(&["script", "flush"]);
    assert_eq!(allowed(&limiter, &keys).await, 2, "the count is kept");
}

#[tokio::test]
async fn without_redis_each_process_decides_until_it_is_back() {
    let mut redis = Redis::start().await;
    let (one, other) = (redis.limiter().await, redis.limiter().await);
    let keys = [key(TenantId::new(), "turn:tenant", 5)];
    assert_eq!(allowed(&one, &keys).await, 5);
    assert!(!allows(&other, &keys).await);
    redis.stop();
    let begun = Instant::now();
    assert_eq!(allowed(&one, &keys).await, 5);
    assert_eq!(allowed(&other, &keys).await, 5);
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    redis.restart().await;
    // Both ask Redis again: a limit of one request is shared.
    eventually(async || {
        let keys = [key(TenantId::new(), "turn:tenant", 1)];
        allows(&one, &keys).await && !allows(&other, &keys).await
    })
    .await;
    // A server that is absent at the start is found later.
    redis.stop();
    let late = redis.limiter().await;
    assert_eq!(allowed(&late, &keys).await, 5);
    redis.restart().await;
    eventually(async || {
        let keys = [key(TenantId::new(), "turn:tenant", 1)];
        allows(&late, &keys).await && !allows(&other, &keys).await
    })
    .await;
}

#[tokio::test]
async fn a_slow_redis_delays_one_decision() {
    let redis = Redis::start().await;
    let limiter = redis.limiter().await;
    let keys = [key(TenantId::new(), "turn:tenant", 10)];
    assert!(allows(&limiter, &keys).await);
    redis.run(&["client", "pause", "3000", "all"]);
    let begun = Instant::now();
    assert_eq!(allowed(&limiter, &keys).await, 10, "the process decides");
    let took = begun.elapsed();
    assert!(took < Duration::from_millis(900), "{took:?}");
}

#[tokio::test]
async fn a_bad_address_is_an_error_and_an_absent_one_is_not() {
    let clock = Arc::new(SystemClock);
    let open = async |url: &str| RedisLimiter::open(&Secret::new(url), clock.clone()).await;
    let error = open("http://:hunter2@127.0.0.1").await.unwrap_err();
    assert!(error.message().starts_with("REDIS_URL: must be a URL"));
    assert!(!format!("{error:?}").contains("hunter2"));
    for url in ["redis://127.0.0.1:9", "rediss://127.0.0.1:9"] {
        let limiter = open(url).await.unwrap();
        let keys = [key(TenantId::new(), "turn:tenant", 2)];
        assert_eq!(allowed(&limiter, &keys).await, 2, "{url}");
    }
}

#[tokio::test]
async fn a_person_at_the_limit_gets_a_notice_and_an_answer() {
    let redis = Redis::start().await;
    let office = Office::open().await;
    let mut command = office.command(Wire::OpenAi);
    command.env("REDIS_URL", redis.url().expose());
    let server = launch(command).await;
    server.vendors_have_confirmed().await;
    let admin = server.admin();
    let employee = admin.employee(BUSINESS_TENANT).await.unwrap();
    let mut settings = employee.settings;
    assert_eq!(settings.rates.turns.person.unwrap().count, 120);
    settings.rates.turns.person = Some(konstruct_admin_api::Rate {
        count: 1,
        per_secs: 0,
    });
    let error = admin
        .change_employee(BUSINESS_TENANT, employee.version, &settings)
        .await
        .unwrap_err();
    assert!(
        error.message().contains("rates.turns.person.per_secs"),
        "{error}"
    );
    settings.rates.turns.person = Some(konstruct_admin_api::Rate {
        count: 1,
        per_secs: 4,
    });
    settings.rates.patience_secs = Some(0);
    settings.busy = Some("Einen Moment bitte.".into());
    admin
        .change_employee(BUSINESS_TENANT, employee.version, &settings)
        .await
        .unwrap();
    for expected in [1, 2] {
        let body = office.graph.message(NUMBER, CUSTOMER, "hello");
        assert_eq!(server.whatsapp(&body).await, 200);
        office.wait_for_accepted(expected).await;
    }
    let posts = format!("{:?}", office.graph.posts());
    assert!(posts.contains("Einen Moment bitte."), "{posts}");
    office.wait_for_accepted(3).await;
    assert_eq!(server.metric("konstruct_limited_total").await, Some(1.0));
    let keys = redis.run(&["keys", "*"]);
    assert!(keys.contains("konstruct:limit:"), "{keys}");
}

#[tokio::test]
async fn too_many_requests_to_the_admin_api_are_refused() {
    let mut office = Office::open().await;
    office.settings = "[limits]\napi_requests_per_minute = 20\n".into();
    let server = office.start().await;
    let url = format!("{}/api/v1/tenants", server.url);
    let ask = async |token: &str| {
        let request = http().get(&url).unwrap().bearer(&Secret::new(token));
        let answer = request.send().await.unwrap();
        (answer.status(), answer.retry_after())
    };
    let refused = async |token: &str| {
        for _ in 0..60 {
            if let (429, retry_after) = ask(token).await {
                return retry_after.expect("a Retry-After");
            }
        }
        panic!("nothing was refused");
    };
    let wait = refused("a guess").await;
    assert!((1..=4).contains(&wait.as_secs()), "{wait:?}");
    assert_eq!(
        ask(TOKEN).await.0,
        200,
        "the operator has a limit of its own"
    );
    refused(TOKEN).await;
}
