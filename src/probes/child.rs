//! The process that tries things: becomes the user for good, then answers requests.
//!
//! Other than the one that writes files for a user it does not give up new privileges (`prctl(2)`,
//! PR_SET_NO_NEW_PRIVS): newuidmap and newgidmap are set-user-ID or have a file capability, and with it the
//! kernel would give them neither, whereas for the user's own containers it does.
#![expect(clippy::disallowed_methods, reason = "a probe does what the stacks do; that is what is looked at")]

mod helper;
mod link;
mod overlay;
mod ping;

use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::{get_no_new_privs, set_dumpable, set_pdeathsig};
use nix::sys::signal::Signal;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrIn6, SockaddrLike, bind, setsockopt, socket,
    sockopt,
};
use nix::sys::stat::{major, minor};

use super::request::{Failure, LINE_LIMIT_BYTES, Reply, Request, Step};
use crate::apply::as_user::{Privileges, become_user, leave_session, next, reply};
use crate::plan::Credentials;

/// The most that is read of a `cgroup.controllers`, in bytes.
const CONTROLLERS_LIMIT_BYTES: u64 = 4096;

/// Runs the process: nothing has happened in it yet, and it has one thread, as `unshare(2)` wants it.
pub fn serve() -> ExitCode {
    let all = || answer_all(&mut BufReader::new(io::stdin().lock()), &mut io::stdout().lock());
    match leave_session().and_then(|()| all()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn answer_all(input: &mut impl BufRead, output: &mut impl Write) -> io::Result<()> {
    let Some(user) = next::<Credentials>(input, LINE_LIMIT_BYTES)? else { return Ok(()) };
    if let Err(why) = become_user(&user, Privileges::OfTheUser) {
        return reply(output, &Reply::Refused(why));
    }
    // A process that has changed its UID is root's in /proc (`prctl(2)`, PR_SET_DUMPABLE), and newuidmap
    // writes the maps of the user's own processes only. There is nothing of root's in this one.
    if let Err(errno) = set_dumpable(true) {
        return reply(output, &Reply::Refused(format!("cannot be the user's own: {}", errno.desc())));
    }
    reply(output, &Reply::Ready { gains_privileges: matches!(get_no_new_privs(), Ok(false)) })?;
    while let Some(request) = next::<Request>(input, LINE_LIMIT_BYTES)? {
        reply(output, &answer(&request).unwrap_or_else(Reply::Failed))?;
    }
    Ok(())
}

fn answer(request: &Request) -> Result<Reply, Failure> {
    match request {
        Request::UserNamespace => user_namespace()?,
        Request::WriteMap { helper, pid, map } => return helper::run(helper, *pid, map),
        Request::MountOverlay => overlay::mount_and_write()?,
        Request::NetworkNamespace => {
            unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| Step::NetworkNamespace.failed(errno))?;
        }
        Request::AddVxlan => link::add_vxlan()?,
        Request::Open { path, major, minor } => open(path, (*major, *minor))?,
        Request::Bind { udp, port } => bind_port(*udp, *port).map_err(|errno| Step::Bind.failed(errno))?,
        Request::Ping { path } => return ping::ask(path),
        Request::MakeCgroup { manager, name } => {
            // What takes no time and is taken back is not broken off: an end of edgeprep ends this process by the
            // end of its input.
            set_pdeathsig(None).map_err(|errno| Step::MakeCgroup.failed(errno))?;
            let made = make_cgroup(manager, name);
            set_pdeathsig(Signal::SIGKILL).map_err(|errno| Step::RemoveCgroup.failed(errno))?;
            return made;
        }
    }
    Ok(Reply::Done)
}

fn user_namespace() -> Result<(), Failure> {
    let failed = |errno| Step::UserNamespace.failed(errno);
    unshare(CloneFlags::CLONE_NEWUSER).map_err(failed)?;
    // Whatever the new credentials did to it (`PR_SET_PDEATHSIG(2const)`).
    set_pdeathsig(Signal::SIGKILL).map_err(failed)
}

fn open(path: &str, number: (u64, u64)) -> Result<(), Failure> {
    let failed = |error: io::Error| Step::Open.failed_io(&error);
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags.bits()).open(path);
    let meta = file.and_then(|file| file.metadata()).map_err(failed)?;
    let device = (major(meta.rdev()), minor(meta.rdev()));
    if meta.file_type().is_char_device() && device == number {
        return Ok(());
    }
    // What a driver says of a device that it does not know.
    Err(Step::Open.failed(Errno::ENXIO))
}

/// As Go's `net.Listen` binds, which the stacks publish ports with: all addresses of both families at once, and
/// connections that have not yet ended are no hindrance. It never listens, so nobody can connect.
fn bind_port(udp: bool, port: u16) -> nix::Result<()> {
    let any = SockaddrIn6::from(std::net::SocketAddrV6::new(std::net::Ipv6Addr::UNSPECIFIED, port, 0, 0));
    let both = open_socket(AddressFamily::Inet6, udp).and_then(|socket| {
        setsockopt(&socket, sockopt::Ipv6V6Only, &false)?;
        bind_to(&socket, &any)
    });
    match both {
        // Without IPv6.
        Err(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL) => {
            let socket = open_socket(AddressFamily::Inet, udp)?;
            bind_to(&socket, &SockaddrIn::new(0, 0, 0, 0, port))
        }
        other => other,
    }
}

fn open_socket(family: AddressFamily, udp: bool) -> nix::Result<OwnedFd> {
    let kind = if udp { SockType::Datagram } else { SockType::Stream };
    let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?;
    if !udp {
        setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    }
    Ok(socket)
}

fn bind_to(socket: &OwnedFd, address: &dyn SockaddrLike) -> nix::Result<()> {
    bind(socket.as_raw_fd(), address)
}

/// Makes a cgroup, looks at it and removes it, whatever was seen. No process is moved and no controller
/// switched on: that both may be done is told by opening the files that do it
/// (`cgroup-v2.rst`, "Delegation Containment").
fn make_cgroup(manager: &str, name: &str) -> Result<Reply, Failure> {
    let made = format!("{manager}/{name}");
    let make = || fs::create_dir(&made);
    match make() {
        // Of an earlier process with this PID, which was killed in between.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_dir(&made).and_then(|()| make())
        }
        other => other,
    }
    .map_err(|error| Step::MakeCgroup.failed_io(&error))?;
    let seen = look_at_cgroup(manager, &made);
    fs::remove_dir(&made).map_err(|error| Step::RemoveCgroup.failed_io(&error))?;
    seen
}

fn look_at_cgroup(manager: &str, made: &str) -> Result<Reply, Failure> {
    for control in [format!("{manager}/cgroup.subtree_control"), format!("{made}/cgroup.procs")] {
        let opened = OpenOptions::new().write(true).open(control);
        opened.map_err(|error| Step::Delegate.failed_io(&error))?;
    }
    let read = |cgroup: &str| {
        let mut text = String::new();
        let file = fs::File::open(format!("{cgroup}/cgroup.controllers"));
        let read = file.and_then(|file| file.take(CONTROLLERS_LIMIT_BYTES).read_to_string(&mut text));
        read.map(|_| text).map_err(|error| Step::ReadCgroup.failed_io(&error))
    };
    Ok(Reply::Controllers { manager: read(manager)?, made: read(made)? })
}
