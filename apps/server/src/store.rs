//! The embedded store: its file, and the key ring that what it keeps is sealed with.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use konstruct_core::{Embedder, Error, Result, Secret};
use konstruct_memory::{KeyRing, Redb};

/// The name of the store's file in the data directory.
const STORE: &str = "konstruct.redb";
/// The name of the file that keeps the key ring where none is configured.
const RING: &str = "master.key";

/// Opens the store of a data directory, and makes it if there is none. What is in it is found by its meaning too, if there is an embedder. Without a master key, a key ring is made and kept beside
/// it, readable by its owner alone.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) for a directory that cannot be made and a master key that cannot
/// be read, [`ErrorKind::Unauthorized`](konstruct_core::ErrorKind::Unauthorized) for one that is not the store's, and those of the store.
pub fn open_store(
    data_dir: &Path,
    master_key: &Secret,
    embedder: Option<Arc<dyn Embedder>>,
) -> Result<Redb> {
    fs::create_dir_all(data_dir).map_err(|error| {
        Error::invalid("data_dir", format!("{} cannot be made", data_dir.display()))
            .with_source(error)
    })?;
    let ring = if master_key.is_empty() {
        kept_ring(&data_dir.join(RING))?
    } else {
        KeyRing::parse(master_key.expose())
            .map_err(|error| Error::invalid("KONSTRUCT_MASTER_KEY", error))?
    };
    let mut store = Redb::builder().key_ring(ring);
    if let Some(embedder) = embedder {
        store = store.embedder(embedder);
    }
    store.open(data_dir.join(STORE))
}

/// Reads the ring of a data directory, and makes it if there is none.
fn kept_ring(path: &PathBuf) -> Result<KeyRing> {
    let failed = |what: &str, error: io::Error| {
        let path = path.display();
        Error::invalid("data_dir", format!("{path} cannot be {what}")).with_source(error)
    };
    match fs::read_to_string(path) {
        Ok(text) => KeyRing::parse(text.trim()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let ring = KeyRing::generate()?;
            write(path, ring.to_secret().expose()).map_err(|error| failed("written", error))?;
            Ok(ring)
        }
        Err(error) => Err(failed("read", error)),
    }
}

/// Writes a file that only its owner may read, on the disk before it returns: what is sealed with it must not outlive it.
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
