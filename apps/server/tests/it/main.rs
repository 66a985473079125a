//! Black-box tests of the built server: a separate process, with fake vendors and a fake provider around it.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is how a test fails")]

mod access;
mod activity;
mod admin;
mod attachment;
mod backup;
mod config;
mod connect;
mod crash;
mod database;
mod demo;
mod dependencies;
mod disk;
mod export;
mod health;
mod holder;
mod isolation;
mod limits;
mod line;
mod matrix;
mod memory;
mod model;
mod office;
mod problem;
mod processes;
mod question;
mod reply;
mod siege;
mod spend;
mod surface;
mod webhook;
mod website;
