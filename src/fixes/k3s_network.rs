//! A network of policy for K3s that cannot be: K3s would start with it, and hosts, pods or services with the
//! same addresses would be out of its reach. Nothing is written then.

use super::FixError;
use crate::facts::Facts;
use crate::facts::cidr::Cidr;
use crate::facts::users::User;
use crate::profile::CIDR_VARIABLE;
use crate::requirements::{Requirements, Stack};

/// The networks of pods and services, and what they are unless K3s is told otherwise (k3s:
/// pkg/cli/cmds/server.go).
const OF_THE_CLUSTER: [(&str, &str, &str); 2] =
    [("cluster-cidr", "10.42.0.0/16", "pods"), ("service-cidr", "10.43.0.0/16", "services")];

/// Refuses the network that policy gives K3s where the host, or the K3s of one of these users, has it
/// already. What cannot be read refuses nothing: `subnet-overlap` says so.
///
/// # Errors
/// [`FixError::Refused`], with the place in policy and what is in the way.
pub fn refuse(facts: &Facts, req: &Requirements, users: &[User]) -> Result<(), FixError> {
    let wanted = req.k3s.get(CIDR_VARIABLE).filter(|_| req.stacks.contains(&Stack::K3s));
    let Some((value, origin)) = wanted else { return Ok(()) };
    let Ok(cidr) = value.parse::<Cidr>() else { return Ok(()) };
    let refused = |taken: String| {
        Err(FixError::Refused(format!(
            "{origin}: cidr = \"{value}\" of [k3s] overlaps {taken}: choose another"
        )))
    };
    if facts.running()
        && let Ok(used) = facts.networks_in_use()
        && let Some(first) = used.overlapping(&cidr).first()
    {
        return refused(format!("{}, which the host uses ({})", first.value, first.at));
    }
    for user in users {
        let Ok(options) = facts.k3s_options(user) else { continue };
        for (option, by_default, whose) in OF_THE_CLUSTER {
            let Ok(given) = options.networks(option) else { continue };
            let networks = given.unwrap_or_else(|| by_default.parse().ok().into_iter().collect());
            if let Some(taken) = networks.iter().find(|taken| taken.overlaps(&cidr)) {
                let at = options.at(option).map(|at| format!(" ({at})")).unwrap_or_default();
                return refused(format!("{taken}, the network of {whose} of {}{at}", user.name));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{TestHost, fixture};
    use crate::profile::Layer;

    const CONFIG: &str = "/etc/rancher/k3s/config.yaml";

    fn refusal(host: TestHost, stack: Stack) -> Option<String> {
        let text = "user = \"edge\"\n\n[k3s]\ncidr = \"10.64.0.0/16\"\n";
        let req = Requirements::merge(&[stack], &[Layer::parse("site.toml", text).unwrap()]).unwrap();
        let refused = refuse(&host.facts(), &req, &[User::example("edge", 1000)]);
        refused.err().map(|why| why.to_string())
    }

    /// 10.64.1.0/24.
    fn routed(interface: &str) -> TestHost {
        let line = format!("{interface}\t0001400A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n");
        fixture("debian-13").append("/proc/net/route", &line)
    }

    #[test]
    fn a_network_that_the_host_uses() {
        assert_eq!(refusal(fixture("debian-13"), Stack::K3s), None);
        let why = refusal(routed("wg0"), Stack::K3s).unwrap();
        let expected = "site.toml:4: cidr = \"10.64.0.0/16\" of [k3s] overlaps 10.64.1.0/24 on wg0, which the host \
                        uses (/proc/net/route:";
        assert!(why.starts_with(expected), "{why}");
        assert_eq!(refusal(routed("cni0"), Stack::K3s), None);
        assert_eq!(refusal(routed("wg0"), Stack::Podman), None);
        assert_eq!(refusal(routed("wg0").image(), Stack::K3s), None);
        assert_eq!(refusal(routed("wg0").error("/proc/net/route", "denied"), Stack::K3s), None);
    }

    #[test]
    fn a_network_that_the_cluster_is_given() {
        let told = |text: &str| fixture("debian-13").file(CONFIG, text).mode(CONFIG, "0644");
        let why = refusal(told("cluster-cidr: 10.0.0.0/10\n"), Stack::K3s);
        assert_eq!(why, None, "10.0.0.0/10 ends at 10.63.255.255");
        let why = refusal(told("# ours\nservice-cidr: 10.64.0.0/20\n"), Stack::K3s).unwrap();
        let taken =
            format!("overlaps 10.64.0.0/20, the network of services of edge ({CONFIG}:2): choose another");
        assert!(why.ends_with(&taken), "{why}");
        assert!(refusal(told("cluster-cidr: 10.64.128.0/17\n").image(), Stack::K3s).is_some());
    }
}
