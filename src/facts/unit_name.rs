//! Unit names, and the drop-in directories that belong to one (`systemd.unit(5)`; systemd,
//! `src/basic/unit-name.c` and `src/shared/dropin.c`). Nothing is read here.

/// `user@.service` for `user@1000.service`; `None` for a name that is no instance.
pub(super) fn template(name: &str) -> Option<String> {
    let (prefix, instance, suffix) = instance_parts(name)?;
    if instance.is_empty() { None } else { Some(format!("{prefix}@.{suffix}")) }
}

/// `user@1000.service` for the template `user@.service` and the instance in `of`.
pub(super) fn instantiate(template: &str, of: &str) -> Option<String> {
    let (prefix, instance, suffix) = instance_parts(template)?;
    let (_, wanted, _) = instance_parts(of)?;
    if instance.is_empty() && !wanted.is_empty() { Some(format!("{prefix}@{wanted}.{suffix}")) } else { None }
}

/// `service` for `user@1000.service`.
pub(super) fn suffix(name: &str) -> Option<&str> {
    name.rsplit_once('.').map(|(_, suffix)| suffix)
}

/// The names whose `.d` directories hold drop-ins for `name`, most specific first: the instance, its
/// template, and the same for each prefix that ends in `-` (`user-.slice` for `user-1000.slice`).
/// The directory of the type (`service.d`) is not among them: it comes after all of these in every
/// directory of the search path.
pub(super) fn drop_in_names(name: &str) -> Vec<String> {
    let mut names = Vec::new();
    add_names(name, &mut names);
    names
}

fn add_names(name: &str, names: &mut Vec<String>) {
    let mut at = Some(name.to_owned());
    while let Some(name) = at {
        let truncated = truncate(&name);
        if names.contains(&name) {
            return;
        }
        names.push(name.clone());
        // The template and its prefixes come before the prefixes of the instance.
        if let Some(template) = template(&name) {
            add_names(&template, names);
        }
        at = truncated;
    }
}

/// `foo-bar-.service` for `foo-bar-baz.service`, `foo-.service` for that, and then no more; an
/// instance keeps its instance.
fn truncate(name: &str) -> Option<String> {
    let (stem, suffix) = name.rsplit_once('.')?;
    let (prefix, instance) = match stem.split_once('@') {
        Some((prefix, instance)) => (prefix, Some(instance)),
        None => (stem, None),
    };
    let cut = prefix.strip_suffix('-').unwrap_or(prefix);
    let dash = cut.rfind('-').filter(|&dash| dash > 0)?;
    let kept = cut.get(..=dash)?;
    match instance {
        Some(instance) if !instance.is_empty() => Some(format!("{kept}@{instance}.{suffix}")),
        // The prefix of a template is a plain unit for systemd.
        _ => Some(format!("{kept}.{suffix}")),
    }
}

fn instance_parts(name: &str) -> Option<(&str, &str, &str)> {
    let (stem, suffix) = name.rsplit_once('.')?;
    let (prefix, instance) = stem.split_once('@')?;
    Some((prefix, instance, suffix))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn drop_in_directories_from_the_most_specific() {
        for (name, expected) in [
            ("user@1000.service", vec!["user@1000.service", "user@.service"]),
            ("user-1000.slice", vec!["user-1000.slice", "user-.slice"]),
            ("user-.slice", vec!["user-.slice"]),
            ("user.slice", vec!["user.slice"]),
            ("-.slice", vec!["-.slice"]),
            ("a-b-c.service", vec!["a-b-c.service", "a-b-.service", "a-.service"]),
            (
                "a-b@x.service",
                vec!["a-b@x.service", "a-b@.service", "a-.service", "a-@x.service", "a-@.service"],
            ),
        ] {
            assert_eq!(drop_in_names(name), expected, "{name}");
        }
    }

    #[test]
    fn templates_and_instances() {
        assert_eq!(template("user@1000.service").as_deref(), Some("user@.service"));
        assert_eq!((template("user@.service"), template("user.slice")), (None, None));
        assert_eq!(instantiate("a@.service", "user@7.service").as_deref(), Some("a@7.service"));
        assert_eq!(instantiate("a.service", "user@7.service"), None);
        assert_eq!(suffix("a.b.slice"), Some("slice"));
    }

    proptest! {
        #[test]
        fn no_name_makes_it_panic_or_hang(name in "[a.@-]{0,60}|\\PC{0,20}") {
            prop_assert!(drop_in_names(&name).len() <= 2 * name.len() + 2);
        }
    }
}
