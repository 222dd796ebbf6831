//! Which networks the host reaches others by: those of its routes and addresses, without the default route
//! and without networks of containers.

use std::net::IpAddr;

use super::cidr::Cidr;
use super::routes::{LocalAddress, Route};
use super::{Facts, Sourced};
use crate::host::Fact;

/// Interfaces of container networks (Podman: `podman0`; CNI: `cni0`, `cni-podman0`; flannel:
/// `flannel.1`): a network of theirs is one of the stacks', not one that the host reaches others by.
const OWN_INTERFACES: [&str; 3] = ["podman", "cni", "flannel"];

/// What the host uses.
#[derive(Clone, Debug)]
pub struct NetworksInUse {
    routes: Vec<Route>,
    addresses: Vec<LocalAddress>,
}

impl NetworksInUse {
    /// Each route and address that has an address in common with this network, in words.
    pub fn overlapping(&self, wanted: &Cidr) -> Vec<Sourced<String>> {
        let routes: Vec<&Route> = self.routes.iter().filter(|r| r.destination.overlaps(wanted)).collect();
        // An address of a network that is found already says nothing new.
        let known = |address| routes.iter().any(|route| route.destination.contains(address));
        let addresses = self.addresses.iter().filter(|l| wanted.contains(l.address) && !known(l.address));
        let of_route = |route: &&Route| Sourced {
            value: format!("{} on {}", route.destination, route.interface),
            at: route.at.clone(),
        };
        let of_address =
            |local: &LocalAddress| Sourced { value: local.address.to_string(), at: local.at.clone() };
        routes.iter().map(of_route).chain(addresses.map(of_address)).collect()
    }
}

impl Facts {
    /// What the host uses now.
    ///
    /// # Errors
    /// Why routes or addresses could not be read.
    pub fn networks_in_use(&self) -> Fact<NetworksInUse> {
        let is_own = |route: &Route| OWN_INTERFACES.iter().any(|own| route.interface.starts_with(own));
        let all = self.routes()?;
        // The host has an address in each of its container networks.
        let own =
            |address: IpAddr| all.iter().any(|route| is_own(route) && route.destination.contains(address));
        let addresses = self.local_addresses()?;
        let addresses = addresses.iter().filter(|local| !own(local.address)).cloned().collect();
        let routes = all.iter().filter(|route| !route.destination.is_default() && !is_own(route));
        Ok(NetworksInUse { routes: routes.cloned().collect(), addresses })
    }
}
