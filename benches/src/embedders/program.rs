//! The programs, and what can be measured without a build.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::Failed;

/// A program in `benches/embedders`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// The name of its library and of its folder.
    pub name: &'static str,
    /// Where its library stores the conversation: in a `file` that survives a crash, or only in `ram`.
    pub memory: &'static str,
}

/// The program written with Konstruct.
pub const KONSTRUCT: Program = Program {
    name: "konstruct",
    memory: "file",
};

/// The programs written with other libraries.
pub const PEERS: [Program; 4] = [
    Program::in_ram("rig"),
    Program::in_ram("adk-rust"),
    Program::in_ram("genai"),
    Program::in_ram("async-openai"),
];

impl Program {
    const fn in_ram(name: &'static str) -> Self {
        let memory = "ram";
        Self { name, memory }
    }

    /// Returns its folder.
    pub(super) fn folder(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("embedders")
            .join(self.name)
    }

    /// Returns the number of lines of code: without blank lines, comments and inner attributes.
    ///
    /// # Errors
    /// The source cannot be read, or is not formatted with rustfmt.
    pub fn lines(&self) -> Result<usize, Failed> {
        let source = self.folder().join("src/main.rs");
        let status = Command::new("rustfmt")
            .args(["--check", "--edition", "2024"])
            .arg(&source)
            .status()?;
        if !status.success() {
            return Err(format!("{} is not formatted", source.display()).into());
        }
        Ok(code_lines(&fs::read_to_string(source)?))
    }

    /// Writes the lock file of Konstruct's program, with the versions of the workspace. It is not committed, because it changes with
    /// the workspace; those of the other programs are.
    ///
    /// # Errors
    /// It cannot be written, or cargo fails.
    pub fn lock(&self) -> Result<(), Failed> {
        if *self != KONSTRUCT {
            return Ok(());
        }
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
        fs::copy(workspace, self.folder().join("Cargo.lock"))?;
        // Removes the packages that the program does not use.
        run(self.cargo("fetch").arg("--quiet"))
    }

    /// Fetches the dependencies, if they are not there.
    ///
    /// # Errors
    /// Cargo fails, for example because the lock file is outdated.
    pub(super) fn fetch(&self) -> Result<(), Failed> {
        run(self.cargo("fetch").args(["--locked", "--quiet"]))
    }

    /// Returns the number of packages that are compiled for this machine, including build dependencies and without the program.
    ///
    /// # Errors
    /// Cargo fails, for example because the lock file is outdated.
    pub fn packages(&self) -> Result<usize, Failed> {
        let output = self
            .cargo("tree")
            .args(["--locked", "--edges", "normal,build", "--prefix", "none"])
            .output()?;
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{}: cargo tree: {error}", self.name).into());
        }
        let tree = String::from_utf8(output.stdout)?;
        // A line is a name, a version and remarks.
        let package = |line: &str| Some(line.split_once(' ')?.0.to_owned() + version(line)?);
        let packages: BTreeSet<String> = tree.lines().skip(1).filter_map(package).collect();
        Ok(packages.len())
    }

    /// Returns a command of cargo in the folder of the program.
    pub(super) fn cargo(&self, command: &str) -> Command {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut cargo = Command::new(cargo);
        cargo.arg(command).current_dir(self.folder());
        cargo
    }
}

pub(super) fn run(command: &mut Command) -> Result<(), Failed> {
    let status = command.stdin(Stdio::null()).status()?;
    if !status.success() {
        return Err(format!("{command:?} failed").into());
    }
    Ok(())
}

fn version(line: &str) -> Option<&str> {
    line.split(' ').nth(1)
}

fn code_lines(source: &str) -> usize {
    let is_code = |line: &&str| {
        let line = line.trim_start();
        !(line.is_empty() || line.starts_with("//") || line.starts_with("#!["))
    };
    source.lines().filter(is_code).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_blank_lines_and_inner_attributes_are_not_code() {
        let source =
            "//! Docs.\n\n#![expect(unused)]\n#[derive(Debug)]\nstruct A; // one\n    // two\n";
        assert_eq!(code_lines(source), 2);
    }

    #[test]
    fn the_program_of_konstruct_is_short() {
        let lines = KONSTRUCT.lines().unwrap();
        assert!(lines <= 25, "{lines} lines");
    }
}
