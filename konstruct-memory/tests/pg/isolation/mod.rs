//! Proof that tenants are separated: an audit of the catalogue, a probe of its guarantees, and mutants that both must find.

mod audit;
mod mutants;
mod probe;

pub(crate) use self::audit::audit;
