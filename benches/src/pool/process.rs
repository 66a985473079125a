//! The CPU of another process.

use std::{fs, time::Duration};

use crate::Failed;

/// Returns the CPU that a process and its children have used, in steps of ten milliseconds.
///
/// # Errors
/// `/proc` cannot be read.
pub fn cpu(pid: u32) -> Result<Duration, Failed> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name may contain anything; the last bracket ends it.
    let after = stat.rsplit_once(") ").ok_or("a malformed line of /proc")?.1;
    // utime, stime, and those of ended children.
    let ticks = after.split(' ').skip(11).take(4).map(str::parse::<u64>);
    let mut sum = Duration::from_millis(10 * ticks.sum::<Result<u64, _>>()?);
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let children = fs::read_to_string(task?.path().join("children"))?;
        for child in children.split_whitespace() {
            sum += cpu(child.parse()?)?;
        }
    }
    Ok(sum)
}
