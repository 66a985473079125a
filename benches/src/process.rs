//! What a process uses, as Linux counts it.

use std::{fs, time::Duration};

use crate::Failed;

/// Returns the processor time that a process has used, in its own code and in the kernel.
///
/// # Errors
/// When there is no such process.
pub fn cpu(id: u32) -> Result<Duration, Failed> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The name may hold anything but a line break; the fields that follow it are numbers.
    let (_, fields) = stat.rsplit_once(')').ok_or("no such process")?;
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Ok(Duration::from_secs(ticks) / u32::try_from(rustix::param::clock_ticks_per_second())?)
}

/// Returns how much memory a process holds, in MB.
///
/// # Errors
/// When there is no such process.
pub fn resident(id: u32) -> Result<u64, Failed> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes: u64 = line
        .and_then(|line| line.split_whitespace().next())
        .ok_or("no VmRSS")?
        .parse()?;
    Ok(kilobytes >> 10)
}
