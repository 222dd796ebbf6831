//! Whether the ports of the stacks are free: see [`PORTS_FREE`].

use std::rc::Rc;

use crate::checks::check;
use crate::facts::k3s_options::HTTPS_PORT;
use crate::facts::listeners::{self, Listener};
use crate::facts::users::User;
use crate::facts::{Evidence, Facts, Sourced};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::{Demand, Ports, Protocol, Requirements};

check! {
    /// Host ports of the stacks are free
    ///
    /// ## What is looked at
    ///
    /// The sockets that listen, in `/proc/net/tcp`, `tcp6`, `udp` and `udp6`. Whatever address one
    /// listens on, it is in the way: the stacks publish ports on all addresses of both families. Only a
    /// port that a workload publishes on one address (`hostIP`) goes along with sockets on others. A port
    /// that a socket of the same user holds counts as free, since a stack that runs holds its own ports;
    /// which of the user's programs it is cannot be told from these files. Nor can a firewall of the host
    /// be looked through: firewalld, ufw and nft keep what they let in where only root can read it.
    ///
    /// For K3s it is the port that `https-listen-port` names in its unit or configuration, and whether
    /// the user may bind it. The ports of its ingress controller are not looked at where `disable` has
    /// `servicelb` or `traefik`.
    ///
    /// ## Why it matters
    ///
    /// A cluster whose port is taken starts, and stays out of reach: K3s logs the failure and tries again
    /// forever. Usernetes stops. K3s publishes ports up to 1024 of load balancers 10000 higher, so that
    /// 80 and 443 of the ingress controller are 10080 and 10443; that of its API server it leaves as it is.
    ///
    /// ## Repair
    ///
    /// What holds the port is stopped or moved, or the stack is given another one: `--https-listen-port`
    /// of K3s, `PORT_KUBE_APISERVER`, `PORT_ETCD`, `PORT_KUBELET` and `PORT_FLANNEL` of Usernetes. Where a
    /// port is free and other hosts still do not get through to it, the firewall has to let it in
    /// (`firewall-cmd --add-port=6443/tcp`, `ufw allow 6443/tcp`): rootless stacks cannot.
    ///
    /// ## Sources
    ///
    /// - k3s: pkg/rootlessports/controller.go, `toBindPorts`; pkg/cli/server/server.go, "disable"
    /// - usernetes: docker-compose.yaml, Makefile
    /// - Documentation/networking/proc_net_tcp.rst
    /// - podman: issue 5141, firewalld and ports of rootless containers
    PORTS_FREE, "ports-free", Required, User(run)
}

/// Where K3s publishes ports 80 and 443 of its ingress controller.
pub(super) const INGRESS: [u16; 2] = [10080, 10443];
const FIRST_PORT: &str = "net.ipv4.ip_unprivileged_port_start";

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    if !facts.running() {
        return Outcome::skip("nothing listens in an image");
    }
    let listeners = facts.listeners();
    let mut outcome = Outcome::default();
    for (&ports, demands) in &req.ports {
        for demand in demands {
            let plain = Wanted { ports, at: None };
            for (demand, port) in wanted(facts, user, demand, &plain) {
                match (port, &listeners) {
                    (Ok(port), Ok(listeners)) => outcome.add(&demand, look(facts, listeners, &port, user)),
                    (Ok(port), Err(why)) => outcome.unknown(&demand, port.ports.to_string(), why),
                    (Err(why), _) => outcome.unknown(&demand, ports.to_string(), why),
                }
            }
        }
    }
    outcome.or_skip("no chosen stack asks for a port")
}

/// Ports, and what says that it is these.
#[derive(Clone, PartialEq)]
struct Wanted {
    ports: Ports,
    at: Option<Evidence>,
}

/// Each port that is wanted where the stacks of `demand` usually want this one, or why it is not known: K3s
/// can have been given another, or none.
fn wanted(facts: &Facts, user: &User, demand: &Demand, usual: &Wanted) -> Vec<(Demand, Fact<Wanted>)> {
    let (k3s, others) = demand.by_k3s();
    let Some(k3s) = k3s else { return vec![(demand.clone(), Ok(usual.clone()))] };
    // What a workload has it publish it publishes whatever its own components do.
    let port = if k3s.asked.is_empty() { of_k3s(facts, user, usual) } else { Ok(Some(usual.clone())) };
    let of_k3s = match port {
        // One finding for all, where K3s has not been given another.
        Ok(Some(port)) if port == *usual => return vec![(demand.clone(), Ok(port))],
        Ok(port) => port.map(|port| (k3s, Ok(port))),
        Err(why) => Some((k3s, Err(why))),
    };
    others.map(|demand| (demand, Ok(usual.clone()))).into_iter().chain(of_k3s).collect()
}

