//! What the processes of a probe are asked, and what they answer: a line of JSON each. An answer comes from a
//! process that its user controls, so it holds numbers and short texts, and nothing is done on its word.

use std::fmt;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

/// The longest line, either way, in bytes.
pub(super) const LINE_LIMIT_BYTES: u64 = 64 << 10;

/// What an answer is called that does not belong to the question.
pub(super) const NO_ANSWER: &str = "the process that tries it gave another answer";

/// A line of an ID map (`user_namespaces(7)`, "User and group ID mappings").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct MapLine {
    /// The first ID inside.
    pub(super) inside: u32,
    /// The first ID outside.
    pub(super) outside: u32,
    /// How many there are.
    pub(super) count: u32,
}

/// What a process is asked to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Request {
    /// Go into a new user namespace, for good.
    UserNamespace,
    /// Run a helper that writes the map of another process.
    WriteMap { helper: String, pid: u32, map: Vec<MapLine> },
    /// Go into a new mount namespace, mount an overlay there and write to it.
    MountOverlay,
    /// Go into a new network namespace, for good.
    NetworkNamespace,
    /// Go into a new network namespace, for good, and make a VXLAN interface there.
    AddVxlan,
    /// Open a character device of this number, and close it.
    Open { path: String, major: u64, minor: u64 },
    /// Bind a port on all addresses, and close the socket.
    Bind { udp: bool, port: u16 },
    /// Ask whoever listens on a socket for `/_ping`, as clients of Docker do.
    Ping { path: String },
    /// Make a cgroup of this name below that of a user manager, look at it, and remove it.
    MakeCgroup { manager: String, name: String },
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Reply {
    /// It is the user. This answers the first line.
    Ready {
        /// Whether set-user-ID programs and file capabilities work for it.
        gains_privileges: bool,
    },
    /// It is not, for this reason. This answers the first line.
    Refused(String),
    /// It was done.
    Done,
    /// A step of it was refused.
    Failed(Failure),
    /// The helper ended with this code, or by a signal, and said this.
    Ended { code: Option<i32>, said: String },
    /// What was answered: the code of HTTP, and whether it is Podman's API.
    Pong { status: u16, is_podman: bool },
    /// What the cgroup of the user manager and the one made below it have, as the kernel writes it.
    Controllers { manager: String, made: String },
}

/// A step that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failure {
    pub(super) step: Step,
    pub(super) errno: i32,
}

/// A step of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Step {
    UserNamespace,
    MountNamespace,
    NetworkNamespace,
    Vxlan,
    PrivateMounts,
    Tmpfs,
    Files,
    Overlay,
    WriteToOverlay,
    Helper,
    Open,
    Bind,
    Connect,
    Ping,
    MakeCgroup,
    ReadCgroup,
    Delegate,
    RemoveCgroup,
}

impl Step {
    /// A refusal of this step.
    pub(super) fn failed(self, errno: Errno) -> Failure {
        Failure { step: self, errno: errno as i32 }
    }

    /// The same, for what the standard library says.
    pub(super) fn failed_io(self, error: &std::io::Error) -> Failure {
        Failure { step: self, errno: error.raw_os_error().unwrap_or(Errno::EIO as i32) }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::UserNamespace => "making a user namespace",
            Step::MountNamespace => "making a mount namespace",
            Step::NetworkNamespace => "making a network namespace",
            Step::Vxlan => "making a VXLAN interface in a network namespace",
            Step::PrivateMounts => "making its mounts private",
            Step::Tmpfs => "mounting tmpfs in a user namespace",
            Step::Files => "making files on tmpfs",
            Step::Overlay => "mounting overlay in a user namespace",
            Step::WriteToOverlay => "writing to a file of the overlay",
            Step::Helper => "starting it",
            Step::Open => "opening it",
            Step::Bind => "binding it",
            Step::Connect => "connecting to it",
            Step::Ping => "asking for /_ping",
            Step::MakeCgroup => "making a cgroup",
            Step::ReadCgroup => "reading cgroup.controllers",
            Step::Delegate => "opening cgroup.subtree_control and cgroup.procs for writing",
            Step::RemoveCgroup => "removing the cgroup again",
        })
    }
}

impl Failure {
    /// Its number.
    pub(super) fn errno(self) -> Errno {
        Errno::from_raw(self.errno)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({:?})", self.step, self.errno().desc(), self.errno())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_reads_as_the_kernel_calls_it() {
        assert_eq!(
            Step::UserNamespace.failed(Errno::ENOSPC).to_string(),
            "making a user namespace: No space left on device (ENOSPC)"
        );
    }

    #[test]
    fn both_survive_the_pipe() {
        let request = Request::WriteMap {
            helper: "/usr/bin/newuidmap".to_owned(),
            pid: 7,
            map: vec![MapLine { inside: 0, outside: 1000, count: 1 }],
        };
        let text = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), request);
        let reply = Reply::Failed(Step::Bind.failed(Errno::EACCES));
        let text = serde_json::to_string(&reply).unwrap();
        assert_eq!(serde_json::from_str::<Reply>(&text).unwrap(), reply);
    }
}
