//! `edgeprep detect`.

use super::open;
use crate::cli::{Format, TargetArgs};
use crate::host_summary::HostSummary;
use crate::inspection::Policy;
use crate::{exit_code, render};

pub(super) fn run(args: &TargetArgs) -> anyhow::Result<u8> {
    let facts = open(&args.host)?;
    let policy = Policy::choose(&facts, &args.profile)?;
    let host = HostSummary::of(&facts);
    let text = match args.format {
        Format::Json => {
            let value = serde_json::json!({ "host": host, "profile": policy.choice });
            serde_json::to_string_pretty(&value)? + "\n"
        }
        Format::Human => {
            let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "not known".to_owned());
            let compatible = if host.hardware.compatible.is_empty() {
                "no device tree".to_owned()
            } else {
                host.hardware.compatible.join(" ")
            };
            let rows = [
                ("vendor", or(&host.hardware.vendor)),
                ("model", or(&host.hardware.model)),
                ("device tree", compatible),
                ("architecture", or(&host.arch)),
                ("profile", format!("{} ({})", policy.choice.name, policy.choice.why)),
            ];
            let mut text = String::new();
            for (name, value) in rows {
                for (at, line) in render::wrap(&value, 80 - 14).iter().enumerate() {
                    text.push_str(&format!("{:14}{line}\n", if at == 0 { name } else { "" }));
                }
            }
            text
        }
    };
    render::print(&text)?;
    Ok(exit_code::DONE)
}
