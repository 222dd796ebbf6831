//! The sockets of container engines: whether one exists, and who may use it.

use super::{Evidence, Facts, Sourced};
use crate::host::{Fact, Kind, OrAbsent, SpecialFile, Stat, Unread};

/// Where a system-wide Docker listens. `/var/run` is a link to `/run` on all but old systems.
pub const DOCKER_SOCKET: &str = "/run/docker.sock";

/// The socket of the user's Podman (`podman-system-service(1)`: `$XDG_RUNTIME_DIR/podman/podman.sock`).
pub fn podman_socket_path(uid: u32) -> String {
    format!("/run/user/{uid}/podman/podman.sock")
}

/// The socket of the user's rootless Docker (`dockerd-rootless.sh`: `$XDG_RUNTIME_DIR/docker.sock`).
pub fn docker_socket_path(uid: u32) -> String {
    format!("/run/user/{uid}/docker.sock")
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
}
