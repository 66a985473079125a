//! The employee of a tenant. All versions are kept, because a turn is pinned to one.

use konstruct_core::{Employee, Error, ErrorKind, Result, TenantId};
use konstruct_memory::{Expect, RowChange};

use super::{Replaces, ServerDirectory, encode};

const TABLE: &str = "employee";
const LATEST: &str = "latest";

fn version_key(version: u32) -> String {
    format!("v{version:010}")
}

impl ServerDirectory {
    /// Returns the newest version of a tenant's employee, or a specific one, with its number.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn employee(
        &self,
        tenant: TenantId,
        version: Option<u32>,
    ) -> Result<Option<(u32, Employee)>> {
        let version = match version {
            Some(version) => version,
            None => match self.read(Some(tenant), TABLE, LATEST).await? {
                Some(version) => version,
                None => return Ok(None),
            },
        };
        let employee: Option<Employee> = self
            .read(Some(tenant), TABLE, &version_key(version))
            .await?;
        Ok(employee.map(|employee| (version, employee)))
    }

    /// Hires a tenant's employee.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if there is an employee, [`ErrorKind::InvalidInput`] that names the field, and those of the store.
    pub async fn hire(&self, tenant: TenantId, employee: &Employee) -> Result<u32> {
        self.check_employee(employee)?;
        if self.write_employee(tenant, 1, employee).await? {
            Ok(1)
        } else {
            Err(Error::new(
                ErrorKind::Conflict,
                "employee: the tenant already has an employee; change it instead of hiring a second one",
            )
            .with_field("employee"))
        }
    }

    /// Changes a tenant's employee. Open turns continue with the version that they started with.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no employee, [`ErrorKind::Conflict`] if it is not the version to replace,
    /// [`ErrorKind::InvalidInput`] that names the field, and those of the store.
    pub(crate) async fn change_employee(
        &self,
        tenant: TenantId,
        employee: &Employee,
        replaces: Replaces,
    ) -> Result<u32> {
        let (version, before) = self
            .employee(tenant, None)
            .await?
            .ok_or_else(|| Error::not_found("employee"))?;
        self.check_employee(employee)?;
        replaces.check(Some(version))?;
        let mut employee = employee.clone();
        employee.id = before.id;
        if self.write_employee(tenant, version + 1, &employee).await? {
            Ok(version + 1)
        } else {
            Err(Replaces::stale())
        }
    }

    fn check_employee(&self, employee: &Employee) -> Result<()> {
        employee.validate()?;
        for (i, name) in employee.tools.iter().enumerate() {
            if !self.tools.names().any(|tool| tool == name) {
                let known: Vec<_> = self.tools.names().map(|tool| format!("`{tool}`")).collect();
                return Err(Error::invalid(
                    &format!("tools[{i}]"),
                    format!("must be one of {}", known.join(", ")),
                ));
            }
        }
        Ok(())
    }

    async fn write_employee(
        &self,
        tenant: TenantId,
        version: u32,
        employee: &Employee,
    ) -> Result<bool> {
        let expect = if version == 1 {
            Expect::Absent
        } else {
            Expect::Exact(encode(&(version - 1))?)
        };
        let row = |key: &str, expect, value| {
            RowChange::put(Some(tenant), TABLE, key, value).expecting(expect)
        };
        let changes = vec![
            row(LATEST, expect, encode(&version)?),
            row(&version_key(version), Expect::Absent, encode(employee)?),
        ];
        self.rows.write_rows(changes).await
    }
}
