//! The multi-tenant Konstruct server: AI employees in Slack and WhatsApp, on an embedded store or on PostgreSQL.
//!
//! # Code map
//! * `config` - defaults, overridden by a file, overridden by the environment.
//! * `app` - the shared state; `serve` - listeners, workers and the shutdown; `connect` - confirmation of connections; `tasks` -
//!   supervision.
//! * `directory/` - tenants, employees, connections, websites, questions passed on to the team, and the people who sign in;
//!   `password` - hashes of passwords; `links` - links to this server; `mail`, `mails` - mail to them.
//! * `crawls` - crawls websites in the background.
//! * `tenant_jobs` - performs the jobs of tenants when they are due; `offboarding` - cancelled tenants: disconnection and erasure;
//!   `retention` - erases what is older than a tenant keeps it.
//! * `http/` - webhooks, health, metrics, and the admin API under `admin/`, with one file per resource.
//! * `networks` - lists of IP addresses and networks.
//! * `limit/` - rate limits that the processes share, in Redis.
//! * `simulator/` - the demo at `/demo`: a page, and simulated vendors behind it.
//! * `store` - the embedded store and its key ring, or PostgreSQL.
//! * `model/` - the shared pool of language models, and tenants' own; `embedder` - the embedder for semantic search; `transcriber` -
//!   the transcribers of voice messages; `demo/` -
//!   the sample business of the demo and the configured business; `secrets` - generated secrets.
//! * `backup` - the commands `backup` and `restore`; `erasures` - what a restored store must erase again; `restored` - the sessions
//!   that it must not bring back.
//! * `verify` - the command `verify-audit`.

mod app;
mod backup;
mod config;
mod connect;
mod crawls;
mod demo;
mod directory;
mod embedder;
mod erasures;
mod http;
mod limit;
mod links;
mod mail;
mod mails;
mod model;
mod networks;
mod offboarding;
mod password;
mod restored;
mod retention;
mod secrets;
mod serve;
mod simulator;
mod store;
mod tasks;
mod tenant_jobs;
#[cfg(test)]
mod testing;
mod transcriber;
mod verify;

pub use self::{
    app::App,
    backup::{backup, restore},
    config::{Config, DEFAULTS, Role, without_effect},
    demo::{BUSINESS as BUSINESS_TENANT, TENANT as DEMO_TENANT},
    directory::{
        Cancellation, Connection, Endpoints, NewConnection, PassedOn, Retention, ServerDirectory,
        Tenant,
    },
    http::raise_descriptor_limit,
    limit::RedisLimiter,
    model::Models,
    serve::Server,
    store::{StoreHealth, Stores, migrate, open_store},
    verify::verify_audit,
};
