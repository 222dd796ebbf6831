//! The network backend that a user's Podman once chose, and keeps.

use super::users::User;
use super::{Facts, Sourced};
use crate::host::{Fact, OrAbsent};

impl Facts {
    /// The content of `defaultNetworkBackend` in the user's storage: `netavark`, `cni`, or what
    /// Podman refuses; `None` where Podman has not chosen yet (containers/common,
    /// `libnetwork/network/interface.go`, `defaultNetworkBackend`).
    ///
    /// # Errors
    /// As [`Facts::storage_conf`], and why the file could not be read.
    pub fn stored_network_backend(&self, user: &User) -> Fact<Option<Sourced<String>>> {
        let storage = self.storage_conf(user)?;
        let path = format!("{}/defaultNetworkBackend", storage.graphroot.trim_end_matches('/'));
        let source = self.user_source(&path, user.uid, &user.groups).or_absent()?;
        Ok(source.map(|source| source.whole(source.text().to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::empty_host;

    #[test]
    fn the_file_is_in_the_storage_of_the_user() {
        let user = User::example("edge", 1000);
        let path = "/home/edge/.local/share/containers/storage/defaultNetworkBackend";
        let facts = empty_host().file(path, "cni").facts();
        let found = facts.stored_network_backend(&user).unwrap().unwrap();
        assert_eq!((found.value.as_str(), found.at.to_string()), ("cni", format!("{path}:1")));
        assert_eq!(empty_host().facts().stored_network_backend(&user), Ok(None));
        assert!(empty_host().error(path, "denied").facts().stored_network_backend(&user).is_err());
    }
}
