//! An employee with a scripted model and channel, on a measured store.

use std::sync::Arc;

use konstruct_core::{
    ConnectionId, Employee, TenantId,
    channel::Find,
    employee::TurnLimits,
    testkit::{ScriptedChannel, ScriptedDirectory, ScriptedModel, VirtualClock, World},
    tool::Toolbox,
    turn::{Driver, Worker},
};

use crate::{Failed, store::Store};

/// A tenant whose employee answers immediately.
#[derive(Debug)]
pub struct Staffed {
    /// The tenant.
    pub tenant: TenantId,
    /// Its channel.
    pub connection: ConnectionId,
    /// Its worker.
    pub worker: Worker,
}

impl Staffed {
    /// Creates an employee who sees this many messages of a conversation.
    ///
    /// # Errors
    /// Invalid settings of the employee, which do not occur.
    pub fn hire(
        store: &Store,
        clock: VirtualClock,
        model: ScriptedModel,
        window_messages: u32,
    ) -> Result<Self, Failed> {
        let (tenant, connection) = (TenantId::new(), ConnectionId::new());
        let directory = ScriptedDirectory::default();
        let employee = Employee::builder("Ava").limits(TurnLimits::default().with(|it| {
            it.burst_ms = 0;
            it.window_messages = window_messages;
        }));
        let tools = Toolbox::builder().build()?;
        directory.hire(tenant, employee.build()?, Arc::new(model), tools);
        let channel = ScriptedChannel::new(World::default(), Arc::new(clock.clone()), Find::Query);
        directory.connect(tenant, connection, channel);
        let driver = Driver::new(
            Arc::clone(&store.turn_store),
            Arc::new(directory),
            Some(Arc::clone(&store.memory)),
            Arc::new(clock),
        );
        Ok(Self {
            tenant,
            connection,
            worker: Worker::new(driver),
        })
    }
}
