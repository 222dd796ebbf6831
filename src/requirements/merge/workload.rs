//! What a workload adds to what its stacks want.

use std::collections::BTreeMap;

use super::super::{Demand, Origin, Ports, Stack, SysctlRule, Want};
use super::{Requirements, join};
use crate::facts::cgroup::Controller;
use crate::facts::sysctl::FIRST_PORT;
use crate::finding::Level;
use crate::profile::ProfileError;
use crate::workload::{Ask, What, Workload};

impl Requirements {
    /// With what the files of a workload ask of the chosen stacks.
    ///
    /// # Errors
    /// Where policy contradicts it; both places are named.
    pub fn with_workload(mut self, workload: &Workload) -> Result<Requirements, ProfileError> {
        let mut asks = Vec::new();
        for ask in &workload.asks {
            let stacks: Vec<Stack> =
                ask.stacks.iter().copied().filter(|stack| self.stacks.contains(stack)).collect();
            if !stacks.is_empty() {
                asks.push(Ask { stacks, ..ask.clone() });
            }
        }
        self.add_ports(&asks);
        self.add_controllers(&asks);
        self.workload = Some(asks);
        self.drop_weaker();
        self.give_way();
        self.find_contradictions()?;
        Ok(self)
    }

    fn add_ports(&mut self, asks: &[Ask]) {
        let mut lowest: Option<(u16, Demand)> = None;
        for ask in asks {
            let What::HostPort { protocol, address, ports } = &ask.what else { continue };
            let (first, last) = (*ports.start(), *ports.end());
            let ports = Ports { protocol: *protocol, first, last, address: *address };
            let port = ports.first;
            let demand = ask.demand(format!("{} publishes it", ask.of));
            if port < FIRST_PORT.1 && lowest.as_ref().is_none_or(|(known, _)| port < *known) {
                lowest = Some((port, ask.demand(format!("{} publishes {ports}", ask.of))));
            }
            join(self.ports.entry(ports).or_default(), demand);
        }
        let Some((port, demand)) = lowest else { return };
        let want = self.sysctls.entry(FIRST_PORT.0.to_owned()).or_default();
        want.default.get_or_insert_with(|| FIRST_PORT.1.to_string());
        // Who needs this port does not have to be advised of a higher one.
        for rule in &mut want.rules {
            if matches!(rule.value, SysctlRule::AtMost(most) if most >= u64::from(port))
                && rule.demand.level == Level::Advised
            {
                rule.demand.stacks.retain(|stack| !demand.stacks.contains(stack));
            }
        }
        want.rules.retain(|rule| !rule.demand.stacks.is_empty());
        want.rules.push(Want { value: SysctlRule::AtMost(port.into()), demand });
    }

    /// All limits of a controller are one demand, whose reason is the first of them.
    fn add_controllers(&mut self, asks: &[Ask]) {
        type Limits<'a> = Vec<(&'a Ask, &'a str)>;
        let mut limits: BTreeMap<(Controller, &[Stack]), Limits> = BTreeMap::new();
        for ask in asks {
            if let What::Limit { controller, text, .. } = &ask.what {
                limits.entry((*controller, &ask.stacks)).or_default().push((ask, text));
            }
        }
        for ((controller, _), of) in limits {
            let Some((first, text)) = of.first() else { continue };
            let more = if of.len() > 1 { format!(", and {} more", of.len() - 1) } else { String::new() };
            let mut demand = first.demand(format!("{} limits {text}{more}", first.of));
            demand.asked = of.iter().map(|(ask, _)| ask.at.clone()).collect();
            join(self.controllers.entry(controller).or_default(), demand);
        }
    }
}

impl Ask {
    /// The demand of who asks.
    pub fn demand(&self, why: String) -> Demand {
        let Ask { level, stacks, at, .. } = self.clone();
        let origin = Origin { file: at.path.clone(), line: at.line.unwrap_or(1) };
        Demand { level, stacks, why, origin, asked: vec![at] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Source;
    use crate::profile::Layer;
    use crate::requirements::Protocol;

    const WEB: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
    - image: a
      ports: [{hostPort: 8080}]
      resources: {limits: {cpu: 500m}}
    - image: b
      ports:
        - hostPort: 53
        - hostPort: 443
      resources: {limits: {cpu: 1}}
";

    fn workload(text: &str) -> Workload {
        Workload::parse(vec![Source::new("web.yaml", text)]).unwrap()
    }

    fn with(stacks: &[Stack], text: &str) -> Requirements {
        Requirements::merge(stacks, &[]).unwrap().with_workload(&workload(text)).unwrap()
    }

    #[test]
    fn the_lowest_port_is_required_of_who_publishes_it() {
        let all = with(&[Stack::PodmanKube, Stack::Kind], WEB);
        let rules: Vec<String> = all.sysctls[FIRST_PORT.0]
            .rules
            .iter()
            .map(|rule| format!("{} {:?} {:?}", rule.value, rule.demand.level, rule.demand.stacks))
            .collect();
        assert_eq!(rules, ["at most 80 Advised [Kind]", "at most 53 Required [PodmanKube]"]);
        let rule = &all.sysctls[FIRST_PORT.0].rules[1].demand;
        assert_eq!(
            (rule.why.as_str(), rule.origin.to_string()),
            ("Pod web publishes tcp/53", "web.yaml:11".into())
        );
        assert_eq!(all.ports[&Ports::one(Protocol::Tcp, 8080)][0].asked[0].to_string(), "web.yaml:7");
        let high = with(&[Stack::PodmanKube], &WEB.replace("53", "5353").replace("443", "8443"));
        assert_eq!(high.sysctls[FIRST_PORT.0].rules.len(), 1, "what is advised stays");
        assert!(
            !with(&[Stack::Kind], WEB).ports.contains_key(&Ports::one(Protocol::Tcp, 53)),
            "that of a node"
        );
    }

    #[test]
    fn limits_of_a_controller_are_one_demand() {
        let all = with(&[Stack::PodmanKube], WEB);
        let demand = &all.controllers[&Controller::Cpu][0];
        assert_eq!(demand.level, Level::Required);
        assert_eq!(demand.why, "Pod web limits cpu: 500m, and 1 more");
        let lines: Vec<Option<u32>> = demand.asked.iter().map(|at| at.line).collect();
        assert_eq!(lines, [Some(8), Some(13)]);
        assert!(all.controllers[&Controller::Pids].iter().all(|demand| demand.level == Level::Advised));
    }

    #[test]
    fn policy_that_forbids_it_contradicts_it() {
        let text = format!("[[sysctl]]\nkey = \"{}\"\nlevel = \"required\"\nat-least = 1024\n", FIRST_PORT.0);
        let site = Layer::parse("site.toml", &text).unwrap();
        let merged = Requirements::merge(&[Stack::PodmanKube], &[site]).unwrap();
        let why = merged.with_workload(&workload(WEB)).unwrap_err().to_string();
        assert!(why.contains("site.toml:1") && why.contains("at most 53 (web.yaml:11)"), "{why}");
    }
}
