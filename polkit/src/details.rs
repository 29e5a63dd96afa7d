//! The target and the portal that an action is about.

use iscsi_initiator_dbus::{Iqn, Portal};

/// What the action is about: polkit's rules and the person who is asked see it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Details<'a> {
    /// None: no target, or every one; polkit is told `any`.
    pub target: Option<&'a Iqn>,
    /// None: no portal, or every known one; polkit is told `any`.
    pub portal: Option<&'a Portal>,
}
