//! Rate limits that all processes share, in Redis. Without Redis, each process limits on its own.

mod batch;
mod link;
mod redis;

pub use self::redis::RedisLimiter;
