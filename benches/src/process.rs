//! The resource use of a process, as counted by Linux.

use std::{fs, time::Duration};

use crate::Failed;

/// Returns the processor time that a process has used, in user and kernel mode.
///
/// # Errors
/// The process does not exist.
pub fn cpu(id: u32) -> Result<Duration, Failed> {
    let fields = fields(id)?;
    ticks(fields.iter().skip(UTIME).take(2))
}

/// Returns the processor time of a process, its children, and their ended children.
///
/// # Errors
/// The process does not exist.
pub fn family_cpu(id: u32) -> Result<Duration, Failed> {
    let mut all = fields(id)?.split_off(UTIME);
    all.truncate(4);
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(child) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // It may have just ended.
        if let Ok(fields) = fields(child)
            && fields.get(PARENT) == Some(&id.into())
        {
            all.extend(fields.iter().skip(UTIME).take(2));
        }
    }
    ticks(all.iter())
}

/// Returns the processor time of this process's ended children, and of their ended children.
///
/// # Errors
/// There is no `/proc`.
pub fn ended_children_cpu() -> Result<Duration, Failed> {
    let fields = fields(std::process::id())?;
    ticks(fields.iter().skip(UTIME + 2).take(2))
}

/// Returns a process's parent.
///
/// # Errors
/// The process does not exist.
pub fn parent(id: u32) -> Result<u32, Failed> {
    let parent = fields(id)?.get(PARENT).copied().ok_or("no parent")?;
    Ok(u32::try_from(parent)?)
}

/// The positions of the parent and of the four processor times: user, system, and both of ended children.
const PARENT: usize = 0;
const UTIME: usize = 10;

/// Returns the numbers of a process's state, from its parent on. Negative and larger ones are 0.
fn fields(id: u32) -> Result<Vec<u64>, Failed> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The name may contain anything but a line break; a letter and numbers follow it.
    let (_, fields) = stat.rsplit_once(')').ok_or("no such process")?;
    let fields = fields.split_whitespace().skip(1);
    Ok(fields.map(|field| field.parse().unwrap_or(0)).collect())
}

fn ticks<'a>(ticks: impl Iterator<Item = &'a u64>) -> Result<Duration, Failed> {
    let second = u32::try_from(rustix::param::clock_ticks_per_second())?;
    Ok(Duration::from_secs(ticks.sum()) / second)
}

/// Returns the resident memory of a process, in MB.
///
/// # Errors
/// The process does not exist.
pub fn resident(id: u32) -> Result<u64, Failed> {
    Ok(resident_kib(id)? >> 10)
}

/// Returns the resident memory of a process, in KiB.
///
/// # Errors
/// There is no such process.
pub fn resident_kib(id: u32) -> Result<u64, Failed> {
    status(id, "VmRSS:")
}

/// Returns the most memory that was resident since the start of a process, in KiB.
///
/// # Errors
/// There is no such process.
pub fn peak_kib(id: u32) -> Result<u64, Failed> {
    status(id, "VmHWM:")
}

fn status(id: u32, name: &str) -> Result<u64, Failed> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line
        .and_then(|line| line.split_whitespace().next())
        .ok_or_else(|| format!("no {name}"))?;
    Ok(kilobytes.parse()?)
}
