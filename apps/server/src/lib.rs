//! The multi-tenant Konstruct server: AI employees in Slack and WhatsApp, on an embedded store.
//!
//! # Code map
//! * `config` - defaults, a file over them, the environment over both.
//! * `app` - puts everything together; `serve` - listeners, workers and the end.
//! * `directory/` - tenants, employees, connections, and what was passed on to the team.
//! * `http/` - webhooks, health, metrics, and the admin API under `admin/`, one file a resource.
//! * `simulator/` - the demo at `/demo`: a page, and the vendors' wire protocols behind it.
//! * `store` - the embedded store and its key ring; `expanding` - the recall that suits the extractive backend.
//! * `model/` - the shared pool of language models, and tenants' own; `embedder` - what things are found by their meaning with; `demo/` - the sample business that the demo and the configured business start with; `secrets` - what nobody set.

mod app;
mod config;
mod connect;
mod demo;
mod directory;
mod embedder;
mod expanding;
mod http;
mod model;
mod secrets;
mod serve;
mod simulator;
mod store;
mod tasks;

pub use self::{
    app::App,
    config::{Config, DEFAULTS, without_effect},
    demo::{BUSINESS as BUSINESS_TENANT, TENANT as DEMO_TENANT},
    directory::{Connection, Endpoints, NewConnection, PassedOn, ServerDirectory, Tenant},
    model::Models,
    serve::Server,
    store::open_store,
};
