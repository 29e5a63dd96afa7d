//! The target and the portal that an action is about.

use iscsi_initiator_dbus::{Iqn, Portal};

/// What the action applies to, for polkit's rules and the user who is prompted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Details<'a> {
    /// None: no target, or every target; polkit gets `any`.
    pub target: Option<&'a Iqn>,
    /// None: no portal, or every known one; polkit gets `any`.
    pub portal: Option<&'a Portal>,
}
