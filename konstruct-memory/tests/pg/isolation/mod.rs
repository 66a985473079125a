//! The proof that tenants are kept apart: an audit of the catalogue, a probe of what it promises, and mutants that both must
//! find.

mod audit;
mod mutants;
mod probe;

pub(crate) use self::audit::audit;
