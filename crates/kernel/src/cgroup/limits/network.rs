//! The mark that a group's packets get: version 1 only, later kernels match the group itself in nftables or BPF.

use super::write::{Target, Write, no_controller};
use super::{LimitError, Limits, Result};
use crate::cgroup::Controller;

/// The priority of a group's packets on one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfacePriority {
    /// The interface, as the host names it.
    pub name: String,
    /// The priority.
    pub priority: u32,
}

impl Limits {
    pub(super) fn write_network(&self, target: &Target<'_>, writes: &mut Vec<Write>) -> Result<()> {
        if let Some(class) = self.network_class {
            let field = "network.classID";
            target.version_of(Controller::NetCls).ok_or_else(|| no_controller(field, Controller::NetCls))?;
            writes.push(Write::new(field, Controller::NetCls, "net_cls.classid", class.to_string()));
        }
        for InterfacePriority { name, priority } in &self.network_priorities {
            let field = "network.priorities";
            // `IFNAMSIZ` of the kernel counts a NUL.
            if name.is_empty()
                || name.len() > 15
                || name.contains(|letter: char| letter.is_whitespace() || letter == '/')
            {
                return Err(LimitError::invalid(field, format_args!("{name:?} is no name of an interface")));
            }
            target.require(Controller::NetPrio, field)?;
            writes.push(Write::new(field, Controller::NetPrio, "net_prio.ifpriomap", format!("{name} {priority}")));
        }
        Ok(())
    }
}
