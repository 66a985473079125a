//! Slack and WhatsApp channels of Konstruct: webhooks, decoding, replies.
