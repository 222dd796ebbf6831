//! What is asked of a user manager. A user's bus lets nobody in but that user, so that root hands the
//! request to a child with the user's credentials, which carries it out here.

use std::io;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zbus::Variant;

use super::bus::{Bus, BusError, CALL_TIMEOUT, Job, Property};

/// How long a controller may take from one level of the hierarchy to the next, once asked for.
pub const CONTROLLERS_WITHIN: Duration = Duration::from_secs(2);

/// Between two looks at what the kernel has.
pub const CONTROLLERS_POLL: Duration = Duration::from_millis(100);

/// The slice in which it is seen what a unit of the user manager gets.
const SLICE: &str = "edgeprep.slice";

/// A request to a user manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UserCall {
    /// Read the unit files again.
    Reload,
    /// Execute the manager again, which its units outlive (`systemctl(1)`, `daemon-reexec`).
    Reexecute,
    /// A job for a unit. One that failed, or was started too often, is started all the same.
    Job {
        /// Which one.
        kind: Job,
        /// The unit.
        unit: String,
    },
    /// End the pause process of Podman.
    EndPodmanPause,
    /// See whether a unit gets these controllers when it asks for them.
    VerifyDelegation {
        /// The controllers, by the kernel's names.
        controllers: Vec<String>,
    },
}

/// The bus of a user manager: the socket of `dbus.socket` in the runtime directory (`pam_systemd(8)`,
/// `$DBUS_SESSION_BUS_ADDRESS`).
pub fn user_bus(uid: u32) -> String {
    format!("/run/user/{uid}/bus")
}

impl UserCall {
    /// Carries it out with this process's own credentials, on the bus of the user with this UID.
    ///
    /// # Errors
    /// See [`BusError`].
    #[expect(
        clippy::disallowed_methods,
        reason = "what the kernel has now, after a change, is no fact of a report"
    )]
    pub fn perform(&self, uid: u32) -> Result<(), BusError> {
        if *self == UserCall::EndPodmanPause {
            return super::podman_pause::end(uid).map_err(|message| BusError::Failed {
                call: "letting Podman make a new user namespace".to_owned(),
                message,
            });
        }
        let bus = Bus::at(&format!("unix:path={}", user_bus(uid)), CALL_TIMEOUT)?;
        self.perform_on(&bus, |cgroup| {
            std::fs::read_to_string(format!("/sys/fs/cgroup{cgroup}/cgroup.controllers"))
        })
    }

    /// Carries it out on this bus; `controllers` reads the file of that name in a cgroup.
    ///
    /// # Errors
    /// See [`BusError`].
    pub fn perform_on(
        &self,
        bus: &Bus,
        controllers: impl Fn(&str) -> io::Result<String>,
    ) -> Result<(), BusError> {
        match self {
            UserCall::Reload => bus.reload(),
            UserCall::Reexecute => bus.reexecute(),
            UserCall::Job { kind, unit } => {
                if *kind == Job::Start {
                    bus.reset_failed(unit)?;
                }
                bus.job(*kind, unit)
            }
            UserCall::EndPodmanPause => Ok(()),
            UserCall::VerifyDelegation { controllers: wanted } => verify(bus, wanted, controllers),
        }
    }
}

/// Starts a slice that asks for each controller and looks at what the kernel gives it. A manager that was
/// there before the grant knows of no further controller (systemd, `src/core/cgroup.c`,
/// `manager_setup_cgroup`) and gives it to no unit, be it such a slice or a service with `Delegate=yes`:
/// both take what is in the mask of all controllers that the manager knows. A slice needs no program, and
/// its cgroup goes with it.
fn verify(
    bus: &Bus,
    wanted: &[String],
    controllers: impl Fn(&str) -> io::Result<String>,
) -> Result<(), BusError> {
    bus.with_transient_slice(SLICE, &asks_for(wanted), |bus| {
        let cgroup = bus.slice_control_group(SLICE)?;
        let mut left = CONTROLLERS_WITHIN;
        loop {
            let lacking = match controllers(&cgroup) {
                Ok(text) => missing(wanted, &text),
                Err(error) => {
                    let call = format!("reading cgroup.controllers of {cgroup}");
                    return Err(BusError::Failed { call, message: error.to_string() });
                }
            };
            if lacking.is_empty() {
                return Ok(());
            }
            if left.is_zero() {
                return Err(BusError::NotDelegated { missing: lacking });
            }
            thread::sleep(CONTROLLERS_POLL);
            left = left.saturating_sub(CONTROLLERS_POLL);
        }
    })
}

/// Those of `wanted` that are not in the text of a `cgroup.controllers`.
pub fn missing(wanted: &[String], text: &str) -> Vec<String> {
    let has = |name: &str| text.split_ascii_whitespace().any(|word| word == name);
    wanted.iter().filter(|name| !has(name)).cloned().collect()
}

/// Properties that make a manager enable these controllers for a unit and that change nothing
/// (`systemd.resource-control(5)`; which property takes which controller: systemd, `src/core/cgroup.c`,
/// `unit_get_cgroup_mask`). `CPUAccounting=` is none of them: newer versions ignore it there.
fn asks_for(wanted: &[String]) -> Vec<Property> {
    let property = |name: &String| match name.as_str() {
        "cpu" => Some(("CPUWeight", Variant::U64(100))),
        // A bit mask, lowest byte first: processor 0. There is no process in the slice to keep there.
        "cpuset" => Some(("AllowedCPUs", Variant::from(vec![1_u8]))),
        "io" => Some(("IOAccounting", Variant::Bool(true))),
        "memory" => Some(("MemoryAccounting", Variant::Bool(true))),
        "pids" => Some(("TasksAccounting", Variant::Bool(true))),
        // systemd gives no other (`CGROUP_MASK_DELEGATE`): it will be missing, and said so.
        _ => None,
    };
    wanted.iter().filter_map(property).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_is_missing_unless_it_is_there_by_its_whole_name() {
        let wanted = ["cpu", "cpuset", "io"].map(str::to_owned);
        assert_eq!(missing(&wanted, "cpuset memory pids\n"), ["cpu", "io"]);
        assert_eq!(missing(&wanted, "cpuset cpu io\n"), [""; 0]);
        assert_eq!(missing(&wanted, ""), wanted);
    }

    #[test]
    fn a_request_survives_the_way_to_the_child() {
        for call in [
            UserCall::Reload,
            UserCall::Reexecute,
            UserCall::Job { kind: Job::ReloadOrRestart, unit: "podman.socket".to_owned() },
            UserCall::VerifyDelegation { controllers: vec!["io".to_owned()] },
        ] {
            let text = serde_json::to_string(&call).unwrap();
            assert_eq!(serde_json::from_str::<UserCall>(&text).unwrap(), call, "{text}");
        }
        for error in [
            BusError::NotDelegated { missing: vec!["io".to_owned()] },
            BusError::Timeout { call: "a".to_owned(), after: Duration::from_millis(1500) },
        ] {
            let text = serde_json::to_string(&error).unwrap();
            assert_eq!(serde_json::from_str::<BusError>(&text).unwrap(), error, "{text}");
        }
    }
}
