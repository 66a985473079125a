//! Cold builds.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::program::{Program, run};
use crate::{Failed, process};

/// A release build in an empty target directory, which is removed with it.
#[derive(Debug)]
pub struct Build {
    /// The processor time of cargo and all of its children.
    pub cpu: Duration,
    /// The duration.
    pub wall: Duration,
    /// The size of the program in bytes, with its symbols.
    pub bytes: u64,
    /// The size of the program in bytes, after `strip`.
    pub stripped_bytes: u64,
    program: PathBuf,
    _target: TempDir,
}

impl Build {
    /// Fetches the dependencies of a program if necessary, and builds it.
    ///
    /// # Errors
    /// It cannot be built, or `strip` is not installed.
    pub fn cold(program: &Program) -> Result<Self, Failed> {
        program.fetch()?;
        let target = tempfile::tempdir()?;
        let mut build = program.cargo("build");
        build
            .args([
                "--release",
                "--locked",
                "--offline",
                "--quiet",
                "--target-dir",
            ])
            .arg(target.path())
            // A cache of compiled crates would be measured instead of the compiler.
            .env("RUSTC_WRAPPER", "");
        let (cpu, begun) = (process::ended_children_cpu()?, Instant::now());
        run(&mut build)?;
        let wall = begun.elapsed();
        let cpu = process::ended_children_cpu()?.saturating_sub(cpu);
        let built = target
            .path()
            .join("release")
            .join(format!("embedder-{}", program.name));
        let stripped = target.path().join("stripped");
        run(Command::new("strip").arg("-o").arg(&stripped).arg(&built))?;
        Ok(Self {
            cpu,
            wall,
            bytes: fs::metadata(&built)?.len(),
            stripped_bytes: fs::metadata(stripped)?.len(),
            program: built,
            _target: target,
        })
    }

    /// Returns the path of the built program.
    pub fn program(&self) -> &PathBuf {
        &self.program
    }
}
