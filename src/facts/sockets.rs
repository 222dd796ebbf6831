//! The sockets of container engines: whether one exists, and who may use it.

use super::{Evidence, Facts, Sourced};
use crate::host::{Fact, Kind, OrAbsent, SpecialFile, Stat, Unread};

/// Where a system-wide Docker listens. `/var/run` is a link to `/run` on all but old systems.
pub const DOCKER_SOCKET: &str = "/run/docker.sock";

/// The socket of root's Podman (`podman-system-service(1)`).
pub const ROOT_PODMAN_SOCKET: &str = "/run/podman/podman.sock";

/// The socket of the user's Podman (`podman-system-service(1)`: `$XDG_RUNTIME_DIR/podman/podman.sock`).
pub fn podman_socket_path(uid: u32) -> String {
    match uid {
        0 => ROOT_PODMAN_SOCKET.to_owned(),
        uid => format!("/run/user/{uid}/podman/podman.sock"),
    }
}

impl Facts {
    /// What is known of a socket; `None` where nothing is there. That it exists does not say that
    /// someone listens.
    ///
    /// # Errors
    /// [`Unread::NotRunning`] in an image root, [`Unread::Special`] for what is no socket, and why it
    /// could not be looked at.
    pub fn user_socket(&self, path: &str) -> Fact<Option<Sourced<Stat>>> {
        self.need_running("whether a socket exists")?;
        let Some(stat) = self.stat(path).or_absent()? else { return Ok(None) };
        let found = match stat.kind {
            Kind::Socket => {
                let at = Evidence::path(path, format!("socket, mode {:04o}, owner {}", stat.mode, stat.uid));
                return Ok(Some(Sourced { value: stat, at }));
            }
            Kind::File | Kind::Link => SpecialFile::File,
            Kind::Dir => SpecialFile::Dir,
            Kind::Char(..) | Kind::Block => SpecialFile::Device,
            Kind::Fifo => SpecialFile::Fifo,
        };
        Err(Unread::Special { path: path.to_owned(), found })
    }

    /// Whether something listens on a socket: systemd leaves the file of one that was stopped
    /// (`systemd.socket(5)`, "RemoveOnStop=").
    ///
    /// # Errors
    /// [`Unread::NotRunning`] in an image root, and why the kernel's list could not be read.
    pub fn socket_listens(&self, path: &str) -> Fact<bool> {
        self.need_running("whether a socket listens")?;
        let mut found = false;
        self.scan("/proc/net/unix", &mut |line| {
            found = listens_on(line, path);
            !found
        })?;
        Ok(found)
    }
}

/// Whether a line of `/proc/net/unix` is that of a socket that listens on `path`: slot, references,
/// protocol, flags, type, state, inode, path (`net/unix/af_unix.c`, `unix_seq_show`).
fn listens_on(line: &[u8], path: &str) -> bool {
    /// `__SO_ACCEPTCON` of `include/linux/net.h`.
    const ACCEPTS: u32 = 1 << 16;
    let Ok(line) = std::str::from_utf8(line) else { return false };
    let mut fields = line.split_ascii_whitespace();
    let flags = fields.nth(3).and_then(|flags| u32::from_str_radix(flags, 16).ok());
    flags.is_some_and(|flags| flags & ACCEPTS != 0) && fields.nth(3) == Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::empty_host;

    #[test]
    fn a_socket_is_told_from_what_stands_in_its_place() {
        let path = podman_socket_path(1000);
        let host = empty_host().path(&path, |record| {
            record.kind = Some("socket".to_owned());
            record.mode = Some("0660".to_owned());
            record.uid = Some(1000);
        });
        let found = host.clone().facts().user_socket(&path).unwrap().unwrap();
        assert_eq!(found.at.text, "socket, mode 0660, owner 1000");
        assert_eq!(empty_host().facts().user_socket(&path), Ok(None));
        // Docker makes a directory where a bind mount of a missing socket was wanted.
        let dir = empty_host().dir(DOCKER_SOCKET, "0755", 0).facts().user_socket(DOCKER_SOCKET);
        assert_eq!(dir, Err(Unread::Special { path: DOCKER_SOCKET.to_owned(), found: SpecialFile::Dir }));
        assert!(matches!(host.image().facts().user_socket(&path), Err(Unread::NotRunning { .. })));
    }

    /// From a Linux 6.12 machine, with a connection after the socket that listens.
    const UNIX: &str = "Num       RefCount Protocol Flags    Type St Inode Path\n\
        00000000bc6f6fa4: 00000002 00000000 00010000 0001 01  3762 /run/user/1000/podman/podman.sock\n\
        00000000bc6f6fa8: 00000003 00000000 00000000 0001 03  3763 /run/docker.sock\n";

    #[test]
    fn a_socket_that_listens_is_told_from_a_leftover() {
        let facts = empty_host().file("/proc/net/unix", UNIX).facts();
        assert_eq!(facts.socket_listens("/run/user/1000/podman/podman.sock"), Ok(true));
        assert_eq!(facts.socket_listens("/run/docker.sock"), Ok(false));
        assert_eq!(facts.socket_listens("/run/user/1000/podman"), Ok(false));
        assert!(empty_host().facts().socket_listens("/run/docker.sock").is_err());
    }
}
