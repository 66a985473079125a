//! Black-box tests of the built server: a separate process, with fake vendors and a fake provider around it.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is how a test fails")]

mod access;
mod activity;
mod admin;
mod attachment;
mod backup;
mod budget;
mod cancellation;
mod config;
mod connect;
mod crash;
mod database;
mod demo;
mod dependencies;
mod device;
mod disk;
mod export;
mod health;
mod holder;
mod isolation;
mod limits;
mod line;
mod mail;
mod matrix;
mod member;
mod memory;
mod model;
mod office;
mod problem;
mod processes;
mod question;
mod reply;
mod retention;
mod siege;
mod sign_in;
mod spend;
mod surface;
mod visitor;
mod webhook;
mod website;
