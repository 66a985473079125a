//! The multi-tenant Konstruct server: AI employees in Slack and WhatsApp.
