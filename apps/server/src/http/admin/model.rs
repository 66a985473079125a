//! `/tenants/{tenant}/models`

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, put},
};
use konstruct_admin_api::{NewOwnModel, OwnModel, Page};
use konstruct_core::{ErrorKind, Secret};

use super::{
    Caller, Input, Problem,
    input::{Paging, Tagged, page},
};
use crate::{
    App,
    directory::Replaces,
    model::{self, Use},
};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/tenants/{tenant}/models", get(list))
        .route("/tenants/{tenant}/models/{name}", put(keep).delete(remove))
}

async fn list(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    paging: Paging,
) -> Result<Json<Page<OwnModel>>, Problem> {
    let models = app.directory.own_models(tenant).await?;
    let models = models.into_iter().map(|own| shown(&app, own)).collect();
    page(models, &paging, |model: &OwnModel| model.name.clone()).map(Json)
}

async fn keep(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    Path((_, name)): Path<(String, String)>,
    replaces: Replaces,
    Input(mut new): Input<NewOwnModel>,
) -> Result<Tagged<OwnModel>, Problem> {
    let own = model::OwnModel {
        name,
        provider: new.provider.parse()?,
        model: new.model.clone(),
        api_key: Secret::new(new.api_key.clone()),
        base_url: new.base_url.clone(),
        purpose: new.purpose.as_deref().map(Use::read).transpose()?,
        version: 0,
    };
    let name = own.name.clone();
    match app.directory.keep_model(tenant, own, replaces).await {
        Ok(own) => Ok(Tagged(own.version, shown(&app, own))),
        Err(error) if error.kind() == ErrorKind::Conflict => {
            let current = match app.directory.own_model(tenant, &name).await {
                Ok(own) => Some(shown(&app, own)),
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(error) => return Err(error.into()),
            };
            // The key is never returned.
            new.api_key.clear();
            Err(Problem::stale(replaces, &current, &new))
        }
        Err(error) => Err(error.into()),
    }
}

async fn remove(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    Path((_, name)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    app.directory.remove_model(tenant, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn shown(app: &App, own: model::OwnModel) -> OwnModel {
    let priced = app.directory.models().describe(&own).price.is_some();
    OwnModel {
        version: own.version,
        key_end: own.api_key.end().to_owned(),
        priced,
        name: own.name,
        provider: own.provider.name().to_owned(),
        model: own.model,
        base_url: own.base_url,
        purpose: own.purpose.map(|purpose| purpose.name().to_owned()),
    }
}
