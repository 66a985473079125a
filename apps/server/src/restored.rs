//! What a restored store must not bring back: sessions, codes and invitations that were ended since the backup. Nobody knows which
//! these are, so the first start after `restore` ends all of them; people sign in again.

use std::{fs, io, path::Path};

use konstruct_core::{Error, ErrorKind, Result};

use crate::{config::named, directory::ServerDirectory, store::private};

/// The name of the file in the data directory that says that the store was restored.
const MARK: &str = "restored";

/// Notes that the store is being restored, before it can be opened.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] if the data directory cannot be written.
pub(crate) fn mark(data_dir: &Path) -> Result<()> {
    let marked = fs::create_dir_all(data_dir).and_then(|()| {
        let mut options = private();
        let file = options.write(true).create(true).truncate(true);
        file.open(data_dir.join(MARK))?.sync_all()
    });
    marked.map_err(|error| unusable(data_dir, error))
}

/// Takes the note back, because nothing was restored.
pub(crate) fn unmark(data_dir: &Path) {
    // If it cannot be removed, people sign in again.
    let _ = fs::remove_file(data_dir.join(MARK));
}

/// Ends what a restored store has brought back, before the server serves.
///
/// # Errors
/// Those of the store, and [`ErrorKind::InvalidInput`] if the data directory cannot be written.
pub(crate) async fn settle(directory: &ServerDirectory, data_dir: &Path) -> Result<()> {
    let mark = data_dir.join(MARK);
    if !mark.exists() {
        return Ok(());
    }
    directory.end_all_access().await?;
    tracing::warn!("the store was restored: all sessions and invitations were ended");
    fs::remove_file(mark).map_err(|error| unusable(data_dir, error))
}

fn unusable(data_dir: &Path, error: io::Error) -> Error {
    let (name, dir) = (named("data_dir"), data_dir.display());
    let problem = format!("{name}: {dir} cannot be used ({error})");
    Error::new(ErrorKind::InvalidInput, problem).with_source(error)
}
