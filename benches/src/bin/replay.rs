//! Replays random turns, and counts those in which a decision differs.

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::process::ExitCode;

use clap::Parser;
use konstruct_core::{
    testkit::{random_turns, unsteady_step},
    turn::{Replay, replay_with, step},
};

/// Replays random turns.
#[derive(Parser)]
struct Arguments {
    /// Number of turns.
    #[arg(long, default_value_t = 10_000)]
    turns: usize,
    /// Seed of the turns.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Replays with a step that decides differently each time: the differences must be found.
    #[arg(long)]
    broken_step: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let replayed_by = if arguments.broken_step {
        unsteady_step
    } else {
        step
    };
    let turns = random_turns(arguments.seed, arguments.turns);
    let (mut differing, mut actions) = (0_usize, 0_usize);
    for (number, (employee, records)) in turns.iter().enumerate() {
        match replay_with(replayed_by, employee, records) {
            Ok(Replay::Same { actions: same }) => actions += same,
            differs => {
                differing += 1;
                if differing == 1 {
                    println!("the first that differs is turn {number}: {differs:?}");
                }
            }
        }
    }
    println!("actions={actions}");
    println!("turns={} differing={differing}", turns.len());
    if (differing == 0) == arguments.broken_step {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
