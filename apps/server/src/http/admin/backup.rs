//! `/backup`: the embedded store, as one file.

use std::{io, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::header::{CONTENT_LENGTH, CONTENT_TYPE},
    response::{IntoResponse as _, Response},
    routing::get,
};
use futures_util::stream;
use konstruct_core::{Error, id::WorkerId};
use tokio::{fs, io::AsyncReadExt as _};

use super::{Operator, Problem};
use crate::App;

/// The number of bytes that are read at a time.
const PART: usize = 256 * 1024;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/backup", get(download))
}

async fn download(State(app): State<Arc<App>>, _: Operator) -> Result<Response, Problem> {
    let name = format!("backup.{}", WorkerId::new());
    let path = app.config.data_dir.join(name);
    app.store.backup(&path).await?;
    let opened = async {
        let file = fs::File::open(&path).await?;
        let length = file.metadata().await?.len();
        // It can be read as long as it is open.
        fs::remove_file(&path).await?;
        io::Result::Ok((file, length))
    };
    let (file, length) = opened
        .await
        .map_err(|error| Error::internal("could not read the backup").with_source(error))?;
    let parts = stream::try_unfold(file, |mut file| async move {
        let mut part = vec![0; PART];
        let read = file.read(&mut part).await?;
        part.truncate(read);
        let part = (read > 0).then(|| (Bytes::from(part), file));
        io::Result::Ok(part)
    });
    let headers = [
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (CONTENT_LENGTH, length.to_string()),
    ];
    Ok((headers, Body::from_stream(parts)).into_response())
}
