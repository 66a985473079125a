//! `/tenants/{tenant}/retention`

use std::{ops::RangeInclusive, sync::Arc};

use axum::{Router, extract::State, routing::get};
use konstruct_admin_api::RetentionSettings;
use konstruct_core::{Clock as _, ErrorKind, SystemClock};

use super::{Caller, Input, Problem, input::Tagged};
use crate::{App, directory::Replaces, retention};

/// The days that may be set.
const DAYS: RangeInclusive<u16> = 1..=3_650;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/tenants/{tenant}/retention", get(read).put(change))
}

async fn read(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
) -> Result<Tagged<RetentionSettings>, Problem> {
    let set = app.directory.tenant(tenant).await?.retention;
    let version = set.map_or(0, |set| set.version);
    let days = set.and_then(|set| set.days);
    Ok(Tagged(version, RetentionSettings { days }))
}

async fn change(
    State(app): State<Arc<App>>,
    caller: Caller,
    replaces: Replaces,
    Input(settings): Input<RetentionSettings>,
) -> Result<Tagged<RetentionSettings>, Problem> {
    if settings.days.is_some_and(|days| !DAYS.contains(&days)) {
        return Err(Problem::field(
            "days",
            "must be 1 to 3,650, or absent to keep everything",
        ));
    }
    // What was never set is shown as version 0.
    let expected = match replaces {
        Replaces::Version(0) => Replaces::Nothing,
        replaces => replaces,
    };
    let now = SystemClock.now();
    match retention::set(&app, caller.tenant, settings.days, expected, now).await {
        Ok(set) => Ok(Tagged(set.version, settings)),
        Err(error) if error.kind() == ErrorKind::Conflict => {
            let Tagged(_, current) = read(State(app), caller).await?;
            Err(Problem::stale(replaces, &current, &settings))
        }
        Err(error) => Err(error.into()),
    }
}