/// The ports that the stacks of this user publish, as far as that is known: with those that K3s is given
/// in place of its usual ones, and of ranges the first.
pub(crate) fn published(facts: &Facts, req: &Requirements, user: &User) -> Vec<(Protocol, u16)> {
    let mut ports = Vec::new();
    for (&usual, demands) in &req.ports {
        for demand in demands {
            let all = wanted(facts, user, demand, &Wanted { ports: usual, at: None });
            let known = all.into_iter().filter_map(|(_, port)| port.ok());
            ports.extend(known.map(|known| (known.ports.protocol, known.ports.first)));
        }
    }
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// The port that K3s takes in place of the usual one; `None` where it takes none.
fn of_k3s(facts: &Facts, user: &User, usual: &Wanted) -> Fact<Option<Wanted>> {
    let is = |number| usual.ports == Ports::one(Protocol::Tcp, number);
    if ![HTTPS_PORT, INGRESS[0], INGRESS[1]].into_iter().any(is) {
        return Ok(Some(usual.clone()));
    }
    let options = facts.k3s_options(user)?;
    if is(HTTPS_PORT) {
        let at = options.at("https-listen-port");
        let ports = Ports::one(Protocol::Tcp, options.https_port()?);
        return Ok(Some(Wanted { ports, at }));
    }
    let unused = options.disabled("servicelb").or(options.disabled("traefik"));
    Ok(unused.is_none().then(|| usual.clone()))
}

/// What keeps the user from binding a port (ip(7), `ip_unprivileged_port_start`); where that cannot be
/// told, the first attempt tells.
fn privileged(facts: &Facts, port: u16) -> Option<Sourced<u16>> {
    let Sourced { value, at } = facts.sysctl(FIRST_PORT).ok()?;
    let value = value.trim().parse().ok()?;
    (port < value).then_some(Sourced { value, at })
}

fn look(facts: &Facts, all: &Rc<Vec<Listener>>, wanted: &Wanted, user: &User) -> Finding {
    let Ports { protocol, first, last, address } = wanted.ports;
    let is = match protocol {
        Protocol::Tcp => listeners::Protocol::Tcp,
        Protocol::Udp => listeners::Protocol::Udp,
    };
    let subject = wanted.ports.to_string();
    let of_these = |l: &&Listener| l.protocol == is && (first..=last).contains(&l.port) && l.holds(address);
    let holders: Vec<&Listener> = all.iter().filter(of_these).collect();
    let expected = format!("free, or in use by {}", user.name);
    // Somebody else's comes first: that is what has to go.
    let holder = holders.iter().find(|holder| holder.uid != user.uid).or(holders.first());
    let Some(holder) = holder else {
        if let Some(first) = wanted.at.as_ref().and_then(|_| privileged(facts, first)) {
            let remedy = Remedy::manual(format!("give K3s a port from {} on", first.value));
            let found = format!("free, and not for users, who may bind ports from {} on", first.value);
            let finding = Finding::new(subject, expected, found, Verdict::Unmet);
            return finding.at([first.at]).at(wanted.at.clone()).repair(remedy);
        }
        let path = format!("/proc/net/{protocol}");
        return Finding::new(subject, expected, "free", Verdict::Met)
            .at([Evidence::path(&path, "no such port")])
            .at(wanted.at.clone());
    };
    let port = holder.port;
    let number = if last > first { format!("{port} is ") } else { String::new() };
    let found = format!("{number}in use by {} on {}", name(facts, holder.uid), holder.address);
    let remedy =
        Remedy::manual(format!("stop what listens on {protocol}/{port}, or give the stack another port"))
            .command(format!(
                "sudo ss -lnp{} 'sport = :{port}'",
                if protocol == Protocol::Tcp { 't' } else { 'u' }
            ));
    Finding::new(subject, expected, found, Verdict::met_if(holder.uid == user.uid))
        .at(holders.iter().map(|holder| holder.at.clone()))
        .at(wanted.at.clone())
        .repair(remedy)
}

/// The name of a user, or the UID where it has none or cannot be looked up.
fn name(facts: &Facts, uid: u32) -> String {
    facts.user_by_uid(uid).ok().flatten().map_or_else(|| format!("UID {uid}"), |user| user.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts, workload};
    use crate::facts::testing::{TestHost, fixture};
    use crate::requirements::Stack;

    fn look_at(host: TestHost, stack: Stack) -> Outcome {
        run(&host.facts(), &requirements(&[stack]), &edge())
    }

    fn with(file: &str, address: &str, state: &str, uid: u32) -> TestHost {
        let rest = "00000000:0000";
        let line = format!(
            "   0: {address} {rest} {state} 00000000:00000000 00:00000000 00000000 {uid} 0 485 1 0\n"
        );
        fixture("debian-13").append(file, &line)
    }

    fn of(outcome: &Outcome, subject: &str) -> (Verdict, String) {
        let found = findings(outcome).into_iter().find(|finding| finding.subject == subject).unwrap();
        (found.verdict, found.found.clone())
    }

    #[test]
    fn on_a_fresh_machine_all_are_free() {
        let outcome = look_at(fixture("debian-13"), Stack::K3s);
        assert_eq!(
            verdicts(&outcome),
            [("tcp/6443", Verdict::Met), ("tcp/10080", Verdict::Met), ("tcp/10443", Verdict::Met)]
        );
    }

    #[test]
    fn a_listener_of_root_is_in_the_way_whatever_its_address() {
        // 127.0.0.1:6443.
        let outcome = look_at(with("/proc/net/tcp", "0100007F:192B", "0A", 0), Stack::K3s);
        assert_eq!(of(&outcome, "tcp/6443"), (Verdict::Unmet, "in use by root on 127.0.0.1".to_owned()));
        assert_eq!(&*findings(&outcome)[0].evidence[0].path, "/proc/net/tcp");
        assert_eq!(findings(&outcome)[0].remedy.commands, ["sudo ss -lnpt 'sport = :6443'"]);
        // A connection from that port is not.
        let outcome = look_at(with("/proc/net/tcp", "0100007F:192B", "01", 0), Stack::K3s);
        assert_eq!(of(&outcome, "tcp/6443").0, Verdict::Met);
        // udp/8472 is flannel's, tcp/8472 nobody's.
        let vxlan = |file: &str, state| look_at(with(file, "00000000:2118", state, 4242), Stack::Usernetes);
        let taken = (Verdict::Unmet, "in use by UID 4242 on 0.0.0.0".to_owned());
        assert_eq!(of(&vxlan("/proc/net/udp", "07"), "udp/8472"), taken);
        assert_eq!(of(&vxlan("/proc/net/tcp", "0A"), "udp/8472").0, Verdict::Met);
    }

    #[test]
    fn a_range_of_a_workload_is_one_finding() {
        let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n    - image: a\n";
        let mut req = workload(&[Stack::PodmanKube], &format!("{pod}      ports: [{{hostPort: 8000}}]\n"));
        let demands = req.ports.pop_first().unwrap().1;
        req.ports.insert(Ports { protocol: Protocol::Tcp, first: 8000, last: 18000, address: None }, demands);
        let outcome = run(&fixture("debian-13").facts(), &req, &edge());
        assert_eq!(verdicts(&outcome), [("tcp/8000-18000", Verdict::Met)]);
        // 9999.
        let taken = with("/proc/net/tcp", "00000000:270F", "0A", 0);
        let outcome = run(&taken.clone().facts(), &req, &edge());
        let found = "9999 is in use by root on 0.0.0.0".to_owned();
        assert_eq!(of(&outcome, "tcp/8000-18000"), (Verdict::Unmet, found));
        assert_eq!(findings(&outcome)[0].remedy.commands, ["sudo ss -lnpt 'sport = :9999'"]);
        assert_eq!(super::published(&taken.facts(), &req, &edge()), [(Protocol::Tcp, 8000)]);
    }

    #[test]
    fn a_port_on_one_address_goes_along_with_others() {
        let look = |ip: &str| {
            let pod = format!(
                "apiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec:\n  containers:\n    - image: a\n      \
                 ports: [{{hostPort: 53, hostIP: {ip:?}}}]\n"
            );
            // 127.0.0.53:53, as systemd-resolved has it.
            let host = with("/proc/net/tcp", "3500007F:0035", "0A", 0);
            run(&host.facts(), &workload(&[Stack::PodmanKube], &pod), &edge())
        };
        assert_eq!(verdicts(&look("192.168.1.5")), [("tcp/192.168.1.5:53", Verdict::Met)]);
        assert_eq!(verdicts(&look("::1")), [("tcp/[::1]:53", Verdict::Met)]);
        assert_eq!(verdicts(&look("127.0.0.53")), [("tcp/127.0.0.53:53", Verdict::Unmet)]);
        assert_eq!(verdicts(&look("0.0.0.0")), [("tcp/53", Verdict::Unmet)]);
    }

    #[test]
    fn a_stack_that_runs_holds_its_own_ports() {
        let outcome = look_at(with("/proc/net/tcp", "00000000:192B", "0A", 1000), Stack::K3s);
        assert_eq!(of(&outcome, "tcp/6443"), (Verdict::Met, "in use by edge on 0.0.0.0".to_owned()));
    }

    #[test]
    fn the_ports_of_k3s_are_those_that_it_is_given() {
        let unit = "/home/edge/.config/systemd/user/k3s-rootless.service";
        let told = |options: &str| {
            let text = format!("[Service]\nExecStart=/usr/local/bin/k3s server --rootless {options}\n");
            // Root has 6443.
            with("/proc/net/tcp", "00000000:192B", "0A", 0).file(unit, text)
        };
        let outcome = look_at(told("--https-listen-port=7443"), Stack::K3s);
        assert_eq!(verdicts(&outcome)[0], ("tcp/7443", Verdict::Met));
        assert_eq!(findings(&outcome)[0].evidence[1].to_string(), format!("{unit}:2"));
        assert_eq!(verdicts(&look_at(told(""), Stack::K3s))[0], ("tcp/6443", Verdict::Unmet));
        let outcome = look_at(told("--https-listen-port=443"), Stack::K3s);
        let found = "free, and not for users, who may bind ports from 1024 on".to_owned();
        assert_eq!(of(&outcome, "tcp/443"), (Verdict::Unmet, found));
        for disabled in ["servicelb", "traefik"] {
            let outcome = look_at(told(&format!("--disable {disabled}")), Stack::K3s);
            assert_eq!(verdicts(&outcome), [("tcp/6443", Verdict::Unmet)], "{disabled}");
        }
        let wrong = look_at(told("--https-listen-port=https"), Stack::K3s);
        assert_eq!(unknown(&wrong), [format!("{unit}:2: expected a port after --https-listen-port")]);
        let published = |options: &str, stacks: &[Stack]| {
            super::published(&told(options).facts(), &requirements(stacks), &edge())
        };
        let tcp = |ports: &[u16]| ports.iter().map(|port| (Protocol::Tcp, *port)).collect::<Vec<_>>();
        assert_eq!(published("", &[Stack::K3s]), tcp(&[6443, 10080, 10443]));
        assert_eq!(published("--https-listen-port=7443 --disable=traefik", &[Stack::K3s]), tcp(&[7443]));
        assert!(published("--https-listen-port=x --disable=traefik", &[Stack::K3s]).is_empty());
        let of_both = published("--https-listen-port=7443", &[Stack::K3s, Stack::Usernetes]);
        assert!([6443, 7443].iter().all(|port| of_both.contains(&(Protocol::Tcp, *port))));
        let both = run(
            &told("--https-listen-port=7443").facts(),
            &requirements(&[Stack::K3s, Stack::Usernetes]),
            &edge(),
        );
        assert_eq!(of(&both, "tcp/6443").0, Verdict::Unmet, "that of Usernetes stays");
        assert_eq!(of(&both, "tcp/7443").0, Verdict::Met);
        let both = run(&told("").facts(), &requirements(&[Stack::K3s, Stack::Usernetes]), &edge());
        let api = |(subject, _): &(&str, Verdict)| *subject == "tcp/6443";
        assert_eq!(verdicts(&both).into_iter().filter(api).count(), 1);
    }

    #[test]
    fn a_port_of_a_workload_is_one_whatever_k3s_does_without() {
        let unit = "/home/edge/.config/systemd/user/k3s-rootless.service";
        let text = "[Service]\nExecStart=/usr/local/bin/k3s server --rootless --disable traefik\n";
        let service = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  type: LoadBalancer\n  \
                       ports: [{port: 80}]\n";
        // Root has 10080.
        let host = with("/proc/net/tcp", "00000000:2760", "0A", 0).file(unit, text);
        let outcome = run(&host.facts(), &workload(&[Stack::K3s], service), &edge());
        assert_eq!(of(&outcome, "tcp/10080").0, Verdict::Unmet);
        let asked = outcome.items.iter().flat_map(|item| &item.asked).map(ToString::to_string);
        assert_eq!(asked.collect::<Vec<_>>(), ["web.yaml:6"]);
    }

    #[test]
    fn unreadable_is_unknown_and_an_image_is_skipped() {
        let outcome = look_at(fixture("debian-13").error("/proc/net/tcp", "denied"), Stack::Usernetes);
        assert_eq!(unknown(&outcome), ["/proc/net/tcp is not readable as this user"; 4]);
        assert!(look_at(fixture("debian-13").image(), Stack::K3s).skipped.is_some());
        assert!(look_at(fixture("debian-13"), Stack::Kind).skipped.is_some());
    }
}
