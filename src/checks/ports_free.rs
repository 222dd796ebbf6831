//! Whether the ports of the stacks are free: see [`PORTS_FREE`].

use std::rc::Rc;

use crate::checks::check;
use crate::facts::listeners::{self, Listener};
use crate::facts::users::User;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::requirements::{Protocol, Requirements};

check! {
    /// Host ports of the stacks are free
    ///
    /// ## What is looked at
    ///
    /// The sockets that listen, in `/proc/net/tcp`, `tcp6`, `udp` and `udp6`. Whatever address one
    /// listens on, it is in the way: the stacks publish ports on all addresses of both families. A port
    /// that a socket of the same user holds counts as free, since a stack that runs holds its own ports;
    /// which of the user's programs it is cannot be told from these files. Nor can a firewall of the host
    /// be looked through: firewalld, ufw and nft keep what they let in where only root can read it.
    ///
    /// ## Why it matters
    ///
    /// A cluster whose port is taken starts, and stays out of reach: K3s logs the failure and tries again
    /// forever. Usernetes stops. K3s publishes ports up to 1024 of load balancers 10000 higher, so that
    /// 80 and 443 of the ingress controller are 10080 and 10443.
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
    /// - k3s: pkg/rootlessports/controller.go
    /// - usernetes: docker-compose.yaml, Makefile
    /// - Documentation/networking/proc_net_tcp.rst
    /// - podman: issue 5141, firewalld and ports of rootless containers
    PORTS_FREE, "ports-free", Required, User(run)
}

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    if !facts.running() {
        return Outcome::skip("nothing listens in an image");
    }
    let listeners = facts.listeners();
    let mut outcome = Outcome::default();
    for (&(protocol, port), demands) in &req.ports {
        match &listeners {
            Ok(listeners) => outcome.add_all(demands, &look(facts, listeners, (protocol, port), user)),
            Err(why) => outcome.unknown_all(demands, &format!("{protocol}/{port}"), why),
        }
    }
    outcome.or_skip("no chosen stack asks for a port")
}

fn look(facts: &Facts, all: &Rc<Vec<Listener>>, (protocol, port): (Protocol, u16), user: &User) -> Finding {
    let is = match protocol {
        Protocol::Tcp => listeners::Protocol::Tcp,
        Protocol::Udp => listeners::Protocol::Udp,
    };
    let subject = format!("{protocol}/{port}");
    let holders: Vec<&Listener> = all.iter().filter(|l| l.protocol == is && l.port == port).collect();
    let expected = format!("free, or in use by {}", user.name);
    // Somebody else's comes first: that is what has to go.
    let holder = holders.iter().find(|holder| holder.uid != user.uid).or(holders.first());
    let Some(holder) = holder else {
        let path = format!("/proc/net/{protocol}");
        return Finding::new(subject, expected, "free", Verdict::Met)
            .at([Evidence::path(&path, "no such port")]);
    };
    let found = format!("in use by {} on {}", name(facts, holder.uid), holder.address);
    let remedy =
        Remedy::manual(format!("stop what listens on {subject}, or give the stack another port")).command(
            format!("sudo ss -lnp{} 'sport = :{port}'", if protocol == Protocol::Tcp { 't' } else { 'u' }),
        );
    Finding::new(subject, expected, found, Verdict::met_if(holder.uid == user.uid))
        .at(holders.iter().map(|holder| holder.at.clone()))
        .repair(remedy)
}

/// The name of a user, or the UID where it has none or cannot be looked up.
fn name(facts: &Facts, uid: u32) -> String {
    facts.user_by_uid(uid).ok().flatten().map_or_else(|| format!("UID {uid}"), |user| user.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
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
    fn a_stack_that_runs_holds_its_own_ports() {
        let outcome = look_at(with("/proc/net/tcp", "00000000:192B", "0A", 1000), Stack::K3s);
        assert_eq!(of(&outcome, "tcp/6443"), (Verdict::Met, "in use by edge on 0.0.0.0".to_owned()));
    }

    #[test]
    fn unreadable_is_unknown_and_an_image_is_skipped() {
        let outcome = look_at(fixture("debian-13").error("/proc/net/tcp", "denied"), Stack::Usernetes);
        assert_eq!(unknown(&outcome), ["/proc/net/tcp is not readable as this user"; 4]);
        assert!(look_at(fixture("debian-13").image(), Stack::K3s).skipped.is_some());
        assert!(look_at(fixture("debian-13"), Stack::Kind).skipped.is_some());
    }
}
