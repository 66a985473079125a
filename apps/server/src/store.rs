//! The embedded store: its file, and the key ring that encrypts its content.

use std::{fs, io, path::Path, sync::Arc};

use konstruct_core::{Embedder, Error, ErrorKind, Result, Secret};
use konstruct_memory::{KeyRing, Redb};

use crate::config::named;

/// The name of the store's file in the data directory.
const STORE_FILE: &str = "konstruct.redb";
/// The name of the key ring's file, if no key ring is configured.
const KEY_RING_FILE: &str = "master.key";

/// Opens the store of a data directory, and creates it if it does not exist. With an embedder, semantic search is enabled.
/// Without a master key, a key ring is generated and stored next to it, readable only by its owner.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] for an unusable directory or an invalid master key, [`ErrorKind::Unauthorized`] for a key that
/// does not open the store, [`ErrorKind::Conflict`] for a store in use by another process, and those of the store. Each names the
/// variable and the way out.
pub fn open_store(
    data_dir: &Path,
    master_key: &Secret,
    embedder: Option<Arc<dyn Embedder>>,
) -> Result<Redb> {
    let dir = data_dir.display();
    fs::create_dir_all(data_dir).map_err(|error| unusable(data_dir, error))?;
    let ring = if master_key.is_empty() {
        stored_ring(data_dir)?
    } else {
        KeyRing::parse(master_key.expose())
            .map_err(|error| Error::invalid("KONSTRUCT_MASTER_KEY", error.message()))?
    };
    let mut store = Redb::builder().key_ring(ring);
    if let Some(embedder) = embedder {
        store = store.embedder(embedder);
    }
    store.open(data_dir.join(STORE_FILE)).map_err(|error| {
        let (name, key) = (named("data_dir"), named("master_key"));
        let (kind, message) = (error.kind(), error.message());
        let message = match kind {
            ErrorKind::Conflict => format!(
                "{name}: {dir} is used by another process; stop it, or choose another directory"
            ),
            ErrorKind::Unauthorized => format!(
                "{key}: does not open the store in {dir}; set the key that the store was made with, or choose another {name}"
            ),
            ErrorKind::Corrupt => format!(
                "{name}: the store in {dir} cannot be read ({message}); restore it from a backup, or choose another directory"
            ),
            _ => format!(
                "{name}: the store in {dir} cannot be used ({message}); check the disk's free space and the permissions"
            ),
        };
        Error::new(kind, message).with_source(error)
    })
}

/// Returns the error for an unusable data directory.
fn unusable(data_dir: &Path, error: io::Error) -> Error {
    let (name, dir) = (named("data_dir"), data_dir.display());
    let problem =
        format!("{dir} cannot be used ({error}); choose a directory that this user can write");
    Error::new(ErrorKind::InvalidInput, format!("{name}: {problem}")).with_source(error)
}

/// Reads the key ring of a data directory, and creates it if it does not exist.
fn stored_ring(data_dir: &Path) -> Result<KeyRing> {
    let path = data_dir.join(KEY_RING_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => KeyRing::parse(text.trim()).map_err(|error| {
            let (path, problem) = (path.display(), error.message());
            let message = format!("{path}: {problem}; restore the file from a backup");
            Error::new(ErrorKind::InvalidInput, message).with_source(error)
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let ring = KeyRing::generate()?;
            write(&path, ring.to_secret().expose()).map_err(|error| unusable(data_dir, error))?;
            Ok(ring)
        }
        Err(error) => Err(unusable(data_dir, error)),
    }
}

/// Writes a file that only its owner may read, and syncs it to disk before it returns, because data encrypted with the key must
/// not outlive it.
fn write(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write as _;
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    match path.parent() {
        Some(folder) if cfg!(unix) => fs::File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}
