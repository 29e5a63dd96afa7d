//! The arguments that are text: targets, portals, holders, `startup`.

use crate::{Fault, Iqn, LeaseHolder, Portal, fault::Result, results::Startup};

/// A target argument that must be there.
///
/// # Errors
///
/// `InvalidArgs`, beginning with `argument`, if the text is not an iSCSI name.
pub fn target(argument: &str, text: &str) -> Result<Iqn> {
    text.parse().map_err(|why| Fault::invalid(argument, why))
}

/// A portal argument; the empty text means every portal.
///
/// # Errors
///
/// `InvalidArgs`, beginning with `argument`, if the text is neither empty nor a portal.
pub fn portal(argument: &str, text: &str) -> Result<Option<Portal>> {
    if text.is_empty() {
        Ok(None)
    } else {
        text.parse().map(Some).map_err(|why| Fault::invalid(argument, why))
    }
}

/// The name that a lease is taken with.
///
/// # Errors
///
/// `InvalidArgs`, beginning with `argument`, if the text is not the name of a holder.
pub fn holder(argument: &str, text: &str) -> Result<LeaseHolder> {
    text.parse().map_err(|why| Fault::invalid(argument, why))
}

/// When a node is to be logged in to. What the boot needs (`onboot`) is not for a caller to set.
///
/// # Errors
///
/// `InvalidArgs`, beginning with `argument`, if the text is neither `manual` nor `automatic`.
pub fn startup(argument: &str, text: &str) -> Result<Startup> {
    match text.parse() {
        Ok(startup @ (Startup::Manual | Startup::Automatic)) => Ok(startup),
        _ => Err(Fault::invalid(argument, "must be manual or automatic")),
    }
}
