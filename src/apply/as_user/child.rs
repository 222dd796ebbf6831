//! The child: becomes the user for good, then answers requests.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::sys::prctl::{set_no_new_privs, set_pdeathsig};
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, getgroups, getresgid, getresuid, setgroups, setresgid, setresuid};

use super::process::leave_session;
use super::{LINE_LIMIT_BYTES, Request, Response};
use crate::apply::target::Target;
use crate::plan::Credentials;

/// Runs the child: nothing has happened in this process yet, and it has one thread.
pub fn serve() -> ExitCode {
    let all = || answer_all(&mut BufReader::new(io::stdin().lock()), &mut io::stdout().lock());
    match leave_session().and_then(|()| all()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn answer_all(input: &mut impl BufRead, output: &mut impl Write) -> io::Result<()> {
    let Some(user) = next::<Credentials>(input, LINE_LIMIT_BYTES)? else { return Ok(()) };
    if let Err(why) = become_user(&user, Privileges::GivenUp) {
        return reply(output, &Response::Refused(why));
    }
    reply(output, &Response::Ready)?;
    let target = Target::home(&user.home, user.uid);
    while let Some(request) = next::<Request>(input, LINE_LIMIT_BYTES)? {
        reply(output, &answer(&target, &user.home, user.uid, request))?;
    }
    Ok(())
}

/// Does one request. One that is not about a path of the user's is to be done here, too.
fn answer(target: &Target, home: &str, uid: u32, request: Request) -> Response {
    let done = match request {
        Request::Observe { path } => target.observe(&path).map(Response::State),
        // Root's fix and the user's own can meet here.
        Request::Put { path, from, to } => {
            Target::live().lock(home).and_then(|_lock| target.put(&path, &from, &to)).map(|()| Response::Done)
        }
        Request::Sweep { path } => target.sweep(&path).map(|()| Response::Done),
        Request::Call { call } => {
            return call.perform(uid).map_or_else(Response::Refusal, |()| Response::Done);
        }
    };
    done.unwrap_or_else(Response::Failed)
}

/// Whether a process that became a user can still execute a program that is more than the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privileges {
    /// No (`prctl(2)`, PR_SET_NO_NEW_PRIVS).
    GivenUp,
    /// As the user can.
    OfTheUser,
}

/// Becomes the user in a way that cannot be taken back, or says why not. The process dies with its parent.
pub(crate) fn become_user(user: &Credentials, privileges: Privileges) -> Result<(), String> {
    if user.uid == 0 {
        return Err("root is not a user to act for".to_owned());
    }
    let failed = |what: &str| {
        let what = what.to_owned();
        move |errno: Errno| format!("{what}: {}", errno.desc())
    };
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    let now = getresuid().map_err(failed("cannot tell as whom this process runs"))?;
    if now.effective.is_root() {
        let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
        setgroups(&groups).map_err(|errno| match errno {
            Errno::EPERM => format!(
                "cannot take on the groups of {}: {}; a user namespace in which setgroups is denied, or a \
                 container without CAP_SETGID, cannot act for a user",
                user.name,
                errno.desc()
            ),
            errno => failed(&format!("cannot take on the groups of {}", user.name))(errno),
        })?;
        setresgid(gid, gid, gid).map_err(failed(&format!("cannot take on the GID {gid}")))?;
        setresuid(uid, uid, uid).map_err(|errno| match errno {
            Errno::EINVAL => {
                format!("cannot take on the UID {uid}: it is not mapped into this user namespace")
            }
            errno => failed(&format!("cannot take on the UID {uid}"))(errno),
        })?;
        let got = getgroups().map_err(failed("cannot tell which groups this process has"))?;
        let got: BTreeSet<u32> = got.into_iter().map(Gid::as_raw).collect();
        let groups: BTreeSet<u32> = user.groups.iter().copied().collect();
        let gids = getresgid().map_err(failed("cannot tell which GID this process has"))?;
        if got != groups || [gids.real, gids.effective, gids.saved] != [gid; 3] {
            return Err(format!("the groups of {} were not taken on", user.name));
        }
    }
    let now = getresuid().map_err(failed("cannot tell as whom this process runs"))?;
    if [now.real, now.effective, now.saved] != [uid; 3] {
        return Err(format!("UID {} cannot act for {} (UID {uid})", now.real, user.name));
    }
    // `prctl(2)`, PR_SET_SECUREBITS: capabilities can be made to outlive the UID.
    let root = Uid::from_raw(0);
    if setresuid(root, root, root).is_ok() {
        return Err("this process could become root again".to_owned());
    }
    if privileges == Privileges::GivenUp {
        set_no_new_privs().map_err(failed("cannot give up new privileges"))?;
    }
    // After the last change of the UID, which clears it. A parent that died before has closed our input.
    set_pdeathsig(Signal::SIGKILL).map_err(failed("cannot die with the parent"))?;
    umask(Mode::from_bits_truncate(0o022));
    Ok(())
}

/// The next line; `None` at the end.
pub(crate) fn next<T: serde::de::DeserializeOwned>(
    input: &mut impl BufRead,
    limit_bytes: u64,
) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    if input.take(limit_bytes).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    serde_json::from_slice(&line).map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Writes a line.
pub(crate) fn reply(output: &mut impl Write, response: &impl serde::Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(response)?;
    line.push(b'\n');
    output.write_all(&line)?;
    output.flush()
}
