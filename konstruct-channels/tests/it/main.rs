//! The integration tests of konstruct-channels.

mod corpus;
mod gateway;
mod prompt;
mod render;
mod sending;
mod slack_answers;
mod slack_inbound;
mod slack_outbound;
mod suite;
mod whatsapp_groups;
mod whatsapp_inbound;
mod whatsapp_outbound;
