//! What is wrong with a file of policy, as the person who writes it would say it, not as serde does.

use super::nearest::did_you_mean;

/// The tables that a file has but once.
const SINGLE: [&str; 3] = ["recognise", "boot", "k3s"];

/// What was expected where `text` is not as it should be: `at` is where that begins.
pub(super) fn said(text: &str, at: Option<std::ops::Range<usize>>, message: &str) -> String {
    let place = Place::of(text, at);
    if place.is_list && SINGLE.contains(&place.table) {
        let name = place.table;
        return format!("[[{name}]]: expected single brackets, [{name}], because there is one at most");
    }
    if let Some(rest) =
        message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "))
        && let Some((found, expected)) = rest.split_once(", expected ")
        && let Some(said) = place.of_another_type(found, expected)
    {
        return said;
    }
    if let Some((name, rest)) = in_backticks(message, "missing field ") {
        return format!("the key {name} is missing{rest}");
    }
    for (prefix, noun) in [("unknown field ", "key"), ("unknown variant ", "value")] {
        if let Some((name, rest)) = in_backticks(message, prefix) {
            let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
            let meant = did_you_mean(name, known.iter().copied());
            return match (&known[..], meant.as_str()) {
                ([], _) => format!("unknown {noun} {name}"),
                (_, "") => format!("unknown {noun} {name}: expected {}", any_of(&known)),
                _ => format!("unknown {noun} {name}{meant}"),
            };
        }
    }
    message.trim_end().replace('\n', ": ")
}

fn in_backticks<'a>(message: &'a str, prefix: &str) -> Option<(&'a str, &'a str)> {
    message.strip_prefix(prefix)?.strip_prefix('`')?.split_once('`')
}

/// `a, b or c`.
pub(crate) fn any_of(names: &[&str]) -> String {
    match names {
        [some @ .., last] if !some.is_empty() => format!("{} or {last}", some.join(", ")),
        _ => names.concat(),
    }
}

/// The place in the text that is spoken of.
struct Place<'a> {
    /// The name of the table that it is in, such as `kernel-argument`.
    table: &'a str,
    /// The key before it on its line; that of the table where the table itself is meant.
    key: &'a str,
    is_table: bool,
    /// Whether the table has two brackets.
    is_list: bool,
    /// The value as it is written, where that is short.
    value: &'a str,
}

impl Place<'_> {
    fn of(text: &str, at: Option<std::ops::Range<usize>>) -> Place<'_> {
        let at = at.unwrap_or_default();
        let before = text.get(..at.start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = text.get(line_start..).and_then(|rest| rest.lines().next()).unwrap_or_default().trim();
        let own = header(line);
        let is_table = own.is_some();
        let above = || before.lines().rev().find_map(|line| header(line.trim()));
        let (table, is_list) = own.or_else(above).unwrap_or_default();
        let key = if is_table { table } else { line.split_once('=').map_or("", |(key, _)| key.trim()) };
        let value = text.get(at).unwrap_or_default().trim();
        let value = if value.contains('\n') || value.chars().count() > 40 { "" } else { value };
        Place { table, key, is_table, is_list, value }
    }

    fn of_another_type(&self, found: &str, expected: &str) -> Option<String> {
        let Place { key, value, .. } = *self;
        let name = if key.is_empty() { value.to_owned() } else { format!("{key} = {value}") };
        let is_map = found == "map" || found == "table";
        Some(match expected {
            "a sequence" | "an array" if self.is_table => {
                format!("[{key}]: expected two brackets, [[{key}]], because there can be several")
            }
            "a sequence" | "an array" if value.is_empty() || is_map => format!("{key}: expected a list"),
            "a sequence" | "an array" if key.is_empty() => format!("expected a list, [{value}]"),
            "a sequence" | "an array" => format!("expected a list, {key} = [{value}]"),
            "a string" if value.is_empty() || is_map || found == "sequence" => {
                format!("{key}: expected a text in quotes")
            }
            "a string" => {
                format!("{name}: expected a text in quotes, \"{}\"", value.trim_matches(['"', '\'']))
            }
            "a boolean" => format!("{name}: expected true or false, without quotes"),
            "u16" => format!("{name}: expected a number of 0 to 65535, without quotes"),
            "u8" | "u32" | "u64" | "usize" | "i64" | "i32" => {
                format!("{name}: expected a number{}, without quotes", self.unit())
            }
            _ if expected.starts_with("struct ") || expected == "a map" => {
                format!("{name}: expected a table, [{key}] on a line of its own and its keys below")
            }
            _ => return None,
        })
    }

    fn unit(&self) -> &'static str {
        match (self.table, self.key) {
            ("memory" | "disk", "at-least") => " of bytes",
            ("disk-percent", "at-least") => " of percent",
            _ => "",
        }
    }
}

