//! A tool with an effect on the world: booked once, however often the call is repeated.
//!
//! The engine hands a tool the same idempotency key for every repetition of a call, across retries and crashes.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use konstruct_core::{
    ConversationId, TenantId, TurnId,
    tool::{Effect, Tool, ToolContext, ToolError, function},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize, JsonSchema)]
struct Booking {
    /// What is to be repaired.
    bike: String,
    /// The day, as `YYYY-MM-DD`.
    day: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let calendar: Arc<Mutex<HashMap<String, String>>> = Arc::default();
    let book = function("book_repair", "Books a repair.", Effect::Idempotent, {
        let calendar = Arc::clone(&calendar);
        move |call: ToolContext, booking: Booking| {
            let calendar = Arc::clone(&calendar);
            async move {
                if booking.day.len() != 10 {
                    return Err(ToolError::new("the day must be `YYYY-MM-DD`"));
                }
                let mut calendar = calendar
                    .lock()
                    .map_err(|error| ToolError::internal("try again later", error))?;
                let entry = calendar
                    .entry(call.idempotency_key)
                    .or_insert(format!("{} on {}", booking.bike, booking.day));
                Ok(format!("booked: {entry}"))
            }
        }
    });

    println!("The model sees: {}", book.spec().parameters);
    let call = ToolContext::new(
        TenantId::new(),
        ConversationId::from_bytes([1; 16]),
        TurnId::new(),
        "trn_1.t1",
    );
    let first = book
        .call(&call, json!({ "bike": "city bike", "day": "2026-12-01" }))
        .await?;
    let again = book
        .call(&call, json!({ "bike": "city bike", "day": "2026-12-01" }))
        .await?;
    assert_eq!(first, again);
    assert_eq!(calendar.lock().map_err(|_| "poisoned")?.len(), 1);
    let wrong = book
        .call(&call, json!({ "bike": "city bike" }))
        .await
        .expect_err("the day is missing");
    println!(
        "{first}\nA wrong call tells the model: {}",
        wrong.for_model()
    );
    Ok(())
}
