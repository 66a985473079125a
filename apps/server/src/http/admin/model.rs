//! `/tenants/{tenant}/models`

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, put},
};
use konstruct_admin_api::{NewOwnModel, OwnModel, Page};
use konstruct_core::Secret;

use super::{
    Input, Problem,
    input::{InTenant, Paging, page},
};
use crate::{
    App,
    model::{self, Use},
};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/tenants/{tenant}/models", get(list))
        .route("/tenants/{tenant}/models/{name}", put(keep).delete(remove))
}

async fn list(
    State(app): State<Arc<App>>,
    InTenant(tenant): InTenant,
    paging: Paging,
) -> Result<Json<Page<OwnModel>>, Problem> {
    app.directory.tenant(tenant).await?;
    let models = app.directory.own_models(tenant).await?;
    let models = models.into_iter().map(|own| shown(&app, own)).collect();
    page(models, &paging, |model: &OwnModel| model.name.clone()).map(Json)
}

async fn keep(
    State(app): State<Arc<App>>,
    InTenant(tenant): InTenant,
    Path((_, name)): Path<(String, String)>,
    Input(new): Input<NewOwnModel>,
) -> Result<Json<OwnModel>, Problem> {
    app.directory.tenant(tenant).await?;
    let own = model::OwnModel {
        name,
        provider: new.provider.parse()?,
        model: new.model,
        api_key: Secret::new(new.api_key),
        base_url: new.base_url,
        purpose: new.purpose.as_deref().map(Use::read).transpose()?,
    };
    app.directory.keep_model(tenant, &own).await?;
    Ok(Json(shown(&app, own)))
}

async fn remove(
    State(app): State<Arc<App>>,
    InTenant(tenant): InTenant,
    Path((_, name)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    app.directory.tenant(tenant).await?;
    app.directory.remove_model(tenant, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn shown(app: &App, own: model::OwnModel) -> OwnModel {
    let priced = app.directory.models().describe(&own).price.is_some();
    OwnModel {
        key_end: own.api_key.end().to_owned(),
        priced,
        name: own.name,
        provider: own.provider.name().to_owned(),
        model: own.model,
        base_url: own.base_url,
        purpose: own.purpose.map(|purpose| purpose.name().to_owned()),
    }
}
