//! The commands `backup` and `restore`.

use std::{fs, io, path::Path};

use konstruct_admin_api::Client;
use konstruct_core::{Error, ErrorKind, Result, http::Url};
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::{
    config::{Config, named},
    restored,
    store::{STORE_FILE, migrate, open_store, private},
};

/// Copies the configured store to a file that does not exist yet, while it is used.
///
/// # Errors
/// [`ErrorKind::Conflict`] if the file exists, [`ErrorKind::InvalidInput`] that names what is missing, and those of the store, of the
/// running server, or of `pg_dump`. No file is left then.
pub async fn backup(config: &Config, file: &Path) -> Result<()> {
    if !config.database.url.is_empty() {
        create(file)?;
        let arguments = [
            "--format=custom",
            "--data-only",
            "--schema=konstruct",
            // A database that is migrated has it.
            "--exclude-table-data=konstruct.migrations",
            "--file",
        ];
        return or_remove(file, run("pg_dump", config, &arguments, file).await);
    }
    match open_store(&config.data_dir, &config.master_key, None) {
        Ok(store) => store.backup(file).await,
        Err(error) if error.kind() == ErrorKind::Conflict => {
            let client = running_server(config)?;
            let created = create(file)?;
            or_remove(file, download(&client, created, file).await)
        }
        Err(error) => Err(error),
    }
}

/// Makes the configured store from the file of a backup.
///
/// # Errors
/// [`ErrorKind::Conflict`] if there is a store already, [`ErrorKind::InvalidInput`] that names what is missing,
/// [`ErrorKind::Unauthorized`] if the master key is another one, and those of the store or of `pg_restore`. Nothing is restored then.
pub async fn restore(config: &Config, file: &Path) -> Result<()> {
    let dir = &config.data_dir;
    if !config.database.url.is_empty() {
        migrate(config).await?;
        restored::mark(dir)?;
        let arguments = ["--data-only", "--exit-on-error", "--single-transaction"];
        let done = run("pg_restore", config, &arguments, file).await;
        return done.inspect_err(|_| restored::unmark(dir));
    }
    fs::create_dir_all(dir).map_err(|error| unusable(dir, &error))?;
    let store = dir.join(STORE_FILE);
    let mut from = fs::File::open(file).map_err(|error| unusable(file, &error))?;
    let mut to = create(&store)?;
    let opened = restored::mark(dir).and_then(|()| {
        let copied = io::copy(&mut from, &mut to).and_then(|_| to.sync_all());
        copied.map_err(|error| unusable(&store, &error))?;
        open_store(dir, &config.master_key, None).map(drop)
    });
    // A file that cannot be opened is not left in its place.
    or_remove(&store, opened).inspect_err(|_| restored::unmark(dir))
}

/// Returns a client of the server that has the store for itself.
pub(crate) fn running_server(config: &Config) -> Result<Client> {
    if config.operator_token.is_empty() {
        let problem = "must be set to ask the running server, which has the store for itself";
        return Err(Error::invalid(&named("operator_token"), problem));
    }
    let url = format!("http://{}", config.listen);
    Client::new(url, config.operator_token.clone())
}

/// Runs a tool of PostgreSQL on the configured database and a file.
async fn run(tool: &str, config: &Config, arguments: &[&str], file: &Path) -> Result<()> {
    let url = config.database.owner_url.expose();
    let mut url: Url = url.parse().map_err(|_| {
        let problem =
            "is required, and must be a URL: of a role that may read all rows, such as a superuser";
        Error::invalid("DATABASE_OWNER_URL", problem)
    })?;
    let mut command = Command::new(tool);
    // Every user of the machine sees the arguments of a process.
    if let Some(password) = url.password().map(str::to_owned) {
        command.env("PGPASSWORD", decoded(&password)?);
        // It fails only for URLs that cannot have one.
        let _ = url.set_password(None);
    }
    // The tools know no parameters of our driver, which have hyphens.
    let known: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(name, _)| !name.contains('-'))
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    url.query_pairs_mut().clear().extend_pairs(known);
    command.arg("--dbname").arg(url.as_str());
    let done = command.args(arguments).arg(file).output().await;
    let done = done.map_err(|error| {
        let problem =
            format!("could not run {tool} ({error}); install PostgreSQL's client programs");
        Error::new(ErrorKind::InvalidInput, problem)
    })?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let said = said.lines().next().unwrap_or_default();
    Err(Error::internal(format!("{tool} failed: {said}")))
}

/// Decodes the percent signs of a password.
fn decoded(password: &str) -> Result<String> {
    let form = format!("p={}", password.replace('+', "%2B"));
    let pair = form_urlencoded::parse(form.as_bytes()).next();
    let (_, password) = pair.ok_or_else(|| Error::internal("a password cannot be decoded"))?;
    Ok(password.into_owned())
}

async fn download(client: &Client, file: fs::File, path: &Path) -> Result<()> {
    let mut response = client.back_up().await?;
    let mut file = tokio::fs::File::from_std(file);
    let failed = |error| unusable(path, &error);
    while let Some(part) = response.chunk().await? {
        file.write_all(&part).await.map_err(failed)?;
    }
    file.sync_all().await.map_err(failed)
}

/// Creates a file that only its owner may read.
fn create(path: &Path) -> Result<fs::File> {
    let created = private().write(true).create_new(true).open(path);
    created.map_err(|error| unusable(path, &error))
}

fn or_remove(file: &Path, done: Result<()>) -> Result<()> {
    if done.is_err() {
        // If it cannot be removed, the first error says more.
        let _ = fs::remove_file(file);
    }
    done
}

fn unusable(path: &Path, error: &io::Error) -> Error {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::AlreadyExists => Error::new(
            ErrorKind::Conflict,
            format!("{path} exists already; move it away, or name another file"),
        ),
        _ => Error::new(
            ErrorKind::InvalidInput,
            format!("{path} cannot be used: {error}"),
        ),
    }
}
