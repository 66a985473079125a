//! What another process uses.

use std::{fs, time::Duration};

use crate::Failed;

/// Returns the CPU that a process and its children have used, in steps of ten milliseconds.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn cpu(pid: u32) -> Result<Duration, Failed> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name may hold anything; the last bracket ends it.
    let after = stat.rsplit_once(") ").ok_or("an odd line of /proc")?.1;
    // utime, stime, and those of children that have ended.
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