/// The name in the header of a table, and whether it has two brackets.
fn header(line: &str) -> Option<(&str, bool)> {
    let name = line.strip_prefix('[')?.trim_start_matches('[').split(']').next()?.trim();
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (!name.is_empty() && name.chars().all(is_name)).then_some((name, line.starts_with("[[")))
}

#[cfg(test)]
mod tests {
    use crate::profile::Layer;

    #[test]
    fn a_person_is_told_what_to_write() {
        for (text, wanted) in [
            ("extends = \"rpi4\"\n", ":1: expected a list, extends = [\"rpi4\"]"),
            (
                "\n[kernel-argument]\nlevel = \"required\"\nwanted = \"a=b\"\n",
                ":2: [kernel-argument]: expected two brackets, [[kernel-argument]], because there can be several",
            ),
            (
                "[[memory]]\nlevel = \"required\"\nat-least = \"2 GiB\"\n",
                ":3: at-least = \"2 GiB\": expected a number of bytes, without quotes",
            ),
            (
                "[[memory]]\nlevel = \"required\"\nat-least = -1\n",
                ":3: at-least = -1: expected a number of bytes, without quotes",
            ),
            (
                "[[cpus]]\nlevel = \"required\"\nat-least = 1.5\n",
                ":3: at-least = 1.5: expected a number, without quotes",
            ),
            ("notes = [\n  1,\n]\n", ":2: 1: expected a text in quotes, \"1\""),
            ("summary = 4\n", ":1: summary = 4: expected a text in quotes, \"4\""),
            ("summary = []\n", ":1: summary: expected a text in quotes"),
            (
                "[[module]]\nlevel = \"required\"\nnames = [\"a\"]\non-demand = \"yes\"\n",
                ":4: on-demand = \"yes\": expected true or false, without quotes",
            ),
            ("[recognize]\narch = [\"aarch64\"]\n", ":1: unknown key recognize: did you mean recognise?"),
            ("[[kernel_argument]]\n", ":1: unknown key kernel_argument: did you mean kernel-argument?"),
            ("[boot]\nmode = \"grub\"\n", ":2: unknown key mode: expected method or files"),
            (
                "[boot]\nmethod = \"raspberrypi\"\n",
                ":2: unknown value raspberrypi: did you mean raspberry-pi?",
            ),
            ("stacks = [\"docker\"]\n", ":1: unknown value docker: expected podman, "),
            ("[[port]]\nlevel = \"required\"\n", ":1: the key protocol is missing"),
            ("[[boot]]\nmethod = \"grub\"\n", ":2: [[boot]]: expected single brackets, [boot], "),
            ("[[recognise]]\narch = [\"aarch64\"]\n", ":1: [[recognise]]: expected single brackets, "),
            ("boot = \"grub\"\n", ":1: boot = \"grub\": expected a table, [boot] on a line of its own"),
        ] {
            let why = Layer::parse("site.toml", text).unwrap_err().to_string();
            assert!(why.starts_with(&format!("site.toml{wanted}")), "{text}: {why}");
        }
    }

    #[test]
    fn any_text_has_something_said_of_it() {
        proptest::proptest!(|(text in "[\\[\\]a-z=\"\\n ,.{}0-9é-]{0,60}")| {
            if let Err(why) = Layer::parse("x", &text) {
                assert!(why.to_string().starts_with("x:"));
            }
        });
    }
}
